"""Gaussians with independent units: posteriors and the standard prior of latent-variable models."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from imprior.distributions.draws import normal, sum_event

LOG_2PI = math.log(2 * math.pi)


class DiagonalGaussian:
    """N(mean, exp(log_variance)) with independent units, reparameterised: z = mean + std·ε.

    Args:
        mean: [*batch, *event].
        log_variance: the same shape, or one that broadcasts to it.
        event_dims: how many of the last axes make one event; `log_prob` sums over them.

    >>> q = DiagonalGaussian(torch.zeros(5, 3), torch.zeros(3))
    >>> q.sample(2, torch.Generator()).shape, q.log_prob(torch.zeros(5, 3)).shape
    (torch.Size([2, 5, 3]), torch.Size([5]))
    """

    def __init__(self, mean: Tensor, log_variance: Tensor, event_dims: int = 1) -> None:
        self.mean = mean
        self.log_variance = log_variance
        self.event_dims = event_dims

    @classmethod
    def standard(
        cls, shape: tuple[int, ...], *, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> DiagonalGaussian:
        """N(0, 1) over events of `shape`, without a batch axis."""
        zero = torch.zeros(shape, device=device, dtype=dtype)
        return cls(zero, zero, event_dims=len(shape))

    def __getitem__(self, images: slice) -> DiagonalGaussian:
        """The entries `images` of the first batch axis."""
        log_variance = self.log_variance.expand_as(self.mean)
        return DiagonalGaussian(self.mean[images], log_variance[images], self.event_dims)

    def sample(self, n: int, rng: torch.Generator | None) -> Tensor:
        """[n, *batch, *event], differentiable in mean and log-variance."""
        noise = normal((n, *self.mean.shape), rng, self.mean)
        return self.mean + (0.5 * self.log_variance).exp() * noise

    def log_prob(self, value: Tensor) -> Tensor:
        """[..., *batch] nats, normaliser included."""
        return sum_event(self.terms(value), self.event_dims)

    def terms(self, value: Tensor) -> Tensor:
        """Each unit's part of `log_prob`: [..., *batch, *event] nats."""
        squared = (value - self.mean).square() * (-self.log_variance).exp()
        return -0.5 * (squared + self.log_variance + LOG_2PI)

    def entropy(self) -> Tensor:
        """[*batch] nats."""
        return sum_event(0.5 * (self.log_variance.expand_as(self.mean) + (1 + LOG_2PI)), self.event_dims)


def kl(q: DiagonalGaussian, p: DiagonalGaussian) -> Tensor:
    """KL(q ‖ p) of each unit, in nats, in closed form; never negative up to rounding.

    Formula: ½ (log σp² - log σq² + (σq² + (μq - μp)²) / σp² - 1).

    Args:
        q: [*batch, *event].
        p: the same shape, or one that broadcasts to it (a prior without batch axis).

    Returns:
        [*batch, *event].

    Reference:
        Kingma and Welling, 2013, Auto-Encoding Variational Bayes, appendix B (there for a standard p).

    >>> kl(DiagonalGaussian(torch.ones(1), torch.zeros(1)), DiagonalGaussian.standard((1,)))
    tensor([0.5000])
    """
    ratio = q.log_variance - p.log_variance
    distance = (q.mean - p.mean).square() * (-p.log_variance).exp()
    return 0.5 * (distance + ratio.exp() - 1 - ratio)
