"""A multi-scale normalising flow over images of whole levels: an invertible network, with the image's bound by it.

    x ──► noise, levels ──► y ──► squeeze ──► steps ──► squeeze ──► split ──► steps ──► … split ──► dense ──► z
    [N,1,28,28]                   [N,4,14,14]           [N,16,7,7]    │       [N,8,7,7]       │               [N,784]
                                                                      ▼                       ▼
                                                                   [N,8,7,7]               [N,4,7,7]

A step is a scale and shift for each place (ActNorm), a learned mixture of the channels (1x1 convolution) and an affine
coupling, in which half of the channels decide how the other half is stretched. What a split takes out is Gaussian given
what goes on; the last grid, as a vector, goes through a few dense couplings that see all of it. What makes a density of
the levels of pixels is in `dequantised`.

References: Dinh, Sohl-Dickstein and Bengio, 2016, Density estimation using Real NVP; Kingma and Dhariwal, 2018, Glow:
generative flow with invertible 1x1 convolutions; Ho et al., 2019, Flow++ (variational dequantisation).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor, nn

from imprior.distributions.flow import RealNVP
from imprior.errors import RecipeError
from imprior.models.dequantised import DequantisedFlow, Uniform, Variational
from imprior.nn.flow_layers import ActNorm, Coupling, Layer, PointwiseConvolution, Split, Squeeze


@dataclass(frozen=True)
class Config:
    """Settings of a multi-scale flow.

    Attributes:
        shape: (channels, height, width) of the images; zeros are filled in from the data.
        levels: of a pixel: 256, or 2 for binary images.
        steps: couplings on the grids of 1/2, 1/4 … of the image's size; as many grids as numbers (none: a dense flow).
        hidden: channels of the networks in these couplings, grid by grid.
        dense: couplings on the vector that is left.
        dense_hidden: units in their networks.
        bound: largest absolute log-scale of one coupling.
        dequantisation: the noise that makes levels continuous.
    """

    shape: tuple[int, int, int] = (0, 0, 0)
    levels: int = 256
    steps: tuple[int, ...] = (8, 8)
    hidden: tuple[int, ...] = (32, 64)
    dense: int = 4
    dense_hidden: int = 256
    bound: float = 2.0
    dequantisation: Uniform | Variational = field(default_factory=Variational)

    def __post_init__(self) -> None:
        if self.levels not in (2, 256):
            raise RecipeError(f"levels must be 2 or 256, not {self.levels}")
        if len(self.steps) != len(self.hidden):
            raise RecipeError(f"steps and hidden must be as many, not {len(self.steps)} and {len(self.hidden)}")
        if any(n < 1 for n in (*self.steps, *self.hidden, self.dense, self.dense_hidden)):
            raise RecipeError("steps, hidden, dense and dense_hidden must be at least 1")
        if not self.bound > 0:
            raise RecipeError(f"bound must be above 0, not {self.bound}")

    def build(self) -> Flow:
        """The model, with fresh weights."""
        _, height, width = self.shape
        side = 2 ** len(self.steps)
        if height % side or width % side:
            raise RecipeError(
                f"a flow with {len(self.steps)} grids wants images whose sides are multiples of {side}, not "
                f"{height} x {width}: set data.size, or fewer model.steps and model.hidden"
            )
        return Flow(self)


class Flow(DequantisedFlow):
    """Keeps Decodes, Encodes, Scores and Samples."""

    def __init__(self, config: Config) -> None:
        super().__init__(config.shape, config.levels, config.dequantisation)
        self.config = config
        self.layers = nn.ModuleList()
        self.taken: list[tuple[int, int, int]] = []  # shapes of the latents that splits take out
        shape = config.shape
        for i, (steps, hidden) in enumerate(zip(config.steps, config.hidden, strict=True)):
            self.layers.append(Squeeze())
            shape = (4 * shape[0], shape[1] // 2, shape[2] // 2)
            if i > 0:
                shape = self._split(shape, hidden)
            for _ in range(steps):
                coupling = Coupling(shape, hidden=hidden, bound=config.bound)
                self.layers.extend((ActNorm(shape), PointwiseConvolution(shape[0]), coupling))
        if config.steps:
            shape = self._split(shape, config.hidden[-1])
        self.left = shape
        self.dense = RealNVP(math.prod(shape), couplings=config.dense, hidden=config.dense_hidden, bound=config.bound)

    def transform(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """y [N, C, H, W] -> z [N, C·H·W], the latents of the finest grid first, and log |det dz/dy| [N]."""
        latents, log_det = [], y.new_zeros(len(y))
        for layer in self.layers:
            if isinstance(layer, Split):
                y, out, more = layer(y)
                latents.append(out.flatten(1))
            else:
                y, more = layer(y)
            log_det = log_det + more
        last, more = self.dense(y.flatten(1))
        return torch.cat((*latents, last), 1), log_det + more

    def invert(self, z: Tensor) -> Tensor:
        """z [N, C·H·W] -> y [N, C, H, W]."""
        *latents, last = torch.split(z, [math.prod(shape) for shape in (*self.taken, self.left)], 1)
        y = self.dense.inverse(last).view(-1, *self.left)
        for layer in reversed(self.layers):
            if isinstance(layer, Split):
                y = layer.inverse(y, latents.pop().view(-1, *self.taken[len(latents)]))
            else:
                y = cast(Layer, layer).inverse(y)
        return y

    def _split(self, shape: tuple[int, int, int], hidden: int) -> tuple[int, int, int]:
        """Take out half of the channels; returns the shape of what is left."""
        split = Split(shape, hidden=hidden, bound=self.config.bound)
        self.layers.append(split)
        self.taken.append((shape[0] - split.kept, *shape[1:]))
        return (split.kept, *shape[1:])
