"""Filling in what is missing: several completions of each image, known pixels kept bit for bit.

    conditional   the model's own `complete`
    posterior     draws of the latents of a latent-variable model given what is known (tasks.posterior)
    search        of whatever decodes: latents whose decoded images agree with what is known (tasks.search)
    plug-and-play of whatever denoises: the denoiser in the place of a prior (tasks.fill)

A result says which of them made it. The first two are distributions: how often something appears among many
completions is how likely the model thinks it. The third is not: different starts find different optima. The fourth has
one result.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import torch
from torch import Tensor

from imprior import bounds
from imprior.data.batches import binarize
from imprior.errors import CapabilityError, DataError, nearest
from imprior.promises import Completes, Decodes, Denoises, LatentVariable, check_shape, require
from imprior.tasks import fill, invert, masks, posterior, search
from imprior.tasks.protocol import evaluating

Method = Literal["conditional", "posterior", "search", "plug-and-play"]
HOW: dict[str, str] = {
    "conditional": "the model's own conditional distribution",
    "one-sided": "the model's own order: each pixel given those before it, known pixels after it not counted",
    "posterior": "posterior sampling of the latents (annealed Hamiltonian Monte Carlo)",
    "search": "latent search",
    "plug-and-play": "plug-and-play with the denoiser (half-quadratic splitting, falling sigma)",
}
BATCH = 256


@runtime_checkable
class OneSided(Completes, Protocol):
    """Completes exactly only where what is known comes first in the model's order."""

    def completes_exactly(self, known: Tensor) -> Tensor:
        """bool [N, 1, H, W] -> bool [N]."""
        ...


@dataclass(frozen=True)
class Completion:
    """Images filled in.

    Attributes:
        x: as given, [N, C, H, W].
        known: bool [N, 1, H, W].
        images: [N, n, C, H, W]; at known pixels equal to x, bit for bit.
        method: "conditional", "posterior", "search" or "plug-and-play".
        exact: of "conditional", whether each completion is a draw of p(missing | known) for this mask; else False.
        acceptance: of "posterior", the fraction of proposals that were accepted; else None.
    """

    x: Tensor
    known: Tensor
    images: Tensor
    method: Method
    exact: bool = False
    acceptance: float | None = None

    @property
    def how(self) -> str:
        """The method in words."""
        return HOW["one-sided" if self.method == "conditional" and not self.exact else self.method]

    @property
    def masked(self) -> Tensor:
        """x with its hidden pixels in mid-grey, [N, C, H, W]."""
        return torch.where(self.known, self.x, 0.5)

    def record(self) -> dict[str, Any]:
        """JSON values."""
        hidden = float((~self.known).float().mean())
        values = {"images": len(self.x), "n": self.images.shape[1], "hidden": hidden}
        return values | {"method": self.method, "how": self.how, "exact": self.exact, "acceptance": self.acceptance}


def method_for(model: object, *, name: str = "this model") -> Method:
    """How a model completes unless told otherwise.

    Raises:
        CapabilityError: it can't; the message names models that can.
    """
    if isinstance(model, Completes):
        return "conditional"
    if isinstance(model, LatentVariable) and posterior.can(model):
        return "posterior"
    if fill.can(model):
        return "plug-and-play"
    require(model, Decodes, name=f"{name} does not keep the promise Completes, and")
    return "search"


