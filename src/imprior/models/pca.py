"""Principal component analysis, and the Gaussian model whose maximum likelihood it is.

    x ──► x - mean ──► directions ──► z ──► directionsᵀ ──► + mean ──► x'           [N,C,H,W] → [N,latent] → [N,C,H,W]

and, of the probabilistic one, z ~ N(0, 1), x | z ~ N(W z + mean, noise), W = directionsᵀ (variances - noise)^½.

What a linear autoencoder learns by gradients, in closed form: one pass over the images and one eigendecomposition. The
probabilistic model has everything that a VAE only approximates: posterior, evidence and maximum likelihood are exact.

References: H. Hotelling, "Analysis of a complex of statistical variables into principal components", 1933;
M. E. Tipping, C. M. Bishop, "Probabilistic principal component analysis", 1999 (equations by its numbers below).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from imprior.distributions.draws import normal
from imprior.distributions.gaussian import LOG_2PI, DiagonalGaussian
from imprior.distributions.likelihoods import Gaussian
from imprior.errors import DataError, RecipeError
from imprior.models.coded import CodesLatents
from imprior.promises import Score, Shape, check_shape

# 64x64 in colour: a covariance of 1.2 GB in double precision, minutes for its eigenvectors. More is a mistake.
MOST_PIXELS = 12_288


@dataclass(frozen=True)
class Config:
    """Settings of a PCA.

    Attributes:
        shape: (channels, height, width) of the images; zeros are filled in from the data.
        latent: components kept, the numbers in a code.
        probabilistic: whether it is the Gaussian model, with a likelihood, or the projection alone.
    """

    shape: tuple[int, int, int] = (0, 0, 0)
    latent: int = 32
    probabilistic: bool = False

    def __post_init__(self) -> None:
        if self.latent < 1:
            raise RecipeError(f"latent must be at least 1, not {self.latent}")

    def build(self) -> PCA:
        """The model before it has seen an image."""
        most = math.prod(self.shape) - self.probabilistic  # without a direction left over there is no noise to fit
        if self.latent > most:
            raise RecipeError(f"latent must be at most {most} for images of {self.shape}, not {self.latent}")
        return ProbabilisticPCA(self) if self.probabilistic else PCA(self)


class PCA(CodesLatents):
    """The projection onto the directions of largest variance; keeps Encodes, Samples, Codes and Calibrates.

    Of all linear codes of this length it loses the least squared error. Its codes are in the units of the pixels, and
    independent to second order; `variances` holds the variance of each, the largest first.
    """

    levels: int | None = None
    classes: int | None = None

    mean: Tensor  # [D]
    directions: Tensor  # [latent, D], orthonormal rows
    variances: Tensor  # [latent]

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.shape: Shape = config.shape
        pixels = math.prod(config.shape)
        self.register_buffer("mean", torch.full((pixels,), 0.5))
        self.register_buffer("directions", torch.eye(config.latent, pixels))
        self.register_buffer("variances", torch.ones(config.latent))

    def update(self, batches: Iterable[Tensor]) -> float:
        """Fit mean, directions and variances; one pass reaches the optimum, and a second one changes nothing.

        Args:
            batches: all training images, [N, C, H, W] at a time.

        Returns:
            Mean squared error of the reconstruction, summed over the pixels of an image.

        Raises:
            DataError: no images, images of another shape, or more pixels than a covariance matrix can be had for.
        """
        mean, values, vectors = self._spectrum(batches)
        kept = self.config.latent
        self.mean.copy_(mean)
        self.directions.copy_(vectors[:kept])
        self.variances.copy_(values[:kept])
        return float(values[kept:].sum())

    def encode(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, latent], the coordinates along the directions.

        Raises:
            DataError: images of another shape than the model's.
        """
        return self._centred(x) @ self.directions.T

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """[N, latent] -> [N, C, H, W]; may leave [0, 1], as linear maps do."""
        return (z @ self.directions + self.mean).reshape(-1, *self.config.shape)

    def latent(self, n: int, rng: torch.Generator) -> Tensor:
        """Draw n codes from the Gaussian with the variances of the training codes."""
        return normal((n, self.config.latent), rng, self.mean) * self.variances.sqrt()

    def sample(self, n: int, rng: torch.Generator, labels: Tensor | None = None) -> Tensor:
        """Draw n images from the Gaussian that the training images span along the directions."""
        return self.decode(self.latent(n, rng))

    def _centred(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, D] about the mean."""
        check_shape(x, self.config.shape)
        return x.flatten(1) - self.mean

    @torch.no_grad()
    def _spectrum(self, batches: Iterable[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Mean [D], all eigenvalues [D], the largest first, and eigenvectors (rows) of the covariance, in float64."""
        pixels = len(self.mean)
        if pixels > MOST_PIXELS:
            raise DataError(
                f"a PCA of images of {self.config.shape} needs a covariance of {pixels:,} x {pixels:,}: "
                "use smaller ones (data.size=64 or less)"
            )
        count, total = 0, torch.zeros(pixels, dtype=torch.float64, device=self.mean.device)
        outer = torch.zeros(pixels, pixels, dtype=torch.float64, device=self.mean.device)
        shift = self.mean.double()  # sums about any point near the mean lose nothing to cancellation
        for x in batches:
            centred = self._centred(x.to(shift))
            count, total = count + len(x), total + centred.sum(0)
            outer.addmm_(centred.T, centred)
        if count == 0:
            raise DataError("no images to fit a PCA to")
        offset = total / count
        values, vectors = torch.linalg.eigh(outer / count - torch.outer(offset, offset))
        vectors = vectors.T.flip(0)
        # A direction is one only up to its sign: the pixel of largest weight is positive, on every machine.
        peaks = vectors.gather(1, vectors.abs().argmax(1, keepdim=True))
        return self.mean.double() + offset, values.flip(0).clamp_min(0), vectors * peaks.sign()


