"""A denoiser for photographs: a U-Net that is told the noise level of every pixel, and a small network that tells it.

    y, sigma ──► unet ──► noise;   x = y - noise                     [N,C,H,W], [N,1,H,W] → [N,C,H,W]
    y ──► convolutions ──► log-variance of each 8x8 block ──► sigma    [N,C,H,W] → [N,1,H/8,W/8]

It is a denoising autoencoder without a bottleneck of its own: what it has learned is where the mean of the clean images
behind a noisy one lies, so y + sigma² times the gradient of the log-density of noisy images (Tweedie). The same weights
serve as a prior for other restorations (plug-and-play). Where sigma is 0 a pixel comes back as it is. In use it
computes in bfloat16 on processors that do so natively, more than twice as fast (benchmarks/denoise_speed.py).

References: Vincent et al. 2008 (denoising autoencoders); Zhang et al. 2018, FFDNet (the map of sigma, space to depth);
Zhang et al. 2021, DRUNet (a U-Net told sigma); Miyasawa 1961, An empirical Bayes estimator (eq. for the mean).
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imprior.errors import RecipeError
from imprior.nn.convolutional import Pad, convolution
from imprior.nn.precision import fast_bfloat16
from imprior.nn.unet import UNet
from imprior.promises import Shape, check_shape


@dataclass(frozen=True)
class Config:
    """Settings of a denoiser.

    Attributes:
        shape: (channels, height, width) of the training crops; zeros are filled in from the data.
        network: of the denoiser.
        estimator: channels of the network that estimates sigma.
        largest: strongest noise that it is for, [0, 1] scale.
    """

    shape: tuple[int, int, int] = (0, 0, 0)
    network: UNet = field(default_factory=UNet)
    estimator: int = 16
    largest: float = 75 / 255

    def __post_init__(self) -> None:
        if self.estimator < 1 or not self.largest > 0:
            raise RecipeError(f"estimator is at least 1 and largest above 0, not {self.estimator} and {self.largest}")

    def build(self) -> Denoiser:
        """The model, with fresh weights."""
        return Denoiser(self)


class Denoiser(nn.Module):
    """Keeps DenoisesLocally."""

    levels: int | None = None
    classes: int | None = None
    fast = True  # whether to compute in bfloat16 where that is native, when no gradient is wanted

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        channels = config.shape[0]
        self.shape: Shape = (channels, None, None)
        self.largest = config.largest
        self.network = config.network.build(channels + 1, channels)
        self.estimator = Estimator(channels, config.estimator, config.network.slope)
        self.stride = max(config.network.stride, Estimator.stride)
        self.reach = max(config.network.reach, Estimator.reach)

    def denoise(self, y: Tensor, sigma: float | Tensor | None = None) -> Tensor:
        """The estimated mean of the clean images behind noisy ones.

        Args:
            y: [N, C, H, W], may leave [0, 1].
            sigma: standard deviation of the noise on the [0, 1] scale: one number, [N] or a map [N, 1, H, W]. None
                takes the model's own estimate, the mean square over each whole image.

        Returns:
            [N, C, H, W], not clipped.

        Raises:
            DataError: images of another number of channels than the model's.
        """
        check_shape(y, self.shape)
        if sigma is None:
            sigma = self.noise(y).square().mean((1, 2, 3)).sqrt()
        level = torch.as_tensor(sigma, dtype=y.dtype, device=y.device)
        level = level.view(-1, 1, 1, 1).expand(len(y), 1, *y.shape[2:]) if level.ndim < 4 else level
        # Training says itself in which precision it computes.
        fast = self.fast and not torch.is_grad_enabled() and y.dtype == torch.float32 and fast_bfloat16(y)
        with torch.autocast(y.device.type, torch.bfloat16) if fast else nullcontext():
            noise = self.network(torch.cat([y, level], 1)).to(y.dtype)
        return torch.where(level > 0, y - noise, y)

    def noise(self, y: Tensor) -> Tensor:
        """Estimated sigma of each block of 8x8 pixels: [N, C, H, W] -> [N, 1, ⌈H/8⌉, ⌈W/8⌉], [0, 1] scale."""
        return (0.5 * self.log_variance(y)).exp()

    def log_variance(self, y: Tensor) -> Tensor:
        """Logarithm of the estimated mean square of the noise in each block: [N, C, H, W] -> [N, 1, ⌈H/8⌉, ⌈W/8⌉].

        Raises:
            DataError: images of another number of channels than the model's.
        """
        check_shape(y, self.shape)
        return self.estimator(y).to(y.dtype)  # type: ignore[no-any-return]

    def converted(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Weights of a like denoiser, for this one's channels and blocks: where training may begin.

        What is done to each channel becomes the mean over the other's channels, so that a grey denoiser made of one for
        colour says of a picture what that one says of it with three equal channels. Blocks of which the other has fewer
        begin as fresh ones, which add nothing.
        """
        found, channels = dict(weights), self.config.shape[0]
        given = {_block(name) for name in weights}
        for name, own in self.state_dict().items():
            if name.startswith(("network.down.", "network.up.")) and _block(name) not in given:
                found[name] = own
        for name, planes, dim in (
            ("network.head.weight", 1, 1),
            ("estimator.layers.0.weight", 0, 1),
            ("network.tail.weight", 0, 0),
            ("network.tail.bias", 0, 0),
        ):
            mine, other = self.state_dict()[name], found.get(name)
            if other is None or other.dim() != mine.dim() or other.shape[dim] == mine.shape[dim]:
                continue
            count = other.shape[dim] // 4 - planes  # channels; space to depth keeps the four pixels of one together
            if count < 1 or other.shape[dim] % 4:
                continue
            each: Tensor = other.unflatten(dim, (-1, 4))  # type: ignore[no-untyped-call]
            images, rest = each.narrow(dim, 0, count), each.narrow(dim, count, planes)
            mean = images.mean(dim, keepdim=True) * (count / channels if dim else 1.0)
            found[name] = torch.cat((mean.repeat_interleave(channels, dim), rest), dim).flatten(dim, dim + 1)
        return found


