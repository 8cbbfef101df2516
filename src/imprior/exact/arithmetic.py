"""Whole numbers in floating point, where every operation is exact.

A float32 product or sum of whole numbers is exact as long as no result, partial sums included, reaches 2^24. So an
ordinary convolution of whole numbers gives the same bits in any order of summation: with one thread or many, tiled or
whole, in any memory format and any library that adds up products (one that transforms its input first, as Winograd's
algorithm does, is found out by its fractions, and the layer is done again in float64). No division, no exponential:
multiplication by powers of two, floor and clamp are exact as well.

Reference: Ballé, Johnston & Minnen 2019, Integer networks for data compression with latent-variable models.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

LARGEST = 1 << 24  # float32 holds all whole numbers below


def rescale(x: Tensor, shift: Tensor | int) -> Tensor:
    """floor(x · 2^-shift + ½): whole numbers to whole numbers, halves upwards.

    Args:
        x: whole numbers in float32 or float64, below 2^23 (2^52) in magnitude.
        shift: whole; negative multiplies. A tensor must broadcast with x.

    >>> rescale(torch.tensor([-3.0, -2, -1, 0, 1, 2, 3]), 1)
    tensor([-1., -1.,  0.,  0.,  1.,  1.,  2.])
    """
    return times(x, power(shift, x))


def power(shift: Tensor | int, like: Tensor) -> Tensor:
    """2^-shift, exactly, in the precision and on the device of `like`."""
    return torch.exp2(-torch.as_tensor(shift, dtype=like.dtype, device=like.device))


def times(x: Tensor, factor: Tensor) -> Tensor:
    """floor(x · factor + ½), `factor` a `power` or several; the product and the sum are one pass over the memory."""
    return torch.addcmul(x.new_full((), 0.5), x, factor).floor_()


def accumulation_bound(weight: Tensor, bias: Tensor, largest: int) -> int:
    """The largest magnitude that a partial sum of a convolution can have, rounding offset included.

    Args:
        weight: whole numbers [O, …].
        bias: whole numbers [O].
        largest: magnitude of the inputs, at most.
    """
    total = weight.double().abs().flatten(1).sum(1) * largest + bias.double().abs()
    return int(total.max())


def whole_convolution(x: Tensor, weight: Tensor, bias: Tensor, *, stride: int = 1, padding: int = 0) -> Tensor:
    """A convolution of whole numbers whose `accumulation_bound` is below 2^24: exact, as whole numbers in float32.

    Args:
        x: [N, I, h, w], whole numbers in float32.
        weight: [O, I, k, k], whole numbers in float32.
        bias: [O], whole numbers in float32.
        stride, padding: of the convolution; zeros are padded.
    """
    with torch.autocast(x.device.type, enabled=False):
        result = F.conv2d(x, weight, bias, stride, padding)
        if float(torch.linalg.vector_norm(result.frac(), 1)):  # the sum of all fractions, the cheapest way to see one
            # Not a sum of products: some library's transform. In float64 its error is far below one half.
            result = F.conv2d(x.double(), weight.double(), bias.double(), stride, padding).round().float()
    return result
