"""The Fréchet distance between two sets of features, each taken for a Gaussian."""

from __future__ import annotations

import torch
from torch import Tensor

from imprior.errors import DataError

PER_FEATURE = 2  # images that a feature wants, for a covariance that is not nearly singular


def frechet_distance(x: Tensor, y: Tensor) -> float:
    """|m_x - m_y|² + tr(S_x + S_y - 2 (S_x S_y)^½), with means m and covariances S of two sets of features.

    It is biased upwards, the more the fewer the samples are: only distances of equal n can be compared.

    Args:
        x: features [N, F].
        y: features [M, F].

    Returns:
        The distance, squared as is the custom; computed in float64.

    Raises:
        DataError: either set has fewer than 2 F samples.

    Reference: Dowson & Landau 1982, The Fréchet distance between multivariate normal distributions, eq. 4; for
    generators: Heusel et al. 2017, GANs trained by a two time-scale update rule.

    >>> rng = torch.Generator().manual_seed(0)
    >>> x = torch.randn(100, 3, generator=rng)
    >>> round(frechet_distance(x, x + torch.tensor([3.0, 0.0, 4.0])), 4)
    25.0
    """
    assert x.shape[1] == y.shape[1], "the same features of both"
    features = x.shape[1]
    fewest = min(len(x), len(y))
    if fewest < PER_FEATURE * features:
        raise DataError(
            f"the Fréchet distance in {features} features wants at least {PER_FEATURE * features:,} images on either "
            f"side, there are {fewest:,}"
        )
    (mean_x, cov_x), (mean_y, cov_y) = _moments(x), _moments(y)
    # The trace of (S_x S_y)^½ is the sum of the roots of the eigenvalues of S_x S_y, which are those of the symmetric
    # R S_y R with R² = S_x. Rounding can make eigenvalues that are zero negative.
    values, vectors = torch.linalg.eigh(cov_x)
    root = (vectors * values.clamp_min(0).sqrt()) @ vectors.T
    cross = torch.linalg.eigvalsh(root @ cov_y @ root).clamp_min(0).sqrt().sum()
    distance = (mean_x - mean_y).square().sum() + cov_x.trace() + cov_y.trace() - 2 * cross
    return max(float(distance), 0.0)


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    x = x.double()
    return x.mean(0), x.T.cov()
