"""Draws of latents given a part of an image, by annealed Hamiltonian Monte Carlo: p(z | known) ∝ p(z) p(known | z).

    z ~ p(z) ──► leapfrog steps at β = 0.001 … 1 ──► Metropolis ──► … ──► z          target p(z) p(known | z)^β

Chains begin as draws of the prior and the image is turned on slowly, so that different chains end in different
explanations of what is known. Each step leaves its target as it is, so draws become exact as chains grow.

References: Neal, 2011, MCMC using Hamiltonian dynamics; Wu et al., 2017, On the quantitative analysis of decoder-based
generative models (annealing, for such posteriors).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from imprior.distributions.draws import normal, uniform
from imprior.errors import CapabilityError
from imprior.promises import Distribution, LatentVariable
from imprior.tasks.protocol import evaluating
from imprior.tasks.search import Space

ROUNDS = 80  # Metropolis decisions of a chain
ANNEALED = 0.7  # of them while the image is turned on
LOWEST = 1e-3  # β at the start: some nats of the hundreds that an image has
LEAPS = 6  # leapfrog steps between two decisions
AIM = 0.7  # acceptance that step sizes are adapted to
BATCH = 256


@runtime_checkable
class PixelDistribution(Distribution, Protocol):
    """A distribution over images whose pixels are independent, so that it tells the probability of some of them."""

    def pixel_log_prob(self, value: Tensor) -> Tensor:
        """[..., *batch, C, H, W] -> [..., *batch, H, W] nats, which sum to `log_prob`."""
        ...


@dataclass(frozen=True)
class Draws:
    """Latents given known pixels.

    Attributes:
        z: [N, …], one for each image.
        acceptance: the fraction of proposals taken once the whole image counts.
    """

    z: Tensor
    acceptance: float


def can(model: LatentVariable) -> bool:
    """Whether a model's likelihood tells the probability of single pixels."""
    with evaluating(model):
        return isinstance(model.likelihood(model.latent(1, torch.Generator().manual_seed(0))), PixelDistribution)


def run(model: LatentVariable, x: Tensor, known: Tensor, *, rng: torch.Generator, rounds: int = ROUNDS) -> Draws:
    """Draw a latent for each image.

    Args:
        model: keeps `LatentVariable`, with a likelihood of independent pixels.
        x: images in the space of the likelihood, [N, C, H, W]; equal images give independent draws.
        known: bool [N, 1, H, W], which pixels count.
        rng: where all draws come from.
        rounds: Metropolis decisions of each chain.

    Raises:
        CapabilityError: the pixels of the model's likelihood are not independent.
    """
    if not can(model):
        raise CapabilityError("this model's likelihood does not tell the probability of single pixels: try search")
    parts, accepted = [], []
    with evaluating(model) as device:
        space = Space(model, rng, device)
        for start in range(0, len(x), BATCH):
            part = slice(start, start + BATCH)
            z, taken = _chains(model, space, x[part].to(device), known[part].to(device), rng, rounds)
            parts.append(z)
            accepted.append(taken)
    return Draws(torch.cat(parts), float(torch.cat(accepted).mean()))


def _chains(
    model: LatentVariable, space: Space, x: Tensor, known: Tensor, rng: torch.Generator, rounds: int
) -> tuple[Tensor, Tensor]:
    """The last state of each chain [n, …], and its acceptance [n]."""
    prior, counts = model.prior(), known[:, 0].to(x)

    def log_target(u: Tensor, beta: float) -> Tensor:
        z = space.z(u)
        likelihood = model.likelihood(z)
        assert isinstance(likelihood, PixelDistribution)
        known_pixels = (counts * likelihood.pixel_log_prob(x)).flatten(1).sum(1)
        return beta * known_pixels + prior.log_prob(z)

    u = space.u(model.latent(len(x), rng).to(x))
    step = torch.full((len(x), 1), 0.2, dtype=u.dtype, device=u.device)  # in deviations of the latent
    annealed = max(1, int(ANNEALED * rounds))
    taken = torch.zeros(len(x), device=u.device)
    for number in range(rounds):
        beta = LOWEST ** (1 - min(1.0, number / annealed))
        u, chance, moved = _leap(lambda u, beta=beta: log_target(u, beta), u, step, rng)  # type: ignore[misc]
        step = step * (0.5 * (chance - AIM)).exp()[:, None]
        if number >= annealed:
            taken += moved.to(taken)
    return space.z(u), taken / (rounds - annealed)


def _leap(
    log_target: Callable[[Tensor], Tensor], u: Tensor, step: Tensor, rng: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """New states, each chain's chance of acceptance [n], and whether it moved [n]."""

    def value_and_gradient(u: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            at = u.detach().requires_grad_()
            value = log_target(at)
            (gradient,) = torch.autograd.grad(value.sum(), at)
        return value.detach(), gradient

    value, gradient = value_and_gradient(u)
    momentum = normal(u.shape, rng, u)
    energy = value - 0.5 * momentum.square().sum(1)
    place = u
    for _ in range(LEAPS):
        momentum = momentum + 0.5 * step * gradient
        place = place + step * momentum
        new, gradient = value_and_gradient(place)
        momentum = momentum + 0.5 * step * gradient
    gain = new - 0.5 * momentum.square().sum(1) - energy
    # A leap into overflow has no energy to compare: it is refused, as any of infinite energy.
    gain = torch.where(gain.isfinite(), gain, -math.inf)
    moved = uniform((len(u),), rng, u).log() < gain
    return torch.where(moved[:, None], place, u), gain.clamp_max(0).exp(), moved
