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

from imprior.distributions import mixture
from imprior.distributions.flow import RealNVP
from imprior.distributions.gaussian import DiagonalGaussian
from imprior.distributions.mixture import MixtureOfGaussians
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

    def __post_init__(self) -> None:
        _positive(couplings=self.couplings, hidden=self.hidden, layers=self.layers)

    def build(self, code_shape: tuple[int, ...], shape: tuple[int, int, int]) -> nn.Module:
        """The prior of codes of `code_shape` for images of `shape`."""
        flow = RealNVP(_dim(code_shape, "flow"), couplings=self.couplings, hidden=self.hidden, layers=self.layers)
        return LearnedPrior(flow)


@dataclass(frozen=True)
class Mixture:
    """A mixture of Gaussians with independent units.

    Attributes:
        components: how many.
    """

    components: int = 50

    def __post_init__(self) -> None:
        _positive(components=self.components)

    def build(self, code_shape: tuple[int, ...], shape: tuple[int, int, int]) -> nn.Module:
        """The prior of codes of `code_shape` for images of `shape`."""
        return LearnedPrior(MixtureOfGaussians(_dim(code_shape, "mixture"), components=self.components))


@dataclass(frozen=True)
class Vamp:
    """The VampPrior: a mixture of the posteriors of images that are themselves learned.

    Attributes:
        components: how many such images. The encoder sees them at each step, besides the batch.
    """

    components: int = 100

    def __post_init__(self) -> None:
        _positive(components=self.components)

    def build(self, code_shape: tuple[int, ...], shape: tuple[int, int, int]) -> nn.Module:
        """The prior of codes of `code_shape` for images of `shape`."""
        return VampPrior(self.components, shape)


AnyPrior = Standard | Flow | Vamp | Mixture


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


class VampPrior(nn.Module):
    """Σ_k weight_k q(z | u_k) with learned weights and learned images u_k in [0, 1].

    Reference: Tomczak & Welling 2018, VAE with a VampPrior, eq. 10 (there with equal weights).
    """

    def __init__(self, components: int, shape: tuple[int, int, int]) -> None:
        super().__init__()
        # Different at the start, or all would get the same gradient and stay one.
        self.images = nn.Parameter(torch.randn(components, *shape) - 1)
        self.logits = nn.Parameter(torch.zeros(components))

    def forward(self, posterior: Posterior) -> Distribution:
        """p(z)."""
        return mixture.Mixture(self.logits, posterior(self.images.sigmoid()))


def _positive(**values: int) -> None:
    for name, value in values.items():
        if value < 1:
            raise RecipeError(f"{name} must be at least 1, not {value}")


def _dim(code_shape: tuple[int, ...], name: str) -> int:
    if len(code_shape) != 1:
        raise RecipeError(
            f"the {name} prior is over vectors, but these codes are grids {code_shape}: set spatial=false"
        )
    return math.prod(code_shape)
