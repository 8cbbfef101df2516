"""Structural similarity: luminance, contrast and structure compared in a sliding Gaussian window."""

from __future__ import annotations

import torch
from torch import Tensor

from imprior.errors import DataError

WINDOW = 11
SIGMA = 1.5
# The constants of the paper for images in [0, 1]: they keep the two ratios finite where a window is flat and dark.
C1, C2 = 0.01**2, 0.03**2


def ssim(x: Tensor, y: Tensor) -> Tensor:
    """SSIM of each image, averaged over all windows that lie inside it and over its channels.

    In each window, with means m, variances v and covariance c under Gaussian weights of standard deviation 1.5 pixels,

        SSIM = (2 m_x m_y + C1) (2 c_xy + C2) / ((m_x² + m_y² + C1) (v_x + v_y + C2))

    Args:
        x: images [N, C, H, W], both sides at least 11; clipped to [0, 1] first, as for PSNR.
        y: images of the same shape.

    Returns:
        [N] float64 in [-1, 1], 1 where both are equal.

    Raises:
        DataError: a side is shorter than the window.

    Reference:
        Z. Wang, A. C. Bovik, H. R. Sheikh, E. P. Simoncelli, "Image quality assessment: from error visibility to
        structural similarity", 2004, equation 13.
    """
    assert x.shape == y.shape, f"shapes differ: {tuple(x.shape)} and {tuple(y.shape)}"
    height, width = x.shape[2:]
    if min(height, width) < WINDOW:
        raise DataError(f"SSIM needs images of at least {WINDOW}x{WINDOW} pixels, these are {height}x{width}")
    luminance, structure = windows(x.double().clamp(0, 1), y.double().clamp(0, 1))
    return (luminance * structure).flatten(1).mean(1)


def windows(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """The two factors of SSIM in each window: of luminance, and of contrast and structure.

    Args:
        a: channels [N, C, H, W] in [0, 1], both sides at least 11.
        b: channels of the same shape.

    Returns:
        Both [N, C, H-10, W-10].
    """
    n, channels, height, width = a.shape
    a, b = (one.reshape(n * channels, 1, height, width) for one in (a, b))
    mean_a, mean_b, aa, bb, ab = _smooth(torch.cat([a, b, a * a, b * b, a * b])).chunk(5)
    variance_a, variance_b, covariance = aa - mean_a**2, bb - mean_b**2, ab - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + C1) / (mean_a**2 + mean_b**2 + C1)
    structure = (2 * covariance + C2) / (variance_a + variance_b + C2)
    shape = (n, channels, *luminance.shape[2:])
    return luminance.reshape(shape), structure.reshape(shape)


def _smooth(x: Tensor) -> Tensor:
    """Gaussian averages of [M, 1, H, W] at the windows that lie inside: [M, 1, H-10, W-10]."""
    at = torch.arange(WINDOW, dtype=x.dtype) - WINDOW // 2
    weights = torch.exp(-0.5 * (at / SIGMA) ** 2)
    for dim in (2, 3):  # sums of shifted images: conv2d is slow for one channel in float64
        length = x.shape[dim] - WINDOW + 1
        total = torch.zeros_like(x.narrow(dim, 0, length))
        for place, weight in enumerate((weights / weights.sum()).tolist()):
            total.add_(x.narrow(dim, place, length), alpha=weight)
        x = total
    return x
