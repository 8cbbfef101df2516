"""Mixtures of Gaussians: a prior with parameters of its own, or one made of posteriors (VampPrior)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from imprior.distributions.draws import normal, uniform
from imprior.distributions.gaussian import LOG_2PI, DiagonalGaussian


class Mixture:
    """p(z) = Σ_k weight_k N(z; mean_k, exp(log_variance_k)).

    With the posteriors of learned pseudo-inputs as components this is the VampPrior; with the posteriors of all images
    of a set and equal weights it is their aggregate posterior.

    Args:
        logits: [K], unnormalised log-weights.
        components: a batch of K Gaussians, one batch axis.

    Reference:
        Tomczak and Welling, 2017, VAE with a VampPrior, equation 10.

    >>> p = Mixture(torch.zeros(3), DiagonalGaussian(torch.zeros(3, 2), torch.zeros(3, 2)))
    >>> p.sample(5, torch.Generator()).shape, p.log_prob(torch.zeros(4, 2))
    (torch.Size([5, 2]), tensor([-1.8379, -1.8379, -1.8379, -1.8379]))
    """

    def __init__(self, logits: Tensor, components: DiagonalGaussian) -> None:
        assert components.mean.dim() == 1 + components.event_dims
        self.logits = logits
        self.components = components

    @property
    def mean(self) -> Tensor:
        """[*event]."""
        return torch.einsum("k,k...->...", self.logits.softmax(0), self.components.mean)

    def sample(self, n: int, rng: torch.Generator | None) -> Tensor:
        """[n, *event]; differentiable in the components, not in the weights."""
        cumulative = self.logits.softmax(0).cumsum(0)
        draws = uniform((n,), rng, self.logits)
        which = torch.searchsorted(cumulative, draws).clamp_max(len(cumulative) - 1)  # rounding may end below 1
        mean = self.components.mean
        noise = normal((n, *mean.shape[1:]), rng, mean)
        return mean[which] + (0.5 * self.components.log_variance).exp().expand_as(mean)[which] * noise

    def log_prob(self, value: Tensor) -> Tensor:
        """[...] nats, for value [..., *event].

        The squares are expanded, so that all components are three matrix products and no [..., K, D] is made. That
        cancels large numbers against each other, hence in float64; the cost is that of the products alone.
        """
        mean = self.components.mean.flatten(1).double()  # [K, *event] → [K, D]
        log_variance = self.components.log_variance.expand_as(self.components.mean).flatten(1).double()
        precision = (-log_variance).exp()
        constant = (mean.square() * precision + log_variance + LOG_2PI).sum(1)  # [K]
        z = value.flatten(-self.components.event_dims).double()  # [..., *event] → [..., D]
        squares = z.square() @ precision.T - 2 * (z @ (mean * precision).T) + constant  # [..., K]
        log_weights = self.logits.double().log_softmax(0)
        return (log_weights - 0.5 * squares).logsumexp(-1).to(value.dtype)


class MixtureOfGaussians(nn.Module):
    """A mixture whose weights, means and variances are parameters.

    The means start as draws of a standard normal, so the mixture starts near the usual prior; equal starts would get
    equal gradients and never part.

    Args:
        dim: length of z.
        components: number of Gaussians.

    >>> MixtureOfGaussians(4, components=10).log_prob(torch.zeros(3, 4)).shape
    torch.Size([3])
    """

    def __init__(self, dim: int, *, components: int = 50) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(components))
        self.means = nn.Parameter(torch.randn(components, dim))
        self.log_variances = nn.Parameter(torch.zeros(components, dim))

    @property
    def mixture(self) -> Mixture:
        """The distribution of the parameters as they are now."""
        return Mixture(self.logits, DiagonalGaussian(self.means, self.log_variances))

    @property
    def mean(self) -> Tensor:
        """[dim]."""
        return self.mixture.mean

    def sample(self, n: int, rng: torch.Generator | None) -> Tensor:
        """[n, dim]."""
        return self.mixture.sample(n, rng)

    def log_prob(self, value: Tensor) -> Tensor:
        """[...] nats, for value [..., dim]."""
        return self.mixture.log_prob(value)
