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
from dataclasses import dataclass

import torch
from torch import Tensor

from imprior.distributions.gaussian import DiagonalGaussian, kl
from imprior.errors import DataError
from imprior.promises import LatentVariable

BLOCK = 50  # samples of one image that are drawn and decoded together


@dataclass(frozen=True)
class Elbo:
    """The ELBO in its parts, from one sample of the posterior.

    Attributes:
        reconstruction: [N] nats, log p(x | z).
        kl: [N] nats, KL(q ‖ p): exact where q and p are Gaussians with independent units, else an estimate from z.
        kl_units: [N, U] nats, the KL of each latent unit where that is exact, else [N, 1], the estimate.
        z: [N, …], the sample.
    """

    reconstruction: Tensor
    kl: Tensor
    kl_units: Tensor
    z: Tensor

    @property
    def bound(self) -> Tensor:
        """[N] nats: the ELBO, at most log p(x) in expectation."""
        return self.reconstruction - self.kl


def elbo(model: LatentVariable, x: Tensor, *, rng: torch.Generator | None, encoder_input: Tensor | None = None) -> Elbo:
    """One-sample ELBO of each image, differentiable (reparameterised).

    Args:
        model: keeps `LatentVariable`.
        x: [N, C, H, W] whose likelihood is bounded.
        rng: where the sample comes from.
        encoder_input: what the encoder is shown, if not x (a noisy x: any q gives a bound).
    """
    posterior, prior = model.posterior(x if encoder_input is None else encoder_input), model.prior()
    z = posterior.sample(1, rng)[0]
    reconstruction = model.likelihood(z).log_prob(x)
    if isinstance(posterior, DiagonalGaussian) and isinstance(prior, DiagonalGaussian):
        units = kl(posterior, prior).flatten(1)
    else:  # same gradient as with the entropy of q in closed form, and exact where q equals the prior
        units = (posterior.log_prob(z) - prior.log_prob(z))[:, None]
    return Elbo(reconstruction, units.sum(1), units, z)


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
    log_weights = _log_joint(model, x, z) - posterior.log_prob(z)
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
    check_levels(x, model.levels)
    assert samples >= 1
    chunk = chunk or max(BLOCK, 800_000 // max(1, x[:1].numel()))
    key = torch.randint(2**62, (), generator=rng or torch.Generator().manual_seed(0)).item()
    group = max(1, chunk // min(samples, BLOCK))
    with torch.no_grad():
        nats = [_bound(model, x[i : i + group], samples, int(key)) for i in range(0, len(x), group)]
    return -torch.cat(nats) if nats else torch.zeros(0, dtype=torch.float64)


def check_levels(x: Tensor, levels: int | None) -> None:
    """Refuse images that a model with so many levels gives no probability.

    Raises:
        DataError: a value of x is none of 0, 1/(levels-1), …, 1.
    """
    if levels is None:
        return
    scaled = x * (levels - 1)
    if bool((scaled - scaled.round()).abs().max() > 1e-3) or bool((x.min() < 0) | (x.max() > 1)):
        kind = "binary images (0 or 1), not grey ones; binarize them" if levels == 2 else f"images of {levels} levels"
        raise DataError(f"this model's likelihood is over {kind}: other values have no probability to score")


def _bound(model: LatentVariable, x: Tensor, samples: int, key: int) -> Tensor:
    """The bound of a few images, [N] float64, their samples in blocks with a running log-sum-exp."""
    posterior = model.posterior(x)
    generators = [_generator(image, key) for image in x]
    total = torch.full((len(x),), -math.inf, dtype=torch.float64, device=x.device)
    for start in range(0, samples, BLOCK):
        n = min(BLOCK, samples - start)
        z = torch.cat([posterior[i : i + 1].sample(n, g) for i, g in enumerate(generators)], 1)  # [n, N, …]
        log_weights = _log_joint(model, x, z) - posterior.log_prob(z)
        total = torch.logaddexp(total, log_weights.double().logsumexp(0))
    return total - math.log(samples)


def _log_joint(model: LatentVariable, x: Tensor, z: Tensor) -> Tensor:
    """log p(x, z) of images [N, …] and latents [K, N, …]: [K, N]."""
    repeated = x.expand(len(z), *x.shape).flatten(0, 1)  # in the order of z.flatten(0, 1): images within samples
    likelihood = model.likelihood(z.flatten(0, 1)).log_prob(repeated).view(z.shape[:2])
    return likelihood + model.prior().log_prob(z)


def _generator(image: Tensor, key: int) -> torch.Generator:
    """Random numbers that belong to an image, wherever it stands in which batch."""
    content = image.detach().to("cpu", torch.float32).contiguous().numpy().tobytes()
    digest = hashlib.blake2b(content, digest_size=8, key=key.to_bytes(8, "little")).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)
