"""Peak signal-to-noise ratio: the mean squared error in decibels, for people who compare with papers."""

from __future__ import annotations

import torch
from torch import Tensor


def psnr_db(x: Tensor, y: Tensor) -> Tensor:
    """PSNR of each image: 10 log10(1 / mean squared error), after clipping both to [0, 1].

    A picture can't show what lies outside [0, 1], so neither an overshooting estimate is punished for it nor noise
    made to look worse than it looks. The mean over a test set is the mean of these numbers, as papers have it, and not
    the PSNR of the mean error.

    Args:
        x: images [N, …], peak 1.
        y: images of the same shape.

    Returns:
        [N] float64, dB; infinite where both are equal.

    Example:
        >>> psnr_db(torch.zeros(1, 1, 2, 2), torch.full((1, 1, 2, 2), 0.1)).tolist()[0]  # doctest: +ELLIPSIS
        19.99999...
    """
    assert x.shape == y.shape, f"shapes differ: {tuple(x.shape)} and {tuple(y.shape)}"
    error = x.double().clamp(0, 1) - y.double().clamp(0, 1)
    return -10 * torch.log10(error.square().flatten(1).mean(1))
