"""Stacks of dense layers: from an image to a vector, and back.

    x ──► flatten ──► layer × len(widths) ──► linear ──► outputs          [N,C,H,W] → [N,C·H·W] → [N,outputs]
    z ──► layer × len(widths), reversed ──► linear ──► unflatten ──► image   [N,inputs] → [N,C·H·W] → [N,C,H,W]

A layer is one of four blocks. `plain` is act(W h); its signal keeps its size at the start, yet gradients still fade or
burst in stacks of tens of layers. `normalised` is act(norm(W h)) and `residual` is h + W act(norm(h)) with W zero at
the start: the two known cures, side by side for the depth study. `gated` is (A h) · sigmoid(B h), which trains the
best of the shallow ones (Dauphin et al. 2017, Language modeling with gated convolutional networks; Tomczak & Welling
2018, VAE with a VampPrior).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imprior.errors import RecipeError

Activation = Literal["relu", "elu", "silu", "gelu", "tanh", "sigmoid"]
ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "elu": nn.ELU,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}
# 1 / sqrt(E[act(u)²]) for u ~ N(0, 1): a weight of this standard deviation over sqrt(fan-in) keeps the mean square of
# the activations from layer to layer.
GAINS: dict[str, float] = {"relu": 1.414, "elu": 1.245, "silu": 1.676, "gelu": 1.533, "tanh": 1.592, "sigmoid": 1.846}
GATED_GAIN = 1.846  # the same for a · sigmoid(b), a and b ~ N(0, 1)


@dataclass(frozen=True)
class Dense:
    """Settings of a dense encoder and of the decoder that mirrors it.

    Attributes:
        widths: units of each hidden layer, from the image inwards; () is a single linear map that starts orthonormal.
        activation: what stands between the layers ("gated" blocks have their own).
        block: what a layer is, see above.
    """

    widths: tuple[int, ...] = (400, 400)
    activation: Activation = "relu"
    block: Literal["plain", "normalised", "residual", "gated"] = "plain"

    def __post_init__(self) -> None:
        if any(width < 1 for width in self.widths):
            raise RecipeError(f"widths {self.widths}: each must be at least 1")

    @property
    def spatial(self) -> bool:
        """Whether codes are grids: never here."""
        return False

    def code_shape(self, shape: tuple[int, int, int], units: int) -> tuple[int, ...]:
        """Shape of a code of `units` numbers: (units,)."""
        return (units,)

    def encoder(self, shape: tuple[int, int, int], outputs: int) -> nn.Module:
        """A network [N, C, H, W] -> [N, outputs]."""
        if not self.widths:
            return nn.Sequential(nn.Flatten(), _orthonormal(nn.Linear(math.prod(shape), outputs)))
        return nn.Sequential(nn.Flatten(), *self._stack(math.prod(shape), self.widths, outputs))

    def decoder(self, inputs: int, shape: tuple[int, int, int], channels_out: int) -> nn.Module:
        """A network [N, inputs] -> [N, channels_out, H, W]."""
        image = (channels_out, *shape[1:])
        if not self.widths:
            return nn.Sequential(QuickOffset(inputs, math.prod(image)), nn.Unflatten(1, image))
        return nn.Sequential(*self._stack(inputs, self.widths[::-1], math.prod(image)), nn.Unflatten(1, image))

    def _stack(self, inputs: int, widths: tuple[int, ...], outputs: int) -> list[nn.Module]:
        layers: list[nn.Module] = []
        for width in widths:
            layers += self._layer(inputs, width, first=not layers)
            inputs = width
        if self.block == "residual" and widths:
            layers += [nn.LayerNorm(inputs), ACTIVATIONS[self.activation]()]
        return [*layers, linear(inputs, outputs)]

    def _layer(self, inputs: int, width: int, *, first: bool) -> list[nn.Module]:
        if self.block == "gated":
            return [GatedLayer(inputs, width)]
        if self.block == "residual":
            return [linear(inputs, width)] if first else [ResidualLayer(inputs, width, self.activation)]
        # The first layer's input is no activation; its mean square is left as it is.
        layer = linear(inputs, width, 1.0 if first else GAINS[self.activation])
        norm = [nn.LayerNorm(width)] if self.block == "normalised" else []
        return [layer, *norm, ACTIVATIONS[self.activation]()]


def linear(inputs: int, outputs: int, gain: float = 1.0) -> nn.Linear:
    """A dense layer with weights ~ N(0, gain² / inputs) and no offset."""
    layer = nn.Linear(inputs, outputs)
    nn.init.normal_(layer.weight, std=gain / math.sqrt(inputs))
    nn.init.zeros_(layer.bias)
    return layer


def _orthonormal(layer: nn.Linear) -> nn.Linear:
    """The layer with an orthonormal start: no direction of the smaller side is missing or doubled."""
    nn.init.orthogonal_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


class QuickOffset(nn.Module):
    """h -> W h + 10·offset: a linear decoder that finds the mean image before its units do.

    Adam moves every number by about its rate a step, and the mean image lies hundreds of steps away. With an ordinary
    offset one unit of a linear code takes the mean upon itself within a few steps and is slow to come back: after
    2,500 steps (100 numbers, 8 units, rate 0.003) the subspace was still 86 degrees from that of PCA; so it is 1.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(nn.init.orthogonal_(torch.empty(outputs, inputs)))
        self.offset = nn.Parameter(torch.zeros(outputs))

    def forward(self, h: Tensor) -> Tensor:
        """[N, inputs] -> [N, outputs]."""
        return F.linear(h, self.weight, 10 * self.offset)


class GatedLayer(nn.Module):
    """h -> (A h + a) · sigmoid(B h + b), as one product with both matrices stacked: [N, inputs] -> [N, outputs]."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.both = linear(inputs, 2 * outputs)
        with torch.no_grad():
            self.both.weight[:outputs] *= GATED_GAIN

    def forward(self, h: Tensor) -> Tensor:
        """[N, inputs] -> [N, outputs]."""
        return F.glu(self.both(h), -1)


class ResidualLayer(nn.Module):
    """h -> h + W act(norm(h)), W zero at the start (He et al. 2016, Identity mappings in deep residual networks).

    Where the widths differ, h passes through a matrix of its own.
    """

    def __init__(self, inputs: int, outputs: int, activation: str) -> None:
        super().__init__()
        self.skip = nn.Identity() if inputs == outputs else linear(inputs, outputs)
        self.norm = nn.LayerNorm(inputs)
        self.activation = ACTIVATIONS[activation]()
        self.branch = linear(inputs, outputs, 0.0)

    def forward(self, h: Tensor) -> Tensor:
        """[N, inputs] -> [N, outputs]."""
        return self.skip(h) + self.branch(self.activation(self.norm(h)))  # type: ignore[no-any-return]
