"""Structural similarity at five scales: what fine detail is worth, and coarse structure."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from imprior.errors import DataError
from imprior.metrics.ssim import WINDOW, windows

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of the scales, the finest first: figures of the paper
SMALLEST = WINDOW * 2 ** (len(WEIGHTS) - 1)  # pixels of a side, so that the window fits into the coarsest scale


def ms_ssim(x: Tensor, y: Tensor) -> Tensor:
    """MS-SSIM of each image: of each channel (red, green and blue, as PSNR is taken), then the mean over channels.

    With the mean over all windows of a scale of contrast and structure cs_j, and of SSIM itself at the coarsest scale,

        MS-SSIM = cs_1^w_1 cs_2^w_2 cs_3^w_3 cs_4^w_4 ssim_5^w_5

    where each scale is the one before it averaged over 2x2 pixels (the last row or column of an odd side is left out).
    A negative mean, which has no such power, counts as 0.

    Args:
        x: images [N, C, H, W], both sides at least 176; clipped to [0, 1] first, as for PSNR.
        y: images of the same shape.

    Returns:
        [N] float64 in [0, 1], 1 where both are equal.

    Raises:
        DataError: a side is shorter than that.

    Reference:
        Z. Wang, E. P. Simoncelli, A. C. Bovik, "Multi-scale structural similarity for image quality assessment", 2003,
        equation 7.
    """
    assert x.shape == y.shape, f"shapes differ: {tuple(x.shape)} and {tuple(y.shape)}"
    height, width = x.shape[2:]
    if min(height, width) < SMALLEST:
        raise DataError(f"MS-SSIM needs images of at least {SMALLEST}x{SMALLEST} pixels, these are {height}x{width}")
    a, b = x.double().clamp(0, 1), y.double().clamp(0, 1)
    product = torch.ones(x.shape[:2], dtype=torch.float64, device=x.device)
    for scale, weight in enumerate(WEIGHTS):
        if scale:
            a, b = avg_pool2d(a, 2), avg_pool2d(b, 2)
        luminance, structure = windows(a, b)
        coarsest = scale == len(WEIGHTS) - 1
        each = luminance * structure if coarsest else structure
        product = product * each.mean((2, 3)).clamp(min=0) ** weight
    return product.mean(1)