def _block(name: str) -> str:
    """Of network.down.0.1.first.weight: network.down.0.1."""
    return ".".join(name.split(".")[:4])


class Estimator(nn.Module):
    """Log-variance of the noise in 8x8 blocks: [N, C, H, W] -> [N, 1, ⌈H/8⌉, ⌈W/8⌉]."""

    stride = 8
    reach = 2 + 2 + 4 + 8 + 8  # a 3x3 at half size, one more, one at a quarter, one at an eighth, and the block

    def __init__(self, channels: int, width: int, slope: float) -> None:
        super().__init__()
        self.pad = Pad(self.stride)
        self.layers = nn.Sequential(
            convolution(4 * channels, width, 3),
            nn.LeakyReLU(slope),
            convolution(width, width, 3, gain=2**0.5),
            nn.LeakyReLU(slope),
            convolution(width, width, 2, stride=2, gain=2**0.5),
            nn.LeakyReLU(slope),
            convolution(width, width, 3, gain=2**0.5),
            nn.LeakyReLU(slope),
            convolution(width, width, 2, stride=2, gain=2**0.5),
            nn.LeakyReLU(slope),
            convolution(width, width, 3, gain=2**0.5),
            nn.LeakyReLU(slope),
            convolution(width, 1, 1),
        )
        last = self.layers[-1]
        assert isinstance(last, nn.Conv2d) and last.bias is not None
        nn.init.constant_(last.bias, -5.0)  # about 20 of 255

    def forward(self, y: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, 1, ⌈H/8⌉, ⌈W/8⌉]."""
        # Twelve doublings of the scale, 1 to 75 of 255 and beyond: outside of them nothing is measured any more.
        grid = F.pixel_unshuffle(self.pad(y), 2).contiguous(memory_format=torch.channels_last)
        return self.layers(grid).float().clamp(-16.0, 0.0)  # type: ignore[no-any-return]
