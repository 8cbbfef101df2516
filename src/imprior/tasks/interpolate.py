"""The way from one image to another, through the codes of a model.

a, b ──► encode ──► (1 - t)·z_a + t·z_b,  t = 0 … 1 ──► decode
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from imprior.errors import DataError
from imprior.promises import Encodes, require
from imprior.tasks.protocol import evaluating

BATCH = 500


def run(model: Any, a: Tensor, b: Tensor, *, steps: int = 9) -> Tensor:
    """Walk a straight line between the codes of each pair of images.

    Args:
        model: keeps `Encodes`.
        a: where the walks begin, [N, C, H, W].
        b: where they end, of the same shape.
        steps: images in a walk, at least 2: the first and last are the reconstructions of both ends.

    Returns:
        [N, steps, C, H, W].

    Raises:
        CapabilityError: the model has no codes.
        DataError: images of different shapes, or fewer than two steps.
    """
    known = require(model, Encodes)
    if a.shape != b.shape:
        raise DataError(
            f"images of shapes {tuple(a.shape[1:])} and {tuple(b.shape[1:])} can't be joined: make them one size"
        )
    if steps < 2:
        raise DataError(f"a walk has at least 2 steps, its ends; not {steps}")
    with evaluating(model) as device:
        start, end = known.encode(a.to(device)), known.encode(b.to(device))
        t = torch.linspace(0, 1, steps, device=device, dtype=start.dtype).view(-1, *[1] * start.dim())
        z = ((1 - t) * start + t * end).transpose(0, 1).flatten(0, 1)  # [steps, N, …] → [N·steps, …]
        x = torch.cat([known.decode(part)[..., : a.shape[2], : a.shape[3]] for part in torch.split(z, BATCH)])
    return x.reshape(len(a), steps, *a.shape[1:]).to(a.device)
