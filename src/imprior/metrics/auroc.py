"""How well a score tells two sets apart: the area under the receiver operating characteristic, with its error."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Auroc:
    """An area and how far to trust it.

    Attributes:
        value: the probability that a score of the second set is above one of the first, ties counted as half; 0.5 for
            a score that says nothing.
        standard_error: by DeLong; None where a set has a single member. It is 0 for sets wholly apart, which says only
            that these scores show no overlap.
    """

    value: float
    standard_error: float | None


def auroc(low: Tensor, high: Tensor) -> Auroc:
    """The area for scores that should be low and scores that should be high.

    Each score of one set has its place among the other set: the fraction of it below, plus half of what is equal. The
    area is the mean place, and its variance follows from the variances of the places in both sets.

    Args:
        low: [n] scores, of what is normal.
        high: [m] scores, of what is not.

    Reference:
        DeLong, DeLong and Clarke-Pearson, 1988, Comparing the areas under two or more correlated receiver operating
        characteristic curves, equations 3 to 6.

    >>> auroc(torch.tensor([0.0, 1.0]), torch.tensor([1.0, 2.0])).value
    0.875
    """
    assert len(low) and len(high), "both sets want at least one score"
    low, high = low.double(), high.double()
    above = _places(high, low)  # [m], of each high score among the low ones
    below = 1 - _places(low, high)  # [n]
    error = None
    if len(low) > 1 and len(high) > 1:
        error = math.sqrt(float(above.var() / len(high) + below.var() / len(low)))
    return Auroc(float(above.mean()), error)


def _places(values: Tensor, among: Tensor) -> Tensor:
    """The fraction of `among` below each value, ties counted as half."""
    ordered = among.sort().values
    left, right = (torch.searchsorted(ordered, values.contiguous(), right=side) for side in (False, True))
    return (left + right).double() / (2 * len(among))
