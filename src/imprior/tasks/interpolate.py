"""The way from one image to another, through the codes of a model.

a, b ──► encode, or latent search ──► (1 - t)·z_a + t·z_b,  t = 0 … 1 ──► decode
"""

from __future__ import annotations

import torch
from torch import Tensor

from imprior.errors import DataError
from imprior.promises import Decodes, require
from imprior.tasks import invert
from imprior.tasks.protocol import evaluating


def run(model: object, a: Tensor, b: Tensor, *, steps: int = 9, rng: torch.Generator | None = None) -> Tensor:
    """Walk a straight line between the codes of each pair of images.

    Args:
        model: keeps `Encodes`, or `Decodes`: then codes are searched for.
        a: where the walks begin, [N, C, H, W].
        b: where they end, of the same shape.
        steps: images in a walk, at least 2: the first and last are the reconstructions of both ends.
        rng: where a search begins; a fixed seed if None.

    Returns:
        [N, steps, C, H, W].

    Raises:
        CapabilityError: the model can't decode.
        DataError: images of different shapes, or fewer than two steps.
    """
    if a.shape != b.shape:
        raise DataError(
            f"images of shapes {tuple(a.shape[1:])} and {tuple(b.shape[1:])} can't be joined: make them one size"
        )
    _check(steps)
    known = require(model, Decodes)
    rng = rng or torch.Generator().manual_seed(0)
    found = invert.run(known, torch.cat([a, b]), rng=rng)
    start, end = found.z[: len(a)], found.z[len(a) :]
    labels = None if found.labels is None else found.labels.view(2, len(a))
    return _walk(known, start, end, steps, labels, a)


def random(model: object, n: int, *, rng: torch.Generator, steps: int = 9, labels: Tensor | None = None) -> Tensor:
    """Walk between latents that the model draws itself.

    Args:
        model: keeps `Decodes`.
        n: walks.
        rng: where both ends come from.
        steps: images in a walk.
        labels: int64 [n], of a conditional model; None draws one for each walk.

    Returns:
        [n, steps, C, H, W].

    Raises:
        CapabilityError: the model can't decode.
        DataError: fewer than two steps, or no walk.
    """
    _check(steps)
    if n < 1:
        raise DataError(f"there is at least 1 walk, not {n}")
    known = require(model, Decodes)
    with evaluating(model):
        z = known.latent(2 * n, rng)
        start, end = z[:n], z[n:]
        if known.classes is not None and labels is None:
            labels = torch.randint(known.classes, (n,), generator=rng, device=rng.device)
        channels, height, width = known.decode(start[:1], None if labels is None else labels[:1]).shape[1:]
    both = None if labels is None else labels.expand(2, n)
    return _walk(known, start, end, steps, both, torch.empty(n, channels, height, width))


def _check(steps: int) -> None:
    if steps < 2:
        raise DataError(f"a walk has at least 2 steps, its ends; not {steps}")


def _walk(model: Decodes, start: Tensor, end: Tensor, steps: int, labels: Tensor | None, like: Tensor) -> Tensor:
    """[N, …] twice and labels [2, N] -> [N, steps, C, H, W]; the label is that of the nearer end."""
    t = torch.linspace(0, 1, steps, device=start.device, dtype=start.dtype).view(-1, *[1] * start.dim())
    z = ((1 - t) * start + t * end).transpose(0, 1).flatten(0, 1)  # [steps, N, …] → [N·steps, …]
    if labels is not None:
        nearer = (torch.arange(steps) >= steps / 2).long().to(labels.device)
        labels = labels[nearer].T.flatten()  # [steps, N] → [N·steps]
    x = invert.decoded(model, z, labels, like)
    return x.reshape(len(like), steps, *x.shape[1:])
