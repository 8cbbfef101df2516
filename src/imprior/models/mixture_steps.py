"""One step of expectation-maximisation on Gaussian components: sums over all images, and what they ask for.

    points, responsibilities ──► sums ──► mean, covariance                  [N,D], [N,K] → [K,…] → Components

References: as of `gaussian_mixture`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from imprior.distributions.components import Components, Full, LowRank
from imprior.errors import DataError


class Sums(ABC):
    """What a step needs to know of all images: sums over them, weighted by each component's responsibility."""

    def __init__(self, components: Components) -> None:
        self.count = 0
        self.share = torch.zeros_like(components.mean[:, 0])  # [K]
        self.first = torch.zeros_like(components.mean)  # [K, D], of x
        self.second = torch.zeros_like(components.mean)  # [K, D], of x²

    def add(self, points: Tensor, responsibility: Tensor) -> None:
        """Take in points [N, D] with their responsibilities [N, K]."""
        self.count += len(points)
        self.share += responsibility.sum(0)
        self.first += responsibility.T @ points
        self.second += responsibility.T @ points.square()

    def variance(self) -> Tensor:
        """Variance of each pixel over all images, [D]."""
        mean = self.first.sum(0) / self.count
        return (self.second.sum(0) / self.count - mean.square()).clamp_min(0)

    @abstractmethod
    def step(self, variance: Tensor, smoothing: float, floor: Tensor) -> Components:
        """The components that the sums and the prior (pixels of these variances [D]) ask for, none below its floor."""


class FullSums(Sums):
    """Of components with full covariances."""

    def __init__(self, components: Components) -> None:
        super().__init__(components)
        pixels = components.mean.shape[1]
        self.outer = components.mean.new_zeros(len(components.mean), pixels, pixels)  # of x xᵀ

    def add(self, points: Tensor, responsibility: Tensor) -> None:
        """Take in points [N, D] with their responsibilities [N, K]."""
        super().add(points, responsibility)
        for outer, weight in zip(self.outer, responsibility.T, strict=True):
            outer.addmm_((weight[:, None] * points).T, points)

    def step(self, variance: Tensor, smoothing: float, floor: Tensor) -> Components:
        """Means and covariances of the sums, with the prior's part."""
        share = (self.share + 10 * torch.finfo(torch.float64).eps)[:, None]
        mean = self.first / share
        scatter = self.outer - share[..., None] * mean[:, :, None] * mean[:, None, :]
        covariance = (scatter + smoothing * variance.diag()) / (share[..., None] + smoothing)
        return Full(mean, raised(covariance, floor))


class LowRankSums(Sums):
    """Of components of low rank; also the expected latents of each."""

    def __init__(self, components: LowRank) -> None:
        super().__init__(components)
        self.before = components
        self.posterior = components.posterior()  # γ, [K, D, R]
        self.offset = (self.posterior.mT @ components.mean[..., None])[..., 0]  # [K, R]
        self.latent = torch.zeros_like(self.offset)  # of E[z | x]
        self.cross = torch.zeros_like(self.posterior)  # of x E[z | x]ᵀ

    def add(self, points: Tensor, responsibility: Tensor) -> None:
        """Take in points [N, D] with their responsibilities [N, K]."""
        super().add(points, responsibility)
        across = self.posterior.mT.flatten(0, 1)  # [K·R, D]
        z = (points @ across.T).view(len(points), *self.offset.shape) - self.offset
        weighted = responsibility[:, :, None] * z
        self.latent += weighted.sum(0)
        self.cross += (weighted.flatten(1).T @ points).view(*self.offset.shape, -1).mT

    def step(self, variance: Tensor, smoothing: float, floor: Tensor) -> Components:
        """One step on W and noise, about the new means, of the responsibilities as they are."""
        share = (self.share + 10 * torch.finfo(torch.float64).eps)[:, None]
        mean = self.first / share
        pixels = self.second - share * mean.square() + smoothing * variance
        pixels = pixels / (share + smoothing)  # the diagonal of S, [K, D]
        cross = self.cross - mean[..., None] * self.latent[:, None, :] + smoothing * variance[:, None] * self.posterior
        cross = cross / (share[..., None] + smoothing)  # S γ, [K, D, R]
        spread_z = torch.cholesky_inverse(self.before.inner) + self.posterior.mT @ cross  # E z zᵀ, [K, R, R]
        factors = torch.linalg.solve(spread_z, cross.mT).mT
        return LowRank(mean, factors, torch.maximum(pixels - (factors * cross).sum(2), floor[:, None]))


def raised(covariance: Tensor, floor: Tensor) -> Tensor:
    """Cholesky factors of covariances [K, D, D] whose eigenvalues are raised to a floor [K].

    Of all covariances above the floor this is the one of highest likelihood.
    """
    values, vectors = torch.linalg.eigh(covariance)
    return cholesky((vectors * torch.maximum(values, floor[:, None])[:, None, :]) @ vectors.mT)


def cholesky(covariance: Tensor) -> Tensor:
    """Cholesky factors of covariances [K, D, D].

    Raises:
        DataError: one is not positive definite.
    """
    factor: Tensor
    factor, failed = torch.linalg.cholesky_ex(covariance)
    if bool(failed.any()):
        raise DataError("a covariance has no positive variance in some direction: raise model.smoothing")
    return factor


def triangles(scale: Tensor) -> Tensor:
    """Lower triangles [K, D, D] -> their numbers, row by row."""
    rows, columns = torch.tril_indices(*scale.shape[1:], device=scale.device)
    return scale[:, rows, columns].flatten()


def from_triangles(numbers: Tensor, like: Tensor) -> Tensor:
    """The lower triangles [K, D, D] for means `like` [K, D]."""
    count, pixels = like.shape
    rows, columns = torch.tril_indices(pixels, pixels, device=numbers.device)
    scale = numbers.new_zeros(count, pixels, pixels)
    scale[:, rows, columns] = numbers.view(count, -1)
    return scale
