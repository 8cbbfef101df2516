"""Residual networks that play against each other: from a code to an image, and from an image to features.

    z ──► linear ──► stage ──► (double ──► stage) × … ──► depth to space ──► crop ──► logits
    [N,inputs]   [N,c₂,H/4,W/4]     [N,c₁,H/2,W/2]                                    [N,C,H,W]
    x ──► pad ──► space to depth ──► stage ──► (halve ──► stage) × … ──► linear ──► features
    [N,C,H,W]                    [N,c₁,H/2,W/2]    [N,c₂,H/4,W/4]                [N,features]

A stage is a few bottlenecks h + conv1x1(act(conv3x3(act(conv1x1(act(h)))))), whose last convolution starts at zero; no
normalisation. The activation is a leaky ReLU: its second derivative is zero, which halves what penalties on gradients
cost. At one grid a stage may end in self-attention, so that places far apart can agree.

References: Huang, Gokaslan, Kuleshov & Tompkin 2024, The GAN is dead; long live the GAN! A modern baseline GAN (blocks
and their start); Zhang, Goodfellow, Metaxas & Odena 2019, Self-attention generative adversarial networks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from imprior.errors import RecipeError
from imprior.nn.convolutional import Crop, Pad, convolution, doubling
from imprior.nn.dense import linear

SLOPE = 0.2  # of the leaky ReLU below zero
GAIN = math.sqrt(2 / (1 + SLOPE**2))  # keeps the mean square of activations, see nn.dense.GAINS


@dataclass(frozen=True)
class Residual:
    """Settings of a generator and of the critic that mirrors it.

    Attributes:
        channels: channels of the grids at 1/2, 1/4, 1/8 … of the image's size.
        blocks: bottlenecks in each stage; each works with half the channels.
        features: numbers that the critic judges an image by.
        attention: the stage that ends in self-attention, in both networks: 1 at half the image's size, 2 at a quarter,
            …; 0 for none.
    """

    channels: tuple[int, ...] = (48, 96)
    blocks: int = 1
    features: int = 64
    attention: int = 0

    def __post_init__(self) -> None:
        if not self.channels or any(c < 2 for c in self.channels):
            raise RecipeError(f"channels {self.channels}: at least one stage, each of at least 2")
        if self.blocks < 0 or self.features < 1:
            raise RecipeError(f"blocks {self.blocks} can't be negative, and features {self.features} is at least 1")
        if not 0 <= self.attention <= len(self.channels):
            raise RecipeError(f"attention is a stage from 1 to {len(self.channels)}, or 0; not {self.attention}")

    def generator(self, inputs: int, shape: tuple[int, int, int]) -> nn.Module:
        """A network [N, inputs] -> [N, C, H, W], unbounded."""
        stages = [*enumerate(self.channels, 1)][::-1]
        grid = self._grid(shape)
        layers: list[nn.Module] = [linear(inputs, math.prod(grid)), nn.Unflatten(1, grid), *self._stage(*stages[0])]
        for (_, coarser), (stage, finer) in pairwise(stages):
            layers += [nn.LeakyReLU(SLOPE), doubling(coarser, finer, gain=GAIN), *self._stage(stage, finer)]
        last = convolution(self.channels[0], 4 * shape[0], 3, gain=GAIN)
        return nn.Sequential(*layers, nn.LeakyReLU(SLOPE), last, nn.PixelShuffle(2), Crop(shape[1], shape[2]))

    def critic(self, shape: tuple[int, int, int]) -> nn.Module:
        """A network [N, C, H, W] -> [N, features]."""
        stages = [*enumerate(self.channels, 1)]
        layers: list[nn.Module] = [Pad(1 << len(stages)), nn.PixelUnshuffle(2)]
        layers += [convolution(4 * shape[0], self.channels[0], 3), *self._stage(*stages[0])]
        for (_, finer), (stage, coarser) in pairwise(stages):
            layers += [nn.LeakyReLU(SLOPE), convolution(finer, coarser, 2, stride=2, gain=GAIN)]
            layers += self._stage(stage, coarser)
        return nn.Sequential(*layers, nn.LeakyReLU(SLOPE), nn.Flatten(), self._features(shape))

    def _features(self, shape: tuple[int, int, int]) -> nn.Linear:
        """Without offsets: they would add a constant to the critic's output, which losses by pairs never see."""
        inputs = math.prod(self._grid(shape))
        layer = nn.Linear(inputs, self.features, bias=False)
        nn.init.normal_(layer.weight, std=GAIN / math.sqrt(inputs))
        return layer

    def _grid(self, shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """Channels, height and width at the coarsest stage."""
        stride = 1 << len(self.channels)
        return (self.channels[-1], -(-shape[1] // stride), -(-shape[2] // stride))

    def _stage(self, stage: int, channels: int) -> list[nn.Module]:
        blocks: list[nn.Module] = [Bottleneck(channels) for _ in range(self.blocks)]
        return [*blocks, SelfAttention(channels)] if stage == self.attention else blocks


class Bottleneck(nn.Module):
    """h -> h + conv1x1(act(conv3x3(act(conv1x1(act(h)))))), with half the channels in between."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = channels // 2
        self.branch = nn.Sequential(
            nn.LeakyReLU(SLOPE),
            convolution(channels, inner, 1, gain=GAIN),
            nn.LeakyReLU(SLOPE),
            convolution(inner, inner, 3, gain=GAIN),
            nn.LeakyReLU(SLOPE),
            convolution(inner, channels, 1, gain=0.0),
        )

    def forward(self, h: Tensor) -> Tensor:
        """[N, channels, h, w] -> the same."""
        return h + self.branch(h)  # type: ignore[no-any-return]


class SelfAttention(nn.Module):
    """h -> h + strength · W softmax(q kᵀ / √d) v: each place takes from all places. The strength starts at zero.

    Reference: Zhang et al. 2019, eq. 1-3 (with the root that keeps the softmax from saturating).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.key, self.value = max(1, channels // 8), max(1, channels // 2)
        self.queries = convolution(channels, 2 * self.key + self.value, 1)
        self.out = convolution(self.value, channels, 1)
        self.strength = nn.Parameter(torch.zeros(()))

    def forward(self, h: Tensor) -> Tensor:
        """[N, channels, h, w] -> the same."""
        q, k, v = self.queries(h).flatten(2).split((self.key, self.key, self.value), 1)  # [N,d,h·w]
        # Written out: the fused kernel has no second derivative, and penalties need it.
        attention = (q.mT @ k / math.sqrt(self.key)).softmax(-1)  # [N,h·w,h·w]
        taken = (v @ attention.mT).unflatten(2, h.shape[2:])
        return h + self.strength * self.out(taken)  # type: ignore[no-any-return]
