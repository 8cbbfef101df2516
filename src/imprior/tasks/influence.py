"""What a unit of the code has to do with each pixel: which pixels it moves, and which pixels move it.

    moves[u]     mean over images of |∂ decode(z) / ∂ z_u|,    z = encode(x)       [U, C, H, W]
    moved_by[u]  mean over images of |∂ encode(x)_u / ∂ x|                         [U, C, H, W]

The first by central differences of the decoder, a small step of the unit either way (so that any decoder will do), the
second by automatic differentiation of the encoder. Both are derivatives at the images, averaged without sign: a map of
where a unit looks and where it acts, not of what it draws (`traverse` shows that).

Reference: Simonyan et al. 2014, Deep inside convolutional networks (maps of derivatives).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from imprior.errors import DataError
from imprior.promises import Encodes, require
from imprior.tasks.protocol import evaluating
from imprior.tasks.traverse import chosen_units

BATCH = 100
# A step either way in standard deviations of the unit: the error of the difference is a sixth of its square times the
# third derivative, and rounding in float32 stays a thousand times smaller than what a unit in use does.
STEP = 0.05


@dataclass(frozen=True)
class Influence:
    """Maps of some units.

    Attributes:
        units: which, positions in the flattened code.
        deviation: [U], standard deviation of each over the images.
        moves: [U, C, H, W], mean |∂x̂ / ∂z_u|.
        moved_by: [U, C, H, W], mean |∂z_u / ∂x|.
        n: images that the means are over.
    """

    units: tuple[int, ...]
    deviation: Tensor
    moves: Tensor
    moved_by: Tensor
    n: int

    def pictures(self) -> tuple[Tensor, Tensor]:
        """Both maps with the unit measured in its deviations, mean over channels: two of [U, 1, H, W] in [0, 1].

        Each kind of map has one scale for all units, so that a unit in use is bright and an idle one dark.
        """
        scale = self.deviation.clamp_min(torch.finfo(self.deviation.dtype).tiny)[:, None, None, None]
        maps = (self.moves * scale).mean(1, keepdim=True), (self.moved_by / scale).mean(1, keepdim=True)
        # A unit that never changes has no deviations to be measured in.
        alive = (self.deviation > 0)[:, None, None, None]
        shown = [torch.where(alive, one, 0) for one in maps]
        first, second = (one / one.max().clamp_min(torch.finfo(one.dtype).tiny) for one in shown)
        return first, second

    def record(self) -> dict[str, Any]:
        """JSON values: of each unit its deviation and the totals of its maps over pixels and channels."""
        rows = zip(self.units, self.deviation.tolist(), self.moves.flatten(1).sum(1).tolist(),
                   self.moved_by.flatten(1).sum(1).tolist(), strict=True)  # fmt: skip
        names = ("unit", "deviation", "moves", "moved_by")
        return {"n": self.n, "units": [dict(zip(names, row, strict=True)) for row in rows]}


def run(model: Any, x: Tensor, *, units: int | Sequence[int] = 8, labels: Tensor | None = None) -> Influence:
    """Maps of a model's units over a batch of images.

    Args:
        model: keeps `Encodes`.
        x: images [N, C, H, W], two or more: they tell how much each unit varies.
        units: which (positions in the flattened code), or how many: then those that vary most.
        labels: int64 [N], which a conditional decoder is given.

    Raises:
        CapabilityError: the model has no codes.
        DataError: fewer than two images, or no such unit.
    """
    known = require(model, Encodes)
    if len(x) < 2:
        raise DataError("influence is averaged over images: give at least two")
    height, width = x.shape[2:]
    with evaluating(model) as device:
        z = torch.cat([known.encode(part.to(device)) for part in torch.split(x, BATCH)])
        deviation = z.flatten(1).std(0, correction=0)
        chosen = chosen_units(units, deviation)
        moves = x.new_zeros(len(chosen), *x.shape[1:], device=device)
        moved_by = torch.zeros_like(moves)
        for start in range(0, len(x), BATCH):
            part = slice(start, start + BATCH)
            given = None if labels is None else labels[part].to(device)
            images = x[part].to(device)
            for row, unit in enumerate(chosen):
                step = STEP * float(deviation[unit]) or STEP
                offset = torch.zeros_like(z[part]).flatten(1)
                offset[:, unit] = step
                offset = offset.view_as(z[part])
                ahead, behind = (known.decode(z[part] + sign * offset, given)[..., :height, :width] for sign in (1, -1))
                moves[row] += ((ahead - behind) / (2 * step)).abs().sum(0)
            moved_by += _gradients(known, images, chosen)
    return Influence(tuple(chosen), deviation[chosen].cpu(), (moves / len(x)).cpu(), (moved_by / len(x)).cpu(), len(x))


@torch.enable_grad()
def _gradients(model: Encodes, x: Tensor, units: Sequence[int]) -> Tensor:
    """|∂ encode(x)_u / ∂ x| of each unit, summed over the images: [U, C, H, W]."""
    x = x.detach().requires_grad_()
    code = model.encode(x).flatten(1)
    found = []
    for unit in units:
        # The images of a batch do not touch each other's codes, so one sum gives the gradient of each.
        (gradient,) = torch.autograd.grad(code[:, unit].sum(), x, retain_graph=True)
        found.append(gradient.abs().sum(0))
    return torch.stack(found)
