"""Residual convolutional networks: from an image to a code, and back.

    x ──► pad ──► space to depth ──► stage ──► (halve ──► stage) × … ──► head ──► outputs
    [N,C,H,W]     [N,4·C,H/2,W/2]   [N,c₀,H/2,W/2]  [N,c₁,H/4,W/4] …     [N,outputs], or [N,outputs,h,w] if spatial
    z ──► head ──► stage ──► (double ──► stage) × … ──► depth to space ──► crop ──► image

A stage is a few residual blocks h + conv(act(conv(act(h)))). The second convolution starts at zero, so a fresh network
of any depth is a shallow one, and no normalisation is needed. All work happens at half the image's size or less, where
convolutions are dense in channels and fast on a CPU; run it with weights in the channels-last format.

References: He et al. 2016, Identity mappings in deep residual networks; Zhang, Dauphin & Ma 2019, Fixup initialization
(the zero start); Shi et al. 2016, Real-time single image super-resolution (depth to space).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imprior.errors import RecipeError
from imprior.nn.dense import ACTIVATIONS, GAINS, Activation, linear


@dataclass(frozen=True)
class Convolutional:
    """Settings of a convolutional encoder and of the decoder that mirrors it.

    Attributes:
        channels: channels of the grids at 1/2, 1/4, 1/8 … of the image's size.
        blocks: residual blocks in each stage.
        width: units of a dense layer between the last grid and a code; 0 for none. Not used if spatial.
        spatial: whether codes are grids at the size of the last stage. Such a network takes images of any size.
        activation: what stands between the layers.
        groups: groups of a group normalisation before each activation; 0 for none. Its statistics are over the whole
            image, so with it a spatial network's result depends on the size of the crop.
    """

    channels: tuple[int, ...] = (32, 64)
    blocks: int = 1
    width: int = 256
    spatial: bool = False
    activation: Activation = "silu"
    groups: int = 0

    def __post_init__(self) -> None:
        if not self.channels or any(c < 1 for c in self.channels):
            raise RecipeError(f"channels {self.channels}: at least one stage, each of at least 1")
        if min(self.blocks, self.width, self.groups) < 0:
            raise RecipeError("blocks, width and groups can't be negative")
        if self.groups and any(c % self.groups for c in self.channels):
            raise RecipeError(f"channels {self.channels} can't be split into {self.groups} groups")

    @property
    def stride(self) -> int:
        """Pixels of the image to a side of one place in the last grid: a power of 2."""
        return 1 << len(self.channels)

    def grid(self, shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """Channels, height and width of the last grid for images of `shape`."""
        return (self.channels[-1], -(-shape[1] // self.stride), -(-shape[2] // self.stride))

    def code_shape(self, shape: tuple[int, int, int], units: int) -> tuple[int, ...]:
        """Shape of a code of `units` numbers, or of `units` channels if spatial."""
        return (units, *self.grid(shape)[1:]) if self.spatial else (units,)

    def encoder(self, shape: tuple[int, int, int], outputs: int) -> nn.Module:
        """A network [N, C, H, W] -> [N, outputs], or [N, outputs, ceil(H / stride), ceil(W / stride)] if spatial."""
        layers = [Pad(self.stride), nn.PixelUnshuffle(2), convolution(4 * shape[0], self.channels[0], 3)]
        layers += self._stage(self.channels[0])
        for finer, coarser in pairwise(self.channels):
            halving = convolution(finer, coarser, 2, stride=2, gain=GAINS[self.activation])
            layers += [*self._act(finer), halving, *self._stage(coarser)]
        layers += self._act(self.channels[-1])
        if self.spatial:
            return nn.Sequential(*layers, convolution(self.channels[-1], outputs, 1))
        return nn.Sequential(*layers, nn.Flatten(), *self._dense(math.prod(self.grid(shape)), outputs))

    def decoder(self, inputs: int, shape: tuple[int, int, int], channels_out: int) -> nn.Module:
        """A network [N, inputs] -> [N, channels_out, H, W].

        If spatial: [N, inputs, h, w] -> [N, channels_out, H, W], and for a shape of height and width 0
        [N, channels_out, h · stride, w · stride].
        """
        coarsest = self.channels[-1]
        layers: list[nn.Module]
        if self.spatial:
            layers = [convolution(inputs, coarsest, 1)]
        else:
            grid = self.grid(shape)
            layers = [*self._dense(inputs, math.prod(grid)), nn.Unflatten(1, grid)]
        layers += self._stage(coarsest)
        for coarser, finer in pairwise(self.channels[::-1]):
            layers += [*self._act(coarser), doubling(coarser, finer, gain=GAINS[self.activation]), *self._stage(finer)]
        layers += self._act(self.channels[0])
        layers += [convolution(self.channels[0], 4 * channels_out, 3), nn.PixelShuffle(2)]
        return nn.Sequential(*layers, *([Crop(shape[1], shape[2])] if shape[1] and shape[2] else []))

    def _stage(self, channels: int) -> list[nn.Module]:
        return [ResidualBlock(channels, self) for _ in range(self.blocks)]

    def _dense(self, inputs: int, outputs: int) -> list[nn.Module]:
        if not self.width:
            return [linear(inputs, outputs)]
        activation = ACTIVATIONS[self.activation]()
        return [linear(inputs, self.width), activation, linear(self.width, outputs, GAINS[self.activation])]

    def _act(self, channels: int) -> list[nn.Module]:
        norm = [nn.GroupNorm(self.groups, channels)] if self.groups else []
        return [*norm, ACTIVATIONS[self.activation]()]


class ResidualBlock(nn.Module):
    """h -> h + conv(act(conv(act(h)))), the second convolution zero at the start: [N, c, h, w] -> [N, c, h, w]."""

    def __init__(self, channels: int, settings: Convolutional) -> None:
        super().__init__()
        first = convolution(channels, channels, 3, gain=GAINS[settings.activation])
        second = convolution(channels, channels, 3, gain=0.0)
        self.branch = nn.Sequential(*settings._act(channels), first, *settings._act(channels), second)

    def forward(self, h: Tensor) -> Tensor:
        """[N, channels, h, w] -> the same."""
        return h + self.branch(h)  # type: ignore[no-any-return]


class Pad(nn.Module):
    """Repeats the last row and column until both sides are multiples of `stride`: [N, C, H, W] -> [N, C, H', W']."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, H', W']."""
        below, right = -x.shape[-2] % self.stride, -x.shape[-1] % self.stride
        return F.pad(x, (0, right, 0, below), mode="replicate") if below or right else x


class Crop(nn.Module):
    """Keeps the top left corner: [N, C, H', W'] -> [N, C, height, width]."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.height, self.width = height, width

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H', W'] -> [N, C, height, width]."""
        return x[..., : self.height, : self.width]


def convolution(inputs: int, outputs: int, size: int, *, stride: int = 1, gain: float = 1.0) -> nn.Conv2d:
    """A convolution that keeps (stride 1) or divides (stride = size) the grid; weights ~ N(0, gain² / fan-in)."""
    layer = nn.Conv2d(inputs, outputs, size, stride, padding=size // 2 if stride == 1 else 0)
    nn.init.normal_(layer.weight, std=gain / math.sqrt(inputs * size * size))
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


def doubling(inputs: int, outputs: int, *, gain: float = 1.0) -> nn.ConvTranspose2d:
    """Turns each place into 2 x 2: a 1x1 convolution followed by depth to space, in one: no overlap, no checkers."""
    layer = nn.ConvTranspose2d(inputs, outputs, 2, 2)
    with torch.no_grad():
        layer.weight.normal_(std=gain / math.sqrt(inputs))
        if layer.bias is not None:
            layer.bias.zero_()
    return layer
