"""The ladder: a variational autoencoder with several rungs of latents, each drawn given those above it.

    x ──► h₁ ──► h₂ ──► h₃ ──► q(z₃ | x)                 up: what the image says             [N,C,H,W] → [N,width] …
          │      │      z₃ ~ flow prior p(z₃)
          │      └────► z₂ ~ p(z₂ | z₃),  q(z₂ | z₃, x)  down: each posterior is its prior,
          └───────────► z₁ ~ p(z₁ | z₂, z₃),  q(…, x)    moved and rescaled by what the image says
    (z₃, z₂, z₁) ──► states ──► decoder, which sees every z ──► likelihood p(x | z)          [N,D] → [N,C,H,W]

The top says what is drawn, the bottom how its strokes run. A code is z = (z₃, z₂, z₁), from the top down, as one
vector. Prior of the top and likelihood are parts, as in `models.vae`.

References: Sønderby et al. 2016, Ladder variational autoencoders; Kingma et al. 2016, Improved variational inference
with inverse autoregressive flow (inference from the top down); Vahdat & Kautz 2020, NVAE (residual posteriors, 3.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imprior.distributions.gaussian import DiagonalGaussian
from imprior.distributions.ladder import LadderPosterior, LadderPrior
from imprior.errors import RecipeError
from imprior.models.latent import LatentModel, check_range
from imprior.models.observations import AnyLikelihood, Bernoulli
from imprior.models.priors import AnyPrior, Flow
from imprior.nn.dense import GatedLayer, linear
from imprior.promises import Distribution, check_shape


@dataclass(frozen=True)
class Config:
    """Settings of a ladder.

    Attributes:
        shape: (channels, height, width) of the images; zeros are filled in from the data.
        widths: units of the deterministic layer of each rung, from the image up.
        latents: latent numbers of each rung, from the image up.
        hidden: units of the layer in which a rung's posterior joins what comes from above with what the image says.
        likelihood: p(x | z); it decides what the model's scores are over (binary, 8-bit or continuous images).
        prior: p(z) of the top rung.
        log_variance: range of the log-variances at the top and of the priors below it, and of how far a posterior's
            log-variance may lie from its prior's.
    """

    shape: tuple[int, int, int] = (0, 0, 0)
    widths: tuple[int, ...] = (512, 256, 128)
    latents: tuple[int, ...] = (48, 24, 12)
    hidden: int = 256
    likelihood: AnyLikelihood = field(default_factory=Bernoulli)
    prior: AnyPrior = field(default_factory=Flow)
    log_variance: tuple[float, float] = (-7.0, 2.0)

    def __post_init__(self) -> None:
        if min(self.hidden, *self.widths, *self.latents) < 1:
            raise RecipeError("widths, latents and hidden must be at least 1")
        check_range(self.log_variance)

    def build(self) -> Ladder:
        """The model, with fresh weights.

        Raises:
            RecipeError: fewer than two rungs, or not as many widths as latents.
        """
        # Not when the settings are made: overrides change one of the two after the other.
        if len(self.latents) < 2 or len(self.latents) != len(self.widths):
            raise RecipeError(
                f"a ladder has two rungs or more, each with a width and latents, not {self.widths} and {self.latents}"
            )
        return Ladder(self)


class Ladder(LatentModel):
    """Keeps LatentVariable, Scores, Samples, Denoises, Codes and Calibrates."""

    def __init__(self, config: Config) -> None:
        super().__init__(config.shape, config.likelihood)
        self.config = config
        channels, height, width = config.shape
        self.up = nn.ModuleList(GatedLayer(i, o) for i, o in pairwise((channels * height * width, *config.widths)))
        self.top = linear(config.widths[-1], 2 * config.latents[-1])
        self.descent = Descent(config)
        self.pixels = nn.Sequential(
            linear(config.widths[0], config.likelihood.channels(channels) * height * width),
            nn.Unflatten(-1, (-1, height, width)),
        )
        self.prior_module = config.prior.build((config.latents[-1],), config.shape)

    def posterior(self, x: Tensor) -> LadderPosterior:
        """q(z | x): [N, C, H, W] -> a batch of N distributions over codes [D].

        Raises:
            DataError: images of another shape than the model's.
        """
        top, said = self._ascend(x)
        return LadderPosterior(self.descent, top, self.descent.evidence(said))

    def prior(self) -> LadderPrior:
        """p(z)."""
        return LadderPrior(self.descent, self.prior_module(lambda x: self._ascend(x)[0]))

    def likelihood(self, z: Tensor) -> Distribution:
        """p(x | z) for z [N, D]: a batch of N distributions over images."""
        return self.observation(self.pixels(self.descent(z)).to(z.dtype))  # type: ignore[no-any-return]

    def _ascend(self, x: Tensor) -> tuple[DiagonalGaussian, list[Tensor]]:
        """q(z_top | x), and the layers h₁, h₂, … below it."""
        check_shape(x, self.shape)
        layers = [x.flatten(1)]
        for layer in self.up:
            layers.append(layer(layers[-1]))
        mean, log_variance = self.top(layers[-1]).to(x.dtype).chunk(2, -1)
        return DiagonalGaussian(mean, log_variance.clamp(*self.config.log_variance)), layers[1:-1]


class Descent(nn.Module):
    """The way down (see `distributions.ladder.Descent`), and on to the layer before the pixels.

    Rungs are counted from the top, which is 0. `states[r]` makes the state that rung r leaves; that of the bottom is
    the layer before the pixels, and is given every z.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        widths = config.widths[::-1]
        self.sizes = config.latents[::-1]
        inputs = [self.sizes[0], *(width + size for width, size in zip(widths, self.sizes[1:], strict=False))]
        inputs[-1] = widths[-2] + sum(self.sizes)
        self.states = nn.ModuleList(GatedLayer(i, o) for i, o in zip(inputs, widths, strict=True))
        self.rungs = nn.ModuleList(
            Rung(above, width, size, config)
            for (above, width), size in zip(pairwise(widths), self.sizes[1:], strict=True)
        )

    def forward(self, z: Tensor) -> Tensor:
        """All rungs' draws [N, D] -> the layer before the pixels [N, width]."""
        state = None
        for rung, draw in enumerate(torch.split(z, list(self.sizes), -1)[:-1]):
            state = self.state(rung, state, draw)
        return self.state(len(self.sizes) - 1, state, z)

    def evidence(self, layers: Sequence[Tensor]) -> list[Tensor]:
        """What the image says to each rung below the top, from its layers h₁, h₂, …: once, for all draws."""
        return [rung.from_image(h) for rung, h in zip(self._rungs, reversed(layers), strict=True)]

    def state(self, rung: int, above: Tensor | None, z: Tensor) -> Tensor:
        """What is above, [..., width], and a draw, [..., size], -> [..., width]."""
        given = z if above is None else torch.cat((above, z.to(above.dtype)), -1)
        return self.states[rung](given)  # type: ignore[no-any-return]

    def prior(self, rung: int, above: Tensor) -> DiagonalGaussian:
        """p(z_rung | z above)."""
        return self._rungs[rung - 1].prior(above)

    def posterior(self, rung: int, above: Tensor, prior: DiagonalGaussian, evidence: Tensor) -> DiagonalGaussian:
        """q(z_rung | z above, x)."""
        return self._rungs[rung - 1].posterior(above, prior, evidence)

    @property
    def _rungs(self) -> Sequence[Rung]:
        return cast("Sequence[Rung]", self.rungs)


