"""Several Gaussians with correlated dimensions: what mixtures are made of.

| class     | covariance          | numbers a Gaussian | cost of a density |
|-----------|---------------------|--------------------|-------------------|
| `Full`    | L Lᵀ                | D + D(D + 1)/2     | D²                |
| `LowRank` | W Wᵀ + diag(noise)  | D (rank + 2)       | D · rank          |

Both compute in the precision that they are given, and give each answer for a batch of points and all K Gaussians.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from imprior.distributions.draws import normal
from imprior.distributions.gaussian import LOG_2PI


class Components(ABC):
    """K Gaussians over vectors of length D.

    Attributes:
        mean: [K, D].
    """

    mean: Tensor

    @abstractmethod
    def log_prob(self, x: Tensor) -> Tensor:
        """Log-density of each x [N, D] under each Gaussian: [N, K] nats."""

    @abstractmethod
    def expected(self, variance: Tensor) -> Tensor:
        """E log N_k(mean_k + e) for independent errors e of these variances [D]: [K] nats."""

    @abstractmethod
    def gradient(self, x: Tensor, weights: Tensor) -> Tensor:
        """Σ_k weights[n, k] ∇ log N_k(x_n), for x [N, D] and weights [N, K]: [N, D]."""

    @abstractmethod
    def blurred(self, variance: float) -> Components:
        """The Gaussians of x plus white noise of that variance."""

    @abstractmethod
    def over(self, known: Tensor) -> Components:
        """The marginals over the dimensions where `known` (bool [D]) holds."""

    @abstractmethod
    def sample(self, which: Tensor, rng: torch.Generator | None) -> Tensor:
        """A draw from the Gaussian of each index `which` [n]: [n, D]."""

    @abstractmethod
    def correction(self, difference: Tensor, known: Tensor, which: Tensor) -> Tensor:
        """What a difference in the known dimensions says about all: Σ[:, known] Σ[known, known]⁻¹ difference.

        Args:
            difference: [n, known dimensions].
            known: bool [D].
            which: [n], the Gaussian of each row.

        Returns:
            [n, D].
        """

    def completed(self, x: Tensor, known: Tensor, which: Tensor, rng: torch.Generator | None) -> Tensor:
        """Draws from the Gaussians `which` [n] given the known dimensions of x [n, D]: [n, D].

        A joint draw, moved by what its known dimensions are off: of the same distribution as a draw from the
        conditional one, and no square root of a conditional covariance is needed.

        Reference:
            Hoffman and Ribak, 1991, Constrained realizations of Gaussian fields.
        """
        drawn = self.sample(which, rng)
        return drawn + self.correction((x - drawn)[:, known], known, which)


class Full(Components):
    """N(mean, L Lᵀ).

    Args:
        mean: [K, D].
        scale: [K, D, D], the Cholesky factors L, lower triangles.
    """

    def __init__(self, mean: Tensor, scale: Tensor) -> None:
        self.mean = mean
        self.scale = scale

    @property
    def covariance(self) -> Tensor:
        """[K, D, D]."""
        return self.scale @ self.scale.mT

    def log_prob(self, x: Tensor) -> Tensor:
        """Log-density of each x [N, D] under each Gaussian: [N, K] nats."""
        distance = [
            torch.linalg.solve_triangular(scale, (x - mean).T, upper=False).square().sum(0)
            for mean, scale in zip(self.mean, self.scale, strict=True)
        ]
        return -0.5 * torch.stack(distance, 1) - self._constant

    def expected(self, variance: Tensor) -> Tensor:
        """E log N_k(mean_k + e) for independent errors e of these variances [D]: [K] nats."""
        spread = variance.sqrt().diag()
        distance = [torch.linalg.solve_triangular(scale, spread, upper=False).square().sum() for scale in self.scale]
        return -0.5 * torch.stack(distance) - self._constant

    def gradient(self, x: Tensor, weights: Tensor) -> Tensor:
        """Σ_k weights[n, k] ∇ log N_k(x_n), for x [N, D] and weights [N, K]: [N, D]."""
        total = torch.zeros_like(x)
        for k, (mean, scale) in enumerate(zip(self.mean, self.scale, strict=True)):
            total -= torch.cholesky_solve((weights[:, k, None] * (x - mean)).T, scale).T
        return total

    def blurred(self, variance: float) -> Full:
        """The Gaussians of x plus white noise of that variance."""
        eye = torch.eye(self.mean.shape[1], dtype=self.mean.dtype, device=self.mean.device)
        return Full(self.mean, torch.linalg.cholesky(self.covariance + variance * eye))

    def over(self, known: Tensor) -> Full:
        """The marginals over the dimensions where `known` (bool [D]) holds."""
        return Full(self.mean[:, known], torch.linalg.cholesky(self.covariance[:, known][:, :, known]))

    def sample(self, which: Tensor, rng: torch.Generator | None) -> Tensor:
        """A draw from the Gaussian of each index `which` [n]: [n, D]."""
        noise = normal((len(which), self.mean.shape[1]), rng, self.mean)
        drawn = self.mean[which]
        for k in torch.unique(which).tolist():
            drawn[which == k] += noise[which == k] @ self.scale[k].T
        return drawn

    def correction(self, difference: Tensor, known: Tensor, which: Tensor) -> Tensor:
        """Σ[:, known] Σ[known, known]⁻¹ difference, [n, D]; see `Components`."""
        moved = difference.new_zeros(len(which), len(known))
        for k in torch.unique(which).tolist():
            covariance = self.scale[k] @ self.scale[k].T
            factor = torch.linalg.cholesky(covariance[known][:, known])
            solved = torch.cholesky_solve(difference[which == k].T, factor)  # [known, n]
            moved[which == k] = (covariance[:, known] @ solved).T
        return moved

    @property
    def _constant(self) -> Tensor:
        """Half of log |2π Σ|, [K]."""
        return self.scale.diagonal(dim1=1, dim2=2).log().sum(1) + 0.5 * self.mean.shape[1] * LOG_2PI


class LowRank(Components):
    """N(mean, W Wᵀ + diag(noise)): a factor analyser each, x = mean + W z + noise with z ~ N(0, 1).

    All inverses and determinants are those of R x R matrices (Woodbury): with M = 1 + Wᵀ noise⁻¹ W = C Cᵀ and
    B = noise⁻¹ W C⁻ᵀ, the inverse covariance is diag(noise⁻¹) - B Bᵀ.

    Args:
        mean: [K, D].
        factors: [K, D, R], W.
        noise: [K, D], variances, above 0.

    Reference:
        Ghahramani and Hinton, 1996, The EM algorithm for mixtures of factor analyzers.
    """

    def __init__(self, mean: Tensor, factors: Tensor, noise: Tensor) -> None:
        self.mean = mean
        self.factors = factors
        self.noise = noise
        weighted = factors / noise[..., None]
        eye = torch.eye(factors.shape[2], dtype=mean.dtype, device=mean.device)
        self.inner: Tensor = torch.linalg.cholesky(eye + factors.mT @ weighted)  # C, [K, R, R]
        self.across: Tensor = torch.linalg.solve_triangular(self.inner, weighted.mT, upper=False)  # Bᵀ, [K, R, D]

    def log_prob(self, x: Tensor) -> Tensor:
        """Log-density of each x [N, D] under each Gaussian: [N, K] nats."""
        precision = 1 / self.noise
        scaled = self.mean * precision
        squares = x.square() @ precision.T - 2 * (x @ scaled.T) + (self.mean * scaled).sum(1)  # [N, K]
        distance = squares - self._along(x).square().sum(2)
        return -0.5 * distance - self._constant

    def expected(self, variance: Tensor) -> Tensor:
        """E log N_k(mean_k + e) for independent errors e of these variances [D]: [K] nats."""
        return -0.5 * (1 / self.noise - self.across.square().sum(1)) @ variance - self._constant

    def gradient(self, x: Tensor, weights: Tensor) -> Tensor:
        """Σ_k weights[n, k] ∇ log N_k(x_n), for x [N, D] and weights [N, K]: [N, D]."""
        precision = 1 / self.noise
        along = (weights[:, :, None] * self._along(x)).flatten(1)  # [N, K·R]
        return along @ self.across.flatten(0, 1) - x * (weights @ precision) + weights @ (self.mean * precision)

    def blurred(self, variance: float) -> LowRank:
        """The Gaussians of x plus white noise of that variance."""
        return LowRank(self.mean, self.factors, self.noise + variance)

    def over(self, known: Tensor) -> LowRank:
        """The marginals over the dimensions where `known` (bool [D]) holds."""
        return LowRank(self.mean[:, known], self.factors[:, known], self.noise[:, known])

    def sample(self, which: Tensor, rng: torch.Generator | None) -> Tensor:
        """A draw from the Gaussian of each index `which` [n]: [n, D]."""
        z = normal((len(which), self.factors.shape[2]), rng, self.mean)
        noise = normal((len(which), self.mean.shape[1]), rng, self.mean)
        drawn = self.mean[which] + self.noise[which].sqrt() * noise
        for k in torch.unique(which).tolist():
            drawn[which == k] += z[which == k] @ self.factors[k].T
        return drawn

    def correction(self, difference: Tensor, known: Tensor, which: Tensor) -> Tensor:
        """Σ[:, known] Σ[known, known]⁻¹ difference, [n, D]; see `Components`."""
        part = self.over(known)
        moved = difference.new_zeros(len(which), len(known))
        for k in torch.unique(which).tolist():
            here = difference[which == k]
            # W Wᵀ part of Σ: through the mean of z given the difference, M⁻¹ Wᵀ noise⁻¹ difference.
            inner = torch.linalg.solve_triangular(part.inner[k].T, part.across[k] @ here.T, upper=True)  # [R, n]
            full = (self.factors[k] @ inner).T
            full[:, known] = here  # the known dimensions follow their difference exactly
            moved[which == k] = full
        return moved

    def posterior(self) -> Tensor:
        """γ = Σ⁻¹ W, [K, D, R]: the mean of z given x is γᵀ (x - mean); its covariance is 1 - γᵀ W = M⁻¹."""
        transposed: Tensor = torch.linalg.solve_triangular(self.inner.mT, self.across, upper=True)
        return transposed.mT

    @property
    def _constant(self) -> Tensor:
        """Half of log |2π Σ|, [K]."""
        log_determinant: Tensor = self.noise.log().sum(1) + 2 * self.inner.diagonal(dim1=1, dim2=2).log().sum(1)
        return 0.5 * (log_determinant + self.mean.shape[1] * LOG_2PI)

    def _along(self, x: Tensor) -> Tensor:
        """Bᵀ (x - mean), [N, K, R]."""
        offset = (self.across @ self.mean[..., None])[..., 0]  # [K, R]
        return (x @ self.across.flatten(0, 1).T).view(len(x), *offset.shape) - offset