def run(
    model: Any,
    x: Tensor,
    known: Tensor,
    *,
    n: int | None = None,
    rng: torch.Generator,
    method: str | None = None,
    labels: Tensor | None = None,
    draw: bool = False,
) -> Completion:
    """Fill in what a mask hides.

    A model of binary images sees bits, drawn from grey levels as in training; the known pixels of the result are those
    of x all the same.

    Args:
        model: keeps `Completes`, `LatentVariable`, `Decodes` or `Denoises`.
        x: images, [N, C, H, W] in [0, 1]; what stands at hidden pixels is not looked at.
        known: bool [N, 1, H, W], or [1, 1, H, W] for all.
        n: completions of each image; None is 4, or 1 of "plug-and-play", which has no more.
        rng: where the randomness comes from.
        method: "conditional", "posterior", "search" or "plug-and-play"; None takes what `method_for` says.
        labels: int64 [N], of conditional models that decode; None tries several.
        draw: of "posterior", whether missing pixels are drawn instead of shown as the mean image of the latent.

    Raises:
        CapabilityError: the model can't do it, or not by that method.
        DataError: a mask of another size, or one that hides everything or nothing; images of another shape or other
            levels than the model's; no such method.
    """
    chosen = method_for(model) if method is None else _asked(method)
    n = counted(n, chosen)
    mask = masks.checked(known, x)
    if labels is not None and (model.classes is None or chosen in ("posterior", "plug-and-play")):
        raise CapabilityError("this model knows no classes: it completes without labels")
    if chosen == "plug-and-play":
        if draw:
            raise CapabilityError("pixels are drawn from a model's distribution; plug-and-play has one result")
        return Completion(x, mask, fill.run(require(model, Denoises), x, mask)[:, None], chosen)
    if draw and chosen == "search":
        raise CapabilityError("pixels are drawn from a model's distribution; latent search gives mean images only")
    many, many_masks = x.repeat_interleave(n, 0), mask.repeat_interleave(n, 0)  # [N·n, …]
    given = None if labels is None else labels.repeat_interleave(n, 0)
    acceptance = None
    if chosen == "search":
        blank = torch.where(many_masks, many, 0.5)  # hidden pixels may be NaN: nothing may depend on them
        z, tried = search.run(model, blank, rng=rng, known=many_masks, labels=given)
        filled = invert.decoded(require(model, Decodes), z, tried, x)
    elif chosen == "posterior":
        filled, acceptance = _posterior(require(model, LatentVariable), many, many_masks, rng, draw)
    else:
        require(model, Completes)
        filled = _conditional(model, many, many_masks, given, rng)
    filled = filled[..., : x.shape[2], : x.shape[3]].to(x)
    images = torch.where(many_masks, many, filled).view(len(x), n, *x.shape[1:])
    exact = chosen == "conditional"
    if exact and isinstance(model, OneSided):
        exact = bool(model.completes_exactly(mask).all())
    return Completion(x, mask, images, chosen, exact, acceptance)


def counted(n: int | None, method: Method) -> int:
    """How many completions of each image: n, or as many as is usual with a method.

    Raises:
        DataError: less than one, or more than one where there is only one.
    """
    if n is None:
        return 1 if method == "plug-and-play" else 4
    if n < 1:
        raise DataError(f"there is at least 1 completion, not {n}")
    if n > 1 and method == "plug-and-play":
        raise DataError(f"filling by plug-and-play draws nothing, so there is 1 completion, not {n}: ask for -n 1")
    return n


def _asked(method: str) -> Method:
    for one in get_args(Method):
        if one == method:
            return one  # type: ignore[no-any-return]
    raise DataError(f"no method '{method}'{nearest(method, HOW)}; there are {', '.join(HOW)}")


def _parts(count: int) -> list[slice]:
    return [slice(i, min(i + BATCH, count)) for i in range(0, count, BATCH)]


def _seen(x: Tensor, known: Tensor, levels: int | None, rng: torch.Generator) -> Tensor:
    """What a model's likelihood is asked about: bits of grey images for binary models, hidden pixels at 0."""
    shown = torch.where(known, x, 0.0)
    if levels == 2 and not bool(((shown == 0) | (shown == 1)).all()):
        shown = binarize(shown.cpu() if rng.device.type == "cpu" else shown, rng).to(x)
    bounds.check_levels(shown, levels)
    return shown


def _conditional(model: Any, x: Tensor, known: Tensor, labels: Tensor | None, rng: torch.Generator) -> Tensor:
    seen = _seen(x, known, model.levels, rng)
    filled = []
    with evaluating(model) as device:
        for part in _parts(len(x)):
            # Models that know classes take labels as well; the promise is of models that need none.
            more = () if labels is None else (labels[part].to(device),)
            filled.append(model.complete(seen[part].to(device), known[part].to(device), rng, *more))
    return torch.cat(filled)


def _posterior(
    model: LatentVariable, x: Tensor, known: Tensor, rng: torch.Generator, draw: bool
) -> tuple[Tensor, float]:
    """Filled images, and the fraction of proposals that the chains took."""
    check_shape(x, model.shape)
    seen = _seen(x, known, model.levels, rng)
    found = posterior.run(model, seen, known, rng=rng)
    with evaluating(model):
        likelihoods = [model.likelihood(found.z[part]) for part in _parts(len(x))]
        filled = torch.cat([one.sample(1, rng)[0] if draw else one.mean for one in likelihoods])
    return filled, found.acceptance
