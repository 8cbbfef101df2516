"""Noise and masks: what a denoiser is given."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from imprior.data.camera import box, camera
from imprior.data.settings import Corruption


def corrupt(x: Tensor, corruption: Corruption, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Corrupt a batch.

    Args:
        x: clean images [N, C, H, W] in [0, 1].
        corruption: kind and range of amounts.
        rng: where the randomness comes from.

    Returns:
        (y, amount): y [N, C, H, W], not clipped, so it may leave [0, 1]; amount [N], drawn for each image, of
        photographic noise a map [N, 1, H, W].
    """
    n = x.shape[0]
    if corruption.kind == "photographic":
        return photographic(x, corruption, rng)
    amount = _amounts(n, corruption, rng)
    return apply(x, corruption.kind, amount, rng), amount


def _amounts(n: int, corruption: Corruption, rng: torch.Generator) -> Tensor:
    """[n], by `low`, `high` and `power`, where the generator draws."""
    share = torch.rand(n, generator=rng, device=rng.device) ** corruption.power
    return corruption.low + (corruption.high - corruption.low) * share


def photographic(x: Tensor, corruption: Corruption, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """White noise, even or uneven across an image, or that of a camera; see `Corruption`.

    Returns:
        (y [N, C, H, W], sigma [N, 1, H, W]): of a camera's noise, its local root mean square over 17x17 pixels, or for
        half of those images that of the whole image, since people tell a denoiser a single number.
    """
    n, _, height, width = x.shape
    level = _amounts(n, corruption, rng).view(n, 1, 1, 1).expand(n, 1, height, width)
    tilt = F.interpolate(torch.rand(n, 1, 3, 3, generator=rng), (height, width), mode="bilinear", align_corners=True)
    uneven, taken, told_one = (torch.rand(n, generator=rng) < chance for chance in (0.25, 1 / 3, 0.5))
    sigma = torch.where(uneven.view(-1, 1, 1, 1), level * tilt, level)
    y = x + sigma * torch.randn(x.shape, generator=rng, dtype=x.dtype)
    if not taken.any():
        return y, sigma
    developed = camera(x[taken], rng)
    square = (developed - x[taken]).square().mean(1, keepdim=True)
    local = box(square, 8)
    local = torch.where(told_one[taken].view(-1, 1, 1, 1), square.mean((2, 3), keepdim=True), local)
    y, sigma = y.clone(), sigma.clone()
    y[taken], sigma[taken] = developed, local.sqrt().clamp(max=corruption.high)
    return y, sigma


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
