"""What each number of a code does: move one, leave the others, look.

x ──► encode ──► z ──► z + t·std·e_unit,  t = -span … span ──► decode            a row for each unit
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from imprior.errors import DataError
from imprior.promises import Encodes, require
from imprior.randomness import generator
from imprior.tasks.protocol import evaluating

BATCH = 500
DRAWS = 500


def run(
    model: Any,
    x: Tensor,
    *,
    units: int | Sequence[int] = 8,
    span: float = 3.0,
    steps: int = 9,
    others: Tensor | None = None,
) -> Tensor:
    """Move units of an image's code, one at a time.

    Args:
        model: keeps `Encodes`.
        x: the image, [C, H, W].
        units: which (positions in the flattened code), or how many: then those that vary most, the first most of all.
        span: how far each way, in standard deviations of the unit.
        steps: images in a row; with an odd number the middle one is the reconstruction of x.
        others: images [M, C, H, W] whose codes tell how much each unit varies. None, or one alone, asks the model for
            codes of its own (`latent`); those can't tell a unit in use from an idle one where the prior makes no
            difference between them.

    Returns:
        [units, steps, C, H, W].

    Raises:
        CapabilityError: the model has no codes.
        DataError: no such unit.
    """
    known = require(model, Encodes)
    with evaluating(model) as device:
        z = known.encode(x[None].to(device))
        if others is None or len(others) < 2:
            codes = known.latent(DRAWS, generator(0, "traverse", device=device)).to(z)
        else:
            codes = torch.cat([known.encode(part.to(device)) for part in torch.split(others, BATCH)])
        deviation = codes.flatten(1).std(0, correction=0)  # [D]
        chosen = chosen_units(units, deviation)
        t = torch.linspace(-span, span, steps, device=device, dtype=z.dtype)
        moves = torch.zeros(len(chosen), steps, z.numel(), device=device, dtype=z.dtype)
        for row, unit in enumerate(chosen):
            moves[row, :, unit] = t * deviation[unit]
        moved = (z.flatten() + moves).reshape(-1, *z.shape[1:])  # [units·steps, …]
        images = torch.cat([known.decode(part)[..., : x.shape[1], : x.shape[2]] for part in torch.split(moved, BATCH)])
    return images.reshape(len(chosen), steps, *x.shape).to(x.device)


def chosen_units(units: int | Sequence[int], deviation: Tensor) -> list[int]:
    """The units that are named, or as many as are asked for: those that vary most, by `deviation` [D].

    Raises:
        DataError: no such unit.
    """
    if isinstance(units, int):
        order: list[int] = deviation.argsort(descending=True, stable=True).tolist()
        return order[:units]
    for unit in units:
        if not 0 <= unit < len(deviation):
            raise DataError(f"there is no unit {unit}: the code has {len(deviation)}, counted from 0")
    return list(units)
