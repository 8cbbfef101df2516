"""Noise and masks: what a denoiser is given."""

from __future__ import annotations

import torch
from torch import Tensor

from imprior.data.settings import Corruption


def corrupt(x: Tensor, corruption: Corruption, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Corrupt a batch.

    Args:
        x: clean images [N, C, H, W] in [0, 1].
        corruption: kind and range of amounts.
        rng: where the randomness comes from.

    Returns:
        (y, amount): y [N, C, H, W], not clipped, so it may leave [0, 1]; amount [N], drawn for each image.
    """
    n = x.shape[0]
    amount = corruption.low + (corruption.high - corruption.low) * torch.rand(n, generator=rng, device=x.device)
    return apply(x, corruption.kind, amount, rng), amount


def apply(x: Tensor, kind: str, amount: Tensor, rng: torch.Generator) -> Tensor:
    """Corrupt each image of x [N, C, H, W] by its own amount [N]; see `Corruption` for kinds and units."""
    each = amount.view(-1, 1, 1, 1).to(x.dtype)
    if kind == "none":
        return x
    if kind == "gaussian":
        return x + each * torch.randn(x.shape, generator=rng, device=x.device, dtype=x.dtype)
    if kind == "poisson":
        photons = each.clamp_min(1e-6).square().reciprocal()  # at white; the mean stays x
        return torch.where(each > 0, torch.poisson(x.clamp_min(0) * photons, generator=rng) / photons, x)
    # A pixel is lost in all its channels at once, as a dead pixel or a hole is.
    chance = torch.rand(x.shape[0], 1, *x.shape[2:], generator=rng, device=x.device)
    if kind == "masking":
        return torch.where(chance < each, torch.zeros((), dtype=x.dtype, device=x.device), x)
    assert kind == "salt-pepper", kind
    salted = torch.where(chance < each / 2, torch.zeros((), dtype=x.dtype, device=x.device), x)
    return torch.where(chance >= 1 - each / 2, torch.ones((), dtype=x.dtype, device=x.device), salted)
