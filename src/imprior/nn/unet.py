"""A residual U-Net on space-to-depth pixels: from planes of an image to planes of the same size, at any size.

    x ──► pad ──► space to depth ──► stage ─────────────────────────── + ──► stage ──► depth to space ──► crop
                  [N,4·C,H/2,W/2]      └─► halve ──► stage ───── + ──► double ┘
                                                       └─► … ────┘

A stage is residual blocks h + conv(act(conv(h))), of which the second convolution starts at zero. The activation is a
ReLU, or a leaky one: on coarse grids, where brightness outweighs all else, training drives nearly all plain ones below
zero for good. Nothing is normalised and every layer is a convolution, so that a pixel depends on its surroundings
within `reach` and a large image can be worked through in tiles. Run it with weights in the channels-last format.

References: Ronneberger et al. 2015, U-Net; Zhang et al. 2018, FFDNet (space to depth); Zhang et al. 2021, Plug-and-play
image restoration with deep denoiser prior (the residual form, without normalisation or biases in their case).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imprior.errors import RecipeError
from imprior.nn.convolutional import Pad, convolution, doubling


@dataclass(frozen=True)
class UNet:
    """Settings of the network.

    Attributes:
        channels: channels of the grids at 1/2, 1/4, 1/8 … of the image's size.
        blocks: residual blocks of each stage on the way to the coarsest.
        back: of each stage but the coarsest on the way back; None takes as many as on the way there.
        slope: of the activation below zero; 0 is a plain ReLU.
    """

    channels: tuple[int, ...] = (48, 64, 96)
    blocks: tuple[int, ...] = (1, 2, 3)
    back: tuple[int, ...] | None = None
    slope: float = 0.0

    def __post_init__(self) -> None:
        if not self.channels or len(self.channels) != len(self.blocks):
            raise RecipeError(f"as many blocks as channels: {self.blocks} and {self.channels}")
        if len(self.ways_back) != len(self.channels) - 1:
            raise RecipeError(f"back has a number for each grid but the coarsest: {self.back} for {self.channels}")
        if min(self.channels) < 1 or min(*self.blocks, *self.ways_back, 0) < 0:
            raise RecipeError(
                f"channels are at least 1 and blocks at least 0, not {self.channels}, {self.blocks} and {self.back}"
            )
        if not 0 <= self.slope < 1:
            raise RecipeError(f"slope is from 0 to below 1, not {self.slope}")

    @property
    def ways_back(self) -> tuple[int, ...]:
        """Residual blocks of each stage on the way back, finest grid first."""
        return self.blocks[:-1] if self.back is None else self.back

    @property
    def stride(self) -> int:
        """Pixels to a side of one place in the coarsest grid: a power of 2."""
        return 1 << len(self.channels)

    @property
    def reach(self) -> int:
        """How many pixels away from it a pixel of the result still depends on the input, at most."""
        total = 0
        for level, blocks in (*enumerate(self.blocks), *enumerate(self.ways_back)):
            # Two 3x3 convolutions a block; the way down to and up from a coarser grid is within its own pixels.
            total += 2 * blocks << (level + 1)
        return total + 2 * 2 + self.stride  # head, tail, and the place of the pixel in its coarsest cell

    def build(self, inputs: int, outputs: int) -> Network:
        """A network [N, inputs, H, W] -> [N, outputs, H, W], with fresh weights; it gives zeros at first."""
        return Network(self, inputs, outputs)


class Network(nn.Module):
    """See the module."""

    def __init__(self, settings: UNet, inputs: int, outputs: int) -> None:
        super().__init__()
        first, *_ = settings.channels
        self.pad = Pad(settings.stride)
        self.head = convolution(4 * inputs, first, 3)
        self.down = nn.ModuleList(
            stage(c, n, settings.slope) for c, n in zip(settings.channels, settings.blocks, strict=True)
        )
        self.halvings = nn.ModuleList(convolution(a, b, 2, stride=2) for a, b in pairwise(settings.channels))
        self.doublings = nn.ModuleList(doubling(b, a, gain=0.5) for a, b in pairwise(settings.channels))
        back = zip(settings.channels[:-1], settings.ways_back, strict=True)
        self.up = nn.ModuleList(stage(c, n, settings.slope) for c, n in back)
        self.tail = convolution(first, 4 * outputs, 3, gain=0.0)

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, H, W] -> [N, outputs, H, W]."""
        height, width = x.shape[-2:]
        h = self._begun(F.pixel_unshuffle(self.pad(x), 2).contiguous(memory_format=torch.channels_last))
        left: list[Tensor] = []
        for level, work in enumerate(self.down):
            if level:
                left.append(h)
                h = self.halvings[level - 1](h)
            h = work(h)
        for level in range(len(self.up) - 1, -1, -1):
            h = self.up[level](self.doublings[level](h) + left.pop())
        return F.pixel_shuffle(self.tail(h), 2)[..., :height, :width]

    def _begun(self, grid: Tensor) -> Tensor:
        # In bfloat16 a pixel would lose its last bit before anything is done with it, which weak noise can't hide.
        with torch.autocast(grid.device.type, enabled=False):
            h: Tensor = self.head(grid)
        autocast = torch.is_autocast_enabled(grid.device.type)
        return h.to(torch.get_autocast_dtype(grid.device.type)) if autocast else h


class Block(nn.Module):
    """h -> h + conv(act(conv(h))), the second convolution zero at the start: [N, c, h, w] -> [N, c, h, w]."""

    def __init__(self, channels: int, slope: float = 0.0) -> None:
        super().__init__()
        self.slope = slope
        self.first = convolution(channels, channels, 3, gain=2**0.5)
        self.second = convolution(channels, channels, 3, gain=0.0)

    def forward(self, h: Tensor) -> Tensor:
        """[N, channels, h, w] -> the same."""
        return h + self.second(self.inside(h))  # type: ignore[no-any-return]

    def inside(self, h: Tensor) -> Tensor:
        """What the second convolution is given."""
        inner = self.first(h)
        return F.leaky_relu(inner, self.slope) if self.slope else F.relu(inner)


def stage(channels: int, blocks: int, slope: float = 0.0) -> nn.Sequential:
    """Residual blocks, one after another."""
    return nn.Sequential(*(Block(channels, slope) for _ in range(blocks)))
