"""What cameras do to pictures: a seeded synthetic one, for training and for tests.

    x ──► enlarge ──► linear light ──► raw: Poisson + Gaussian noise on a mosaic ──► demosaic ──► white balance
                  ──► display gamma ──► shrink ──► (sharpen) ──► noise;     y = JPEG(x + noise)

Only the noise goes through: it is the difference between the noisy raw picture and the clean one, developed alike. So
the target stays the picture itself, and a denoiser is not asked to undo the camera's blur. The noise is stronger in
the dark (after the gamma curve), differs by colour, and is correlated between neighbours, as that of real photographs
is.

References: Foi et al. 2008, Practical Poissonian-Gaussian noise modeling; Brooks et al. 2019, Unprocessing images for
learned raw denoising (gains, gamma, noise levels); Zhang et al. 2022, Practical blind denoising (SCUNet: the mix).
"""

from __future__ import annotations

import io

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

LUMA = (0.299, 0.587, 0.114)


def camera(x: Tensor, rng: torch.Generator) -> Tensor:
    """Pictures as cameras of drawn quality would have taken them.

    Args:
        x: clean colour or grey pictures [N, 1 or 3, H, W] in [0, 1], at least 4 pixels to a side.
        rng: of everything that is drawn. Pictures of one call differ in noise, colours and JPEG, and share the scale
            at which their cameras worked.

    Returns:
        [N, C, H, W]; whole 8-bit levels where JPEG was applied, else numbers that may leave [0, 1].
    """
    n, channels = x.shape[:2]
    scale = 1.0 + float(torch.rand((), generator=rng)) if torch.rand((), generator=rng) < 0.7 else 1.0
    noise = _noise(x.expand(n, 3, *x.shape[2:]), scale, rng)
    if channels == 1:
        noise = _brightness(noise)
    sharpening = 0.7 * torch.rand(n, 1, 1, 1, generator=rng)
    y = x + noise + sharpening * (noise - box(noise, 1))
    raw = torch.rand(n, generator=rng) < 0.3  # developed, but not compressed
    quality = torch.randint(70, 99, (n,), generator=rng).tolist()
    subsampled = (torch.rand(n, generator=rng) < 0.5).tolist()
    return torch.stack([y[i] if raw[i] else jpeg(y[i], quality[i], subsampled[i]) for i in range(n)])


def jpeg(image: Tensor, quality: int, subsampled: bool = False) -> Tensor:
    """An image [C, H, W] after JPEG compression: whole levels k / 255; its colours at half size where `subsampled`."""
    from PIL import Image

    levels = image.clamp(0, 1).mul(255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    picture = Image.fromarray(levels.squeeze(2) if levels.shape[2] == 1 else levels)
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality, subsampling=2 if subsampled else 0)
    again = np.array(Image.open(file)).reshape(levels.shape)
    return torch.from_numpy(again).permute(2, 0, 1).to(image.dtype) / 255


def halved_colours(x: Tensor) -> Tensor:
    """Colour pictures as JPEG files with halved colours (4:2:0) show them: [N, 3, H, W] in [0, 1] -> the same.

    Brightness stays; differences of red and blue from it become means of 2x2 pixels, which are interpolated again as
    decoders do (ITU-T T.871; nothing is rounded or quantised).
    """
    height, width = x.shape[2:]
    brightness = _brightness(x)
    coarse = F.avg_pool2d(x[:, ::2] - brightness, 2, ceil_mode=True)
    fine = F.interpolate(coarse, scale_factor=2, mode="bilinear")[..., :height, :width]
    red, blue = fine[:, :1], fine[:, 1:]
    green = -(LUMA[0] * red + LUMA[2] * blue) / LUMA[1]  # so that brightness is what it was
    return (brightness + torch.cat([red, green, blue], 1)).clamp(0, 1)