class ProbabilisticPCA(PCA):
    """A Gaussian with a full covariance along the directions and one variance for all others.

    Keeps LatentVariable, Scores (exact) and, as `PCA`, Encodes, Samples, Codes and Calibrates. A code is the posterior
    mean, on the scale of the prior N(0, 1); so reconstructions are drawn a little towards the mean.
    """

    noise: Tensor  # [], the variance of a pixel given the code

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.register_buffer("noise", torch.tensor(0.25))

    def update(self, batches: Iterable[Tensor]) -> float:
        """Fit by maximum likelihood (7, 8); one pass reaches the optimum, and a second one changes nothing.

        Args:
            batches: all training images, [N, C, H, W] at a time.

        Returns:
            Minus the mean log-likelihood of the training images, in nats per image.

        Raises:
            DataError: as of `PCA`, or the images span no more than the components, so that their density is infinite.
        """
        mean, values, vectors = self._spectrum(batches)
        kept, pixels = self.config.latent, len(mean)
        noise = values[kept:].mean()
        if float(noise) <= 1e-12 * float(values.mean()):
            raise DataError(
                f"the images span no more than {kept} directions: a lower model.latent leaves some for noise"
            )
        self.mean.copy_(mean)
        self.directions.copy_(vectors[:kept])
        self.variances.copy_(values[:kept])
        self.noise.copy_(noise)
        log_determinant = values[:kept].log().sum() + (pixels - kept) * noise.log()
        return float(0.5 * (pixels * (LOG_2PI + 1) + log_determinant))

    def posterior(self, x: Tensor) -> DiagonalGaussian:
        """p(z | x), exactly (6): its units are independent because the columns of W are orthogonal."""
        mean = super().encode(x) * self._lengths / self.variances
        return DiagonalGaussian(mean, (self.noise / self.variances).log().expand_as(mean))

    def prior(self) -> DiagonalGaussian:
        """N(0, 1)."""
        return DiagonalGaussian.standard((self.config.latent,), device=self.mean.device, dtype=self.mean.dtype)

    def likelihood(self, z: Tensor) -> Gaussian:
        """p(x | z) for z [N, latent] (2)."""
        return Gaussian(self.decode(z), 0.5 * self.noise.log())

    def encode(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, latent], the posterior mean.

        Raises:
            DataError: images of another shape than the model's.
        """
        return self.posterior(x).mean

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """[N, latent] -> [N, C, H, W]; may leave [0, 1], as linear maps do."""
        return super().decode(z * self._lengths)

    def latent(self, n: int, rng: torch.Generator) -> Tensor:
        """Draw n codes from the prior."""
        return self.prior().sample(n, rng)

    def sample(self, n: int, rng: torch.Generator, labels: Tensor | None = None) -> Tensor:
        """Draw n images, noise included."""
        return self.likelihood(self.latent(n, rng)).sample(1, rng)[0]

    def score(
        self, x: Tensor, labels: Tensor | None = None, samples: int = 1, rng: torch.Generator | None = None
    ) -> Score:
        """Minus log-density, exact (3, 4) and in float64: only the latent-sized part of the covariance is inverted."""
        centred = self._centred(x.double())
        along = (centred @ self.directions.double().T).square()
        across = centred.square().sum(1) - along.sum(1)
        variances, noise = self.variances.double(), self.noise.double()
        others = centred.shape[1] - len(variances)
        log_determinant = variances.log().sum() + others * noise.log()
        distance = (along / variances).sum(1) + across / noise
        return Score(0.5 * (centred.shape[1] * LOG_2PI + log_determinant + distance), "exact", "continuous", "exact")

    @property
    def _lengths(self) -> Tensor:
        """[latent], the length of each column of W; zero where a direction holds no more than noise."""
        return (self.variances - self.noise).clamp_min(0).sqrt()
