"""Where numbers are large, as a tint over images."""

from __future__ import annotations

import torch
from torch import Tensor

TINT = (0.93, 0.20, 0.16)  # red: neither grey images nor most photographs have it in large areas
FULL = 0.995  # quantile of all maps that is tinted fully: single extreme pixels shall not darken the rest


def overlay(x: Tensor, maps: Tensor) -> Tensor:
    """Images with what their maps say, all maps on one scale so that images can be compared.

    Args:
        x: [N, C, H, W] in [0, 1].
        maps: [N, H, W]; 0 and below shows the image as it is.

    Returns:
        [N, 3, H, W] in [0, 1].

    >>> overlay(torch.zeros(1, 1, 1, 2), torch.tensor([[[0.0, 5.0]]]))[0, 0]
    tensor([[0.0000, 0.9300]])
    """
    strength = maps.clamp_min(0).to(x)[:, None]
    full = torch.quantile(strength.flatten()[:: 1 + strength.numel() // 1_000_000], FULL).clamp_min(1e-12)
    strength = (strength / full).clamp_max(1)
    colours = x.expand(-1, 3, -1, -1) if x.shape[1] == 1 else x
    tint = torch.tensor(TINT, dtype=x.dtype, device=x.device).view(1, 3, 1, 1)
    return (1 - strength) * colours + strength * tint