def _brightness(x: Tensor) -> Tensor:
    """[N, 3, H, W] -> [N, 1, H, W]."""
    return (x * x.new_tensor(LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)


def _noise(x: Tensor, scale: float, rng: torch.Generator) -> Tensor:
    """What the noise of a sensor becomes in developed pictures x [N, 3, H, W] that were taken at `scale`."""
    n, _, height, width = x.shape
    size = [round(side * scale / 2) * 2 for side in (height, width)]
    large = F.interpolate(x, size, mode="bilinear", align_corners=False)
    gains = torch.ones(n, 3, 1, 1)
    gains[:, 0, 0, 0] = 1.4 + torch.rand(n, generator=rng)  # of a sensor that sees green best
    gains[:, 2, 0, 0] = 1.3 + 0.9 * torch.rand(n, generator=rng)
    mosaic = _mosaic(size[0], size[1])
    raw = (to_light(large) / gains * mosaic).sum(1, keepdim=True)  # [N,1,H,W]
    # Light of 1 is 1 / photon electrons: from 5,000 (bright daylight) down to 60 (a telephone at night).
    photon = 10 ** (-3.7 + 1.9 * torch.rand(n, 1, 1, 1, generator=rng))
    read = photon * 10 ** (-3 + 1.7 * torch.rand(n, 1, 1, 1, generator=rng))
    noisy = raw + (photon * raw + read).sqrt() * torch.randn(raw.shape, generator=rng)
    both = torch.cat([noisy, raw])
    light = _demosaiced(both, mosaic) * gains.repeat(2, 1, 1, 1)
    developed, clean = to_display(light.clamp(0, 1)).chunk(2)
    # Shrinking smooths, as a camera or a person does who makes a picture smaller.
    return F.interpolate(developed - clean, (height, width), mode="bilinear", align_corners=False, antialias=True)


def _mosaic(height: int, width: int) -> Tensor:
    """Which colour each place of the sensor sees, red and green over green and blue: [1, 3, H, W] of 0 and 1."""
    mosaic = torch.zeros(1, 3, height, width)
    mosaic[:, 0, ::2, ::2] = mosaic[:, 2, 1::2, 1::2] = 1
    mosaic[:, 1, ::2, 1::2] = mosaic[:, 1, 1::2, ::2] = 1
    return mosaic


def _demosaiced(raw: Tensor, mosaic: Tensor) -> Tensor:
    """Missing colours as means of their neighbours: [N, 1, H, W] -> [N, 3, H, W]."""
    # Reflection about the border pixel keeps a place's colour.
    padded = F.pad(raw * mosaic, (1, 1, 1, 1), mode="reflect")
    # Sums of shifted planes are several times faster than a convolution of three channels.
    across = padded[..., 1:-1] + 0.5 * (padded[..., :-2] + padded[..., 2:])
    full = across[..., 1:-1, :] + 0.5 * (across[..., :-2, :] + across[..., 2:, :])
    seen = padded[:, 1:2]
    green = seen[..., 1:-1, 1:-1] + 0.25 * (
        seen[..., 1:-1, :-2] + seen[..., 1:-1, 2:] + seen[..., :-2, 1:-1] + seen[..., 2:, 1:-1]
    )
    return torch.cat([full[:, :1], green, full[:, 2:]], 1)


def box(x: Tensor, radius: int) -> Tensor:
    """Means over squares of 2 · radius + 1 pixels, the image reflected at its borders: [N, C, H, W] -> the same."""
    padded = F.pad(x, (radius, radius, radius, radius), mode="reflect")
    return F.avg_pool2d(F.avg_pool2d(padded, (1, 2 * radius + 1), 1), (2 * radius + 1, 1), 1)


def to_light(x: Tensor) -> Tensor:
    """sRGB in [0, 1] -> linear light (IEC 61966-2-1)."""
    return torch.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)


def to_display(light: Tensor) -> Tensor:
    """Linear light in [0, 1] -> sRGB (IEC 61966-2-1)."""
    return torch.where(light <= 0.0031308, 12.92 * light, 1.055 * light.clamp_min(1e-8) ** (1 / 2.4) - 0.055)