class Rung(nn.Module):
    """Prior and posterior of a rung below the top.

    Args:
        above: width of the state above it.
        width: width of the image's layer at its height.
        latents: its latent numbers.
        config: of the ladder.
    """

    def __init__(self, above: int, width: int, latents: int, config: Config) -> None:
        super().__init__()
        self.range = config.log_variance
        self.from_state = linear(above, 2 * latents, 0.1)
        self.from_image = linear(width, 2 * config.hidden)
        self.from_above = linear(above, 2 * config.hidden)
        self.move = linear(config.hidden, 2 * latents)

    def prior(self, above: Tensor) -> DiagonalGaussian:
        """p(z | z above)."""
        mean, log_variance = _full(self.from_state(above)).chunk(2, -1)
        return DiagonalGaussian(mean, log_variance.clamp(*self.range))

    def posterior(self, above: Tensor, prior: DiagonalGaussian, evidence: Tensor) -> DiagonalGaussian:
        """q(z | z above, x): the prior, moved by as many of its standard deviations as image and state say."""
        h = F.glu(self.from_above(above) + evidence, -1)  # [..., 2·hidden] → [..., hidden]
        shift, narrowing = _full(self.move(h)).chunk(2, -1)
        std = (0.5 * prior.log_variance).exp()
        return DiagonalGaussian(prior.mean + std * shift, prior.log_variance + narrowing.clamp(*self.range))


def _full(h: Tensor) -> Tensor:
    """At least float32: means and variances are not left in the bfloat16 of autocast."""
    return h.float() if h.dtype == torch.bfloat16 else h
