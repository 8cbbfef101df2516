"""Likelihoods p(x | z) of latent-variable models: settings, and the modules that turn a decoder's output into them.

Each settings class states how many channels it wants of the decoder for images of C channels, and what the model's
likelihood is over: `levels` 2 (binary images), 256 (8-bit images) or None (a density).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imprior.distributions import likelihoods
from imprior.errors import RecipeError
from imprior.promises import Distribution


@dataclass(frozen=True)
class Bernoulli:
    """Binary pixels, independent given z; the decoder gives their logits.

    On grey pixels its log-likelihood is the negative cross-entropy: a usable loss, but no likelihood.
    """

    levels: ClassVar[int | None] = 2

    def channels(self, channels: int) -> int:
        """Channels wanted of the decoder for images of `channels`."""
        return channels

    def build(self, channels: int) -> nn.Module:
        """The module from the decoder's output to p(x | z)."""
        return BernoulliObservation()


@dataclass(frozen=True)
class ContinuousBernoulli:
    """Pixels in [0, 1] of density ∝ exp(logit · x), independent given z: the cross-entropy with its normaliser."""

    levels: ClassVar[int | None] = None

    def channels(self, channels: int) -> int:
        """Channels wanted of the decoder for images of `channels`."""
        return channels

    def build(self, channels: int) -> nn.Module:
        """The module from the decoder's output to p(x | z)."""
        return ContinuousBernoulliObservation()


@dataclass(frozen=True)
class Gaussian:
    """Gaussian pixels, independent given z. With a fixed scale this is the squared error: beta = 2 sigma² there.

    Attributes:
        scale: which standard deviations there are: `fixed` at sigma, one learned number (`shared`), or given by the
            decoder for each image or each pixel and channel.
        sigma: standard deviation on the [0, 1] scale; where it is learned, at the start.
        lowest: learned standard deviations stay above this (smoothly). 8-bit levels lie 0.0039 apart: a density that
            is sharper describes the rounding, and on a constant pixel it has no maximum.
        output: what the means go through.
    """

    scale: Literal["fixed", "shared", "image", "pixel"] = "fixed"
    sigma: float = 0.1
    lowest: float = 0.002
    output: Literal["sigmoid", "linear"] = "sigmoid"
    levels: ClassVar[int | None] = None

    def __post_init__(self) -> None:
        if self.sigma <= 0 or self.lowest <= 0:
            raise RecipeError(f"sigma and lowest must be above 0, not {self.sigma} and {self.lowest}")

    def channels(self, channels: int) -> int:
        """Channels wanted of the decoder for images of `channels`."""
        return channels + {"fixed": 0, "shared": 0, "image": 1, "pixel": channels}[self.scale]

    def build(self, channels: int) -> nn.Module:
        """The module from the decoder's output to p(x | z)."""
        return GaussianObservation(self, channels)


@dataclass(frozen=True)
class LogisticMixture:
    """8-bit pixels: a mixture of logistic densities in each, integrated over each level's bin.

    Attributes:
        components: logistic densities in the mixture.
    """

    components: int = 5
    levels: ClassVar[int | None] = 256

    def __post_init__(self) -> None:
        if self.components < 1:
            raise RecipeError(f"components must be at least 1, not {self.components}")

    def channels(self, channels: int) -> int:
        """Channels wanted of the decoder for images of `channels`."""
        return likelihoods.DiscretisedLogisticMixture.channels_wanted(channels, self.components)

    def build(self, channels: int) -> nn.Module:
        """The module from the decoder's output to p(x | z)."""
        return LogisticMixtureObservation(self.components, channels)


AnyLikelihood = Bernoulli | ContinuousBernoulli | Gaussian | LogisticMixture


class BernoulliObservation(nn.Module):
    """Logits [N, C, H, W] -> p(x | z)."""

    def forward(self, h: Tensor) -> Distribution:
        """The likelihood with the decoder's output `h` as logits."""
        return likelihoods.Bernoulli(h)


class ContinuousBernoulliObservation(nn.Module):
    """Logits [N, C, H, W] -> p(x | z)."""

    def forward(self, h: Tensor) -> Distribution:
        """The likelihood with the decoder's output `h` as logits."""
        return likelihoods.ContinuousBernoulli(h)


class GaussianObservation(nn.Module):
    """Means, and log-scales where they are learned per image or pixel, -> p(x | z)."""

    log_sigma: Tensor

    def __init__(self, settings: Gaussian, channels: int) -> None:
        super().__init__()
        self.settings = settings
        self.channels = channels
        log_sigma = torch.tensor(math.log(settings.sigma))
        if settings.scale == "shared":
            self.log_sigma = nn.Parameter(log_sigma)
        else:
            self.register_buffer("log_sigma", log_sigma, persistent=False)

    def forward(self, h: Tensor) -> Distribution:
        """[N, channels, H, W], and further channels for the scale -> the likelihood."""
        mean, raw = h[:, : self.channels], h[:, self.channels :]
        if self.settings.output == "sigmoid":
            mean = mean.sigmoid()
        if self.settings.scale == "fixed":
            return likelihoods.Gaussian(mean, self.log_sigma)
        log_scale = self.log_sigma
        if self.settings.scale == "image":
            log_scale = log_scale + raw.mean((1, 2, 3), keepdim=True)  # [N,1,H,W] → [N,1,1,1]
        elif self.settings.scale == "pixel":
            log_scale = log_scale + raw  # [N,C,H,W]
        lowest = math.log(self.settings.lowest)
        return likelihoods.Gaussian(mean, lowest + F.softplus(log_scale - lowest))


class LogisticMixtureObservation(nn.Module):
    """Mixture parameters -> p(x | z)."""

    start: Tensor

    def __init__(self, components: int, channels: int) -> None:
        super().__init__()
        self.channels = channels
        wanted = likelihoods.DiscretisedLogisticMixture.channels_wanted(channels, components)
        start = torch.zeros(wanted).view(-1, components)  # in the order of its parameters: logits, locations, …
        # Components spread over the levels, each a fifth of their range wide: from one place they would hardly part.
        start[1 : 1 + 2 * channels : 2] = torch.linspace(-0.9, 0.9, components) if components > 1 else 0.0
        start[2 : 2 + 2 * channels : 2] = -2.0
        self.register_buffer("start", start.view(-1, 1, 1), persistent=False)

    def forward(self, h: Tensor) -> Distribution:
        """The likelihood whose parameters are the decoder's output `h` and a constant start."""
        return likelihoods.DiscretisedLogisticMixture(h + self.start, self.channels)
