"""Bounds on log p(x) of latent-variable models, from their posterior, prior and likelihood alone.

    log p(x)  ≥  E_q log 1/K Σ_k w_k  ≥  E_q log w  =  E_q log p(x | z) - KL(q ‖ p),      w = p(x | z) p(z) / q(z | x)

The rightmost is the ELBO (K = 1); the middle one, the importance-weighted bound, rises to log p(x) with K. Images are
never mixed: every result is per image, summed over pixels and latent units, in nats.

Reference: Kingma and Welling, 2013, Auto-Encoding Variational Bayes; Burda, Grosse and Salakhutdinov, 2015,
Importance Weighted Autoencoders.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from imprior.distributions.gaussian import LOG_2PI, DiagonalGaussian, kl
from imprior.distributions.mixture import Mixture
from imprior.errors import CapabilityError, DataError
from imprior.promises import Distribution, LatentVariable, Posterior
from imprior.randomness import generator

COLLAPSED = 0.1  # nats: a unit whose KL is below tells the decoder next to nothing
BLOCK = 50  # samples of one image that are drawn and decoded together


@runtime_checkable
class DrawnInSteps(Protocol):
    """A posterior whose latents are drawn in steps, each given those before: the rungs of a ladder, turns in time."""

    def kl_steps(self, value: Tensor, prior: Any) -> Tensor:
        """KL of each step given the steps before it in `value`: [..., N, …] -> [..., N, steps] nats.

        Their sum is a less noisy estimate than log q - log p, and its gradient too.
        """
        ...


@dataclass(frozen=True)
class Elbo:
    """The ELBO in its parts, from one sample of the posterior.

    Attributes:
        reconstruction: [N] nats, log p(x | z).
        kl: [N] nats, KL(q ‖ p): exact where q and p are Gaussians with independent units, else an estimate from z.
        kl_units: [N, U] nats, the KL of each latent unit where that is exact; of each step of a posterior that is drawn
            in steps, given the draws before; else [N, 1], the estimate.
        z: [N, …], the sample.
        in_steps: whether `kl_units` are of steps.
    """

    reconstruction: Tensor
    kl: Tensor
    kl_units: Tensor
    z: Tensor
    in_steps: bool = False

    @property
    def bound(self) -> Tensor:
        """[N] nats: the ELBO, at most log p(x) in expectation."""
        return self.reconstruction - self.kl


def elbo(
    model: LatentVariable,
    x: Tensor,
    *,
    rng: torch.Generator | None,
    encoder_input: Tensor | None = None,
    own_noise: bool = False,
) -> Elbo:
    """One-sample ELBO of each image, differentiable (reparameterised).

    Args:
        model: keeps `LatentVariable`.
        x: [N, C, H, W] whose likelihood is bounded.
        rng: where the sample comes from.
        encoder_input: what the encoder is shown, if not x (a noisy x: any q gives a bound).
        own_noise: for scoring: each image draws from its own generator, as in `importance_bound`, so that its result
            does not depend on the batch that it stands in. Training does without (faster).
    """
    posterior, prior = model.posterior(x if encoder_input is None else encoder_input), model.prior()
    draws = _own_draws(posterior, own_generators(x, rng), 1) if own_noise else posterior.sample(1, rng)  # [1, N, …]
    z = draws[0]
    reconstruction = model.likelihood(z).log_prob(x)
    in_steps = isinstance(posterior, DrawnInSteps)
    if isinstance(posterior, DrawnInSteps):
        units = posterior.kl_steps(draws, prior)[0]
    elif isinstance(posterior, DiagonalGaussian) and isinstance(prior, DiagonalGaussian):
        units = kl(posterior, prior).flatten(1)
    else:  # same gradient as with the entropy of q in closed form, and exact where q equals the prior
        units = (posterior.log_prob(z) - prior.log_prob(z))[:, None]
    return Elbo(reconstruction, units.sum(1), units, z, in_steps)


def importance_elbo(
    model: LatentVariable,
    x: Tensor,
    *,
    samples: int,
    rng: torch.Generator | None,
    encoder_input: Tensor | None = None,
) -> Tensor:
    """The importance-weighted bound on log p(x) with `samples` draws, differentiable: [N] nats, higher is better.

    Automatic differentiation of log 1/K Σ w gives the gradient Σ softmax(log w)·∇ log w by itself; that weighted sum
    is not the bound (it is larger), and is nowhere used as its value.
    """
    posterior = model.posterior(x if encoder_input is None else encoder_input)
    z = posterior.sample(samples, rng)  # [K, N, …]
    log_weights = _log_joint(model, model.prior(), x, z) - posterior.log_prob(z)
    return log_weights.logsumexp(0) - math.log(samples)


def importance_bound(
    model: LatentVariable,
    x: Tensor,
    *,
    samples: int,
    rng: torch.Generator | None = None,
    chunk: int | None = None,
) -> Tensor:
    """Minus the importance-weighted bound on log p(x), for scoring.

    Each image has its own random numbers, seeded by one number from `rng` and the image itself. So the result of an
    image depends neither on the images beside it, nor on the batch size, nor on `chunk` (but for the rounding of
    matrix products): with an equal generator state, a batch equals a loop over its images.

    Args:
        model: keeps `LatentVariable`; its encoder is run once per image.
        x: [N, C, H, W].
        samples: K, exactly as many posterior samples are used per image.
        rng: one number is drawn from it; None stands for a generator with seed 0.
        chunk: images decoded at a time, which bounds the memory whatever N and K; by default by the size of x.

    Returns:
        [N] float64 nats, at least -log p(x) in expectation; lower is better.

    Raises:
        DataError: grey images for a model of binary ones (`levels` 2), or values between the levels.
    """
    assert samples >= 1
    check_levels(x, model.levels)
    chunk = chunk or max(BLOCK, 800_000 // max(1, x[:1].numel()))
    group = max(1, chunk // min(samples, BLOCK))
    nats = torch.zeros(len(x), dtype=torch.float64, device=x.device)
    with torch.no_grad():
        prior, generators = model.prior(), own_generators(x, rng)
        for start in range(0, len(x), group):
            part = slice(start, start + group)
            nats[part] = -_bound(model, prior, x[part], samples, generators[part])
    return nats


@dataclass(frozen=True)
class Diagnosis:
    """What the latent units do, over a set of images.

    Attributes:
        active: [U] bool, the units whose posterior mean moves with the image.
        kl_units: [U] nats, see `kl_per_unit`.
        kl: nats, mean KL(q(z | x) ‖ p(z)) over the images, by one sample each.
        gap: nats, a range for KL(aggregate posterior ‖ prior), see `aggregate_gap`.
    """

    active: Tensor
    kl_units: Tensor
    kl: float
    gap: tuple[float, float]

    @property
    def collapsed(self) -> bool:
        """Whether the KL of every unit is below 0.1 nat: the decoder makes do without the code."""
        return bool((self.kl_units < COLLAPSED).all())


@torch.no_grad()
def diagnose(posterior: DiagonalGaussian, prior: Distribution, *, rng: torch.Generator | None) -> Diagnosis:
    """Active units, KL per unit and the gap between aggregate posterior and prior.

    Args:
        posterior: q(z | x) of all images of a set, [N, …]; codes of 10,000 images fit in memory easily (`collect`).
        prior: p(z).
        rng: for one sample of z per image.
    """
    z = posterior.sample(1, rng)[0]
    kl_images = (posterior.log_prob(z) - prior.log_prob(z)).double()
    gap = aggregate_gap(posterior, prior, rng=rng)
    return Diagnosis(active_units(posterior.mean), kl_per_unit(posterior, prior), float(kl_images.mean()), gap)


@torch.no_grad()
def collect(model: LatentVariable, batches: Iterable[Tensor]) -> DiagonalGaussian:
    """q(z | x) of all images of some batches as one; the encoder is run once per image.

    Raises:
        CapabilityError: the posteriors are no Gaussians with independent units.
    """
    found = [model.posterior(x) for x in batches]
    means, log_variances, dims = [], [], 1
    for q in found:
        if not isinstance(q, DiagonalGaussian):
            raise CapabilityError("latent units are diagnosed for Gaussian posteriors with independent units only")
        means.append(q.mean)
        log_variances.append(q.log_variance.expand_as(q.mean))
        dims = q.event_dims
    return DiagonalGaussian(torch.cat(means), torch.cat(log_variances), dims)


def active_units(means: Tensor, threshold: float = 0.01) -> Tensor:
    """Which units are in use: those whose posterior mean has a variance above `threshold` over the images.

    Args:
        means: [N, …] posterior means.
        threshold: 0.01 in the reference (there between units in use and not in use there is a wide gap).

    Returns:
        [U] bool, U = the numbers in a code.

    Reference:
        Burda, Grosse and Salakhutdinov, 2015, Importance Weighted Autoencoders, section 5.2.

    >>> active_units(torch.tensor([[0.0, 1.0], [0.0, -1.0]]))
    tensor([False,  True])
    """
    return means.flatten(1).double().var(0, correction=0) > threshold


def kl_per_unit(posterior: DiagonalGaussian, prior: Distribution) -> Tensor:
    """Mean KL of each unit over the images, [U] float64 nats.

    Against a Gaussian prior with independent units, the KL to it, in closed form. Other priors have no KL per unit;
    there it is the KL to the Gaussian with the unit's mean and variance over the set: the smallest KL to any Gaussian,
    and an upper bound on the information (in nats) that the unit carries on the image. So a unit below 0.1 nat is dead
    in both cases.
    """
    q = DiagonalGaussian(posterior.mean.double(), posterior.log_variance.double(), posterior.event_dims)
    if isinstance(prior, DiagonalGaussian):
        p = DiagonalGaussian(prior.mean.double(), prior.log_variance.double(), prior.event_dims)
    else:
        variance = q.log_variance.expand_as(q.mean).exp().mean(0) + q.mean.var(0, correction=0)
        p = DiagonalGaussian(q.mean.mean(0), variance.log(), q.event_dims)
    return kl(q, p).mean(0).flatten()


@torch.no_grad()
def aggregate_gap(
    posterior: DiagonalGaussian, prior: Distribution, *, rng: torch.Generator | None, rows: int = 500
) -> tuple[float, float]:
    """A range for KL(q(z) ‖ p(z)), where q(z) = E_x q(z | x) is the aggregate posterior: (from, to), in nats.

    0 would mean that codes drawn from the prior look to the decoder like codes of images. The KL itself can't be
    computed, q(z) being known by N images only; with z ~ q(z), one sample per image, it lies between

    * E log g(z) - log p(z), where g is the Gaussian with the mean and covariance of q(z) (any density in the place of
      q(z) gives a lower bound; for a standard normal prior this is what two moments say), and
    * E KL(q(z | x) ‖ p(z)) - I, where I is the mean of log q(z | x) / (1/N Σ_j q(z | x_j)), a lower bound on the
      information of code and image that can't exceed log N: with few images the range is wide.

    Both hold in expectation over the samples.

    Reference:
        Hoffman and Johnson, 2016, ELBO surgery (the decomposition); Poole et al., 2019, On variational bounds of mutual
        information (the bound on I).
    """
    z = posterior.sample(1, rng)[0]
    mean = posterior.mean.flatten(1).double()  # [N, U]
    centred = mean - mean.mean(0)
    variance = posterior.log_variance.expand_as(posterior.mean).flatten(1).double().exp().mean(0)
    covariance = centred.T @ centred / len(mean) + variance.diag()
    factor = torch.linalg.cholesky(covariance)
    white = torch.linalg.solve_triangular(factor, (z.flatten(1).double() - mean.mean(0)).T, upper=False)  # [U, N]
    log_gaussian = -0.5 * (white.square().sum(0) + len(white) * LOG_2PI) - factor.diagonal().log().sum()
    log_prior = prior.log_prob(z).double()
    aggregate = Mixture(torch.zeros(len(mean), device=z.device), posterior)
    log_aggregate = torch.cat([aggregate.log_prob(z[i : i + rows]).double() for i in range(0, len(z), rows)])
    return float((log_gaussian - log_prior).mean()), float((log_aggregate - log_prior).mean())


def check_levels(x: Tensor, levels: int | None) -> None:
    """Refuse images that a model with so many levels gives no probability.

    Raises:
        DataError: a value of x is none of 0, 1/(levels-1), …, 1.
    """
    if levels is None:
        return
    scaled = x * (levels - 1)
    if not bool((((scaled - scaled.round()).abs() < 1e-3) & (x >= 0) & (x <= 1)).all()):  # so that NaN fails too
        kind = "binary images (0 or 1), not grey ones; binarize them" if levels == 2 else f"images of {levels} levels"
        raise DataError(f"this model's likelihood is over {kind}: other values have no probability to score")


def _bound(
    model: LatentVariable, prior: Distribution, x: Tensor, samples: int, generators: list[torch.Generator]
) -> Tensor:
    """The bound of a few images, [N] float64, their samples in blocks with a running log-sum-exp."""
    posterior = model.posterior(x)
    total = torch.full((len(x),), -math.inf, dtype=torch.float64, device=x.device)
    for start in range(0, samples, BLOCK):
        z = _own_draws(posterior, generators, min(BLOCK, samples - start))
        log_weights = _log_joint(model, prior, x, z) - posterior.log_prob(z)
        total = torch.logaddexp(total, log_weights.double().logsumexp(0))
    return total - math.log(samples)


def _log_joint(model: LatentVariable, prior: Distribution, x: Tensor, z: Tensor) -> Tensor:
    """log p(x, z) of images [N, …] and latents [K, N, …]: [K, N]."""
    repeated = x.expand(len(z), *x.shape).flatten(0, 1)  # in the order of z.flatten(0, 1): images within samples
    likelihood = model.likelihood(z.flatten(0, 1)).log_prob(repeated).view(z.shape[:2])
    return likelihood + prior.log_prob(z)


def _own_draws(posterior: Posterior, generators: list[torch.Generator], n: int) -> Tensor:
    """n samples for each image, each image's from its own generator: [n, N, …]."""
    return torch.cat([posterior[i : i + 1].sample(n, own) for i, own in enumerate(generators)], 1)


def own_generators(x: Tensor, rng: torch.Generator | None) -> list[torch.Generator]:
    """For each image a generator that belongs to it, wherever it stands in which batch: of one draw and its content."""
    rng = rng or torch.Generator().manual_seed(0)
    draw = int(torch.randint(2**62, (), generator=rng, device=rng.device))
    images = x.detach().to("cpu", torch.float32).contiguous().numpy()
    return [generator(draw, hashlib.blake2b(image.tobytes()).hexdigest()) for image in images]
