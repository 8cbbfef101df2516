"""Priors of latent-variable models: settings, and the modules that they build.

A prior module is called with the model's encoder (a function from images to q(z | x)) and gives p(z). Only the
VampPrior listens to it; the others have parameters of their own, or none.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from imprior.distributions.flow import RealNVP
from imprior.distributions.gaussian import DiagonalGaussian
from imprior.errors import RecipeError
from imprior.promises import Distribution

Posterior = Callable[[Tensor], DiagonalGaussian]


@dataclass(frozen=True)
class Standard:
    """N(0, 1) for every latent."""

    def build(self, code_shape: tuple[int, ...], shape: tuple[int, int, int]) -> nn.Module:
        """The prior of codes of `code_shape` for images of `shape`."""
        return StandardPrior(code_shape)


@dataclass(frozen=True)
class Flow:
    """A RealNVP flow on vectors.

    Attributes:
        couplings: affine couplings, each changing half of the vector given the other half.
        hidden: width of each coupling's network.
        layers: hidden layers of each coupling's network.
    """

    couplings: int = 6
    hidden: int = 128
    layers: int = 2

    def build(self, code_shape: tuple[int, ...], shape: tuple[int, int, int]) -> nn.Module:
        """The prior of codes of `code_shape` for images of `shape`."""
        flow = RealNVP(_dim(code_shape, "flow"), couplings=self.couplings, hidden=self.hidden, layers=self.layers)
        return LearnedPrior(flow)


class StandardPrior(nn.Module):
    """N(0, 1)."""

    zero: Tensor

    def __init__(self, code_shape: tuple[int, ...]) -> None:
        super().__init__()
        # A buffer, so that the prior goes where the model goes; not saved, since there is nothing to know.
        self.register_buffer("zero", torch.zeros(code_shape), persistent=False)

    def forward(self, posterior: Posterior) -> Distribution:
        """p(z)."""
        return DiagonalGaussian(self.zero, self.zero, event_dims=self.zero.dim())


class LearnedPrior(nn.Module):
    """A distribution that is itself a module with parameters."""

    def __init__(self, distribution: nn.Module) -> None:
        super().__init__()
        self.distribution = distribution

    def forward(self, posterior: Posterior) -> Distribution:
        """p(z)."""
        return self.distribution  # type: ignore[return-value]


def _dim(code_shape: tuple[int, ...], name: str) -> int:
    if len(code_shape) != 1:
        raise RecipeError(
            f"the {name} prior is over vectors, but these codes are grids {code_shape}: set spatial=false"
        )
    return math.prod(code_shape)
