"""The kernel distance between two sets of features: the squared maximum mean discrepancy with a cubic kernel."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from imprior.errors import DataError

LARGEST, FEWEST = 1000, 10  # images in a subset at most, and subsets that the standard error wants


@dataclass(frozen=True)
class KernelDistance:
    """A mean over disjoint subsets.

    Attributes:
        mean: the squared distance; without bias, so it can be a little below zero.
        standard_error: of the mean.
        subsets: how many.
        size: images in each, on either side.
    """

    mean: float
    standard_error: float
    subsets: int
    size: int


def kernel_distance(x: Tensor, y: Tensor, rng: torch.Generator) -> KernelDistance:
    """E k(x, x') + E k(y, y') - 2 E k(x, y) with k(a, b) = (a · b / F + 1)³, x and x' (y and y') being different.

    Subsets are disjoint, so their values are independent and the standard error is honest. They have at most 1,000
    images, and there are at least 10.

    Args:
        x: features [N, F].
        y: features [M, F].
        rng: of the subsets.

    Raises:
        DataError: either set has fewer than 20 samples.

    Reference: Bińkowski, Sutherland, Arbel & Gretton 2018, Demystifying MMD GANs, section 4 and eq. 4.
    """
    fewest = min(len(x), len(y))
    if fewest < 2 * FEWEST:
        raise DataError(f"the kernel distance wants at least {2 * FEWEST} images on either side, there are {fewest:,}")
    size = min(LARGEST, fewest // FEWEST)
    subsets = fewest // size
    orders = [torch.randperm(len(z), generator=rng, device=rng.device)[: subsets * size].to(z.device) for z in (x, y)]
    chosen = [z[order].double().view(subsets, size, -1) for z, order in zip((x, y), orders, strict=True)]
    values = torch.stack([squared_discrepancy(a, b) for a, b in zip(*chosen, strict=True)])
    return KernelDistance(float(values.mean()), float(values.std() / math.sqrt(subsets)), subsets, size)


def squared_discrepancy(x: Tensor, y: Tensor) -> Tensor:
    """The unbiased estimate from [n, F] and [m, F]: a scalar."""
    n, m = len(x), len(y)
    own_x, own_y, cross = _kernel(x, x), _kernel(y, y), _kernel(x, y)
    return (
        (own_x.sum() - own_x.trace()) / (n * (n - 1)) + (own_y.sum() - own_y.trace()) / (m * (m - 1)) - 2 * cross.mean()
    )


def _kernel(a: Tensor, b: Tensor) -> Tensor:
    return (a @ b.T / a.shape[1] + 1) ** 3
