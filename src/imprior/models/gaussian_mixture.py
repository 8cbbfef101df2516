"""A mixture of Gaussians over whole images, each with a full covariance or one of low rank.

    k ~ weights ──► x ~ N(mean[k], Σ[k])      Σ = W Wᵀ + diag(noise), rank numbers and one variance a pixel
                                              Σ = L Lᵀ, full
    p(x) = Σ_k weights[k] N(x; mean[k], Σ[k])                                              [] → [C,H,W]

What can be asked of Gaussians has its answer in closed form: the density, a draw, the missing pixels given the others,
and the mean of the clean image given a noisy one. With low rank this is the mixture of factor analysers, which models
images of digits or faces about as well as adversarial networks do, in minutes. Fitted by expectation-maximisation in
float64, with a prior that adds `smoothing` images to each component (the mean of which is its own, with the variances
of pixels over all images): so no component can shrink onto a single image.

References: Z. Ghahramani, G. Hinton, "The EM algorithm for mixtures of factor analyzers", 1996; E. Richardson,
Y. Weiss, "On GANs and GMMs", 2018; of the steps, G. McLachlan, D. Peel, "Finite mixture models", 2000, section 8.3.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from imprior.distributions.components import Components, Full, LowRank
from imprior.distributions.draws import categorical, normal
from imprior.errors import RecipeError
from imprior.models.classical import noise_level
from imprior.models.mixture_steps import FullSums, LowRankSums, Sums, from_triangles, raised, triangles
from imprior.models.seeding import gathered, spread
from imprior.promises import Score, Shape, check_shape
from imprior.randomness import generator

# Full covariances of 64x64 grey images: 134 MB a component in double precision. More is a mistake.
MOST_PIXELS = 4_096


@dataclass(frozen=True)
class Config:
    """Settings of a Gaussian mixture.

    Attributes:
        shape: (channels, height, width) of the images; zeros are filled in from the data.
        components: number of Gaussians, K.
        rank: columns of W; None for full covariances.
        smoothing: weight of the prior, in images a component.
        lowest: standard deviations stay above this, the components taking turns. 8-bit levels, made continuous, have
            0.0011 by themselves, and a sharper density would describe their rounding. At that, ink on a pixel where
            others have none costs a hundred thousand nats; components with a higher floor take such images in.
    """

    shape: tuple[int, int, int] = (0, 0, 0)
    components: int = 50
    rank: int | None = 10
    smoothing: float = 0.1
    lowest: tuple[float, ...] = (0.001, 0.001, 0.001, 0.03)

    def __post_init__(self) -> None:
        if self.components < 1:
            raise RecipeError(f"components must be at least 1, not {self.components}")
        if self.rank is not None and self.rank < 1:
            raise RecipeError(f"rank must be at least 1, or none for full covariances, not {self.rank}")
        if not self.smoothing > 0 or not self.lowest or not min(self.lowest) > 0:
            raise RecipeError(f"smoothing and lowest must be above 0, not {self.smoothing} and {self.lowest}")

    def build(self) -> GaussianMixture:
        """The model before it has seen an image."""
        pixels = math.prod(self.shape)
        if self.rank is None and pixels > MOST_PIXELS:
            raise RecipeError(f"full covariances of {pixels:,} pixels are too large: set model.rank=10, or data.size")
        if self.rank is not None and self.rank >= pixels:
            raise RecipeError(f"rank must be below {pixels} for images of {self.shape}, not {self.rank}")
        return GaussianMixture(self)


class GaussianMixture(nn.Module):
    """Keeps Scores (exact), Samples, Denoises (the posterior mean) and Completes (exact, any mask).

    Means and noise are kept as vectors, which packing leaves in float16; W has a row a pixel, each packed with its own
    scale: pixels that hardly vary keep their precision beside others that do.
    """

    levels: int | None = None
    classes: int | None = None

    log_weights: Tensor  # [K]
    mean: Tensor  # [K·D]
    factors: Tensor  # [K·D, rank], W; of low rank only
    log_noise: Tensor  # [K·D]; of low rank only
    triangles: Tensor  # [K·D(D+1)/2], L row by row; of full covariances only
    passes: Tensor  # [], how often `update` has been called

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.shape: Shape = config.shape
        self.seed = int(torch.randint(2**31, ()))  # of the first means; it follows the recipe's seed
        count, pixels = config.components, math.prod(config.shape)
        self.register_buffer("log_weights", torch.full((count,), -math.log(count)))
        self.register_buffer("mean", torch.full((count * pixels,), 0.5))
        if config.rank is None:
            self.register_buffer("triangles", triangles(torch.eye(pixels).expand(count, -1, -1)))
        else:
            self.register_buffer("factors", torch.zeros(count * pixels, config.rank))
            self.register_buffer("log_noise", torch.zeros(count * pixels))
        self.register_buffer("passes", torch.zeros((), dtype=torch.int64))

    @property
    def components(self) -> Components:
        """The Gaussians, in float64."""
        mean = self.mean.double().view(self.config.components, -1)
        if self.config.rank is None:
            return Full(mean, from_triangles(self.triangles.double(), mean))
        factors = self.factors.double().view(*mean.shape, -1)
        return LowRank(mean, factors, self.log_noise.double().exp().view(mean.shape))

    @torch.no_grad()
    def update(self, batches: Iterable[Tensor]) -> float:
        """One step of expectation-maximisation, over all images; the first one draws means to begin with.

        Args:
            batches: all training images, [N, C, H, W] at a time; the first call goes through them twice.

        Returns:
            What the step lowered: minus the mean log-likelihood in nats per image, plus the prior's part, both of the
            model before the step.

        Raises:
            DataError: no images, images of another shape, or fewer different ones than components.
        """
        if not int(self.passes):
            self._start(batches)
        components, log_weights = self.components, self.log_weights.double().log_softmax(0)
        sums: Sums = LowRankSums(components) if isinstance(components, LowRank) else FullSums(components)
        total = torch.zeros((), dtype=torch.float64, device=log_weights.device)
        for x in batches:
            points = self._points(x)
            joint = log_weights + components.log_prob(points)
            evidence = joint.logsumexp(1)
            total += evidence.sum()
            sums.add(points, (joint - evidence[:, None]).exp())
        variance = sums.variance()
        penalty = -self.config.smoothing * components.expected(variance).sum()
        share = sums.share + 10 * torch.finfo(torch.float64).eps
        self._set(share, sums.step(variance, self.config.smoothing, self._floor))
        self.passes += 1
        return float((penalty - total) / sums.count)

    @torch.no_grad()
    def score(
        self, x: Tensor, labels: Tensor | None = None, samples: int = 1, rng: torch.Generator | None = None
    ) -> Score:
        """Minus log-density, exact and in float64.

        Raises:
            DataError: images of another shape.
        """
        joint = self.log_weights.double().log_softmax(0) + self.components.log_prob(self._points(x))
        return Score(-joint.logsumexp(1), "exact", "continuous", "exact")

    @torch.no_grad()
    def sample(self, n: int, rng: torch.Generator, labels: Tensor | None = None) -> Tensor:
        """Draw n images [n, C, H, W]; may leave [0, 1], as Gaussians do."""
        which = categorical(self.log_weights.expand(n, -1), rng)
        return self.components.sample(which, rng).to(self.mean).view(-1, *self.config.shape)

    @torch.no_grad()
    def denoise(self, y: Tensor, sigma: float | None = None) -> Tensor:
        """The mean of the clean image given the noisy one, exact under the mixture.

        E[x | y] = y + sigma² ∇ log p(y), p being the mixture of noisy images: Gaussians with sigma² on the diagonal.

        Args:
            y: [N, C, H, W], may leave [0, 1].
            sigma: standard deviation of white Gaussian noise; None estimates it from each image.

        Raises:
            DataError: images of another shape.

        Reference:
            Efron, 2011, Tweedie's formula and selection bias (equation 1.4).
        """
        if sigma is None:
            return torch.cat([self.denoise(one[None], noise_level(one)) for one in y]) if len(y) else y
        points = self._points(y)
        noisy = self.components.blurred(sigma**2)
        weights = (self.log_weights.double().log_softmax(0) + noisy.log_prob(points)).softmax(1)
        return (points + sigma**2 * noisy.gradient(points, weights)).to(y).view(y.shape)

    @torch.no_grad()
    def complete(self, x: Tensor, known: Tensor, rng: torch.Generator) -> Tensor:
        """Draw what is missing from its exact distribution given the rest.

        Args:
            x: [N, C, H, W]; what stands where it is not known is not looked at.
            known: bool [N, 1, H, W], any mask.
            rng: of the component and the pixels.

        Raises:
            DataError: images of another shape.
        """
        seen = known.expand(x.shape)
        points, log_weights = self._points(torch.where(seen, x, 0)), self.log_weights.double().log_softmax(0)
        components, drawn = self.components, torch.empty_like(points)
        masks, group = torch.unique(seen.flatten(1), dim=0, return_inverse=True)
        for i, mask in enumerate(masks):  # images with equal masks together: they share all inverses
            part = points[group == i]
            which = categorical(log_weights + components.over(mask).log_prob(part[:, mask]), rng)
            drawn[group == i] = components.completed(part, mask, which, rng)
        return torch.where(seen, x, drawn.to(x).view(x.shape))

    def _start(self, batches: Iterable[Tensor]) -> None:
        """Means by a few rounds of k-means, and covariances that hold the images around them."""
        points = gathered((self._points(x) for x in batches), self.mean)
        rng = generator(self.seed, "means")
        mean = spread(points, self.config.components, rng)
        for _ in range(5):
            nearest = (mean.square().sum(1) - 2 * points @ mean.T).argmin(1)
            share = nearest.bincount(minlength=len(mean)).double()
            mean = torch.zeros_like(mean).index_add_(0, nearest, points) / share.clamp_min(1)[:, None]
        residual = points - mean[nearest]
        prior = self.config.smoothing
        variance = points.var(0, correction=0)
        if self.config.rank is None:
            within = (residual.T @ residual + prior * variance.diag()) / (len(points) + prior)
            components: Components = Full(mean, raised(within.expand(len(mean), -1, -1), self._floor))
        else:
            squares = torch.zeros_like(mean).index_add_(0, nearest, residual.square())
            noise = torch.maximum((squares + prior * variance) / (share + prior)[:, None], self._floor[:, None])
            # Random mixtures of the images around a mean: W Wᵀ is half their covariance in expectation.
            mixing = normal((len(points), self.config.rank), rng, points) * (2 * self.config.rank) ** -0.5
            mixed = torch.stack([residual[nearest == k].T @ mixing[nearest == k] for k in range(len(mean))])
            components = LowRank(mean, mixed / share.clamp_min(1).sqrt()[:, None, None], noise)
        self._set(share.clamp_min(1), components)

    @property
    def _floor(self) -> Tensor:
        """Lowest variance of each component, [K]."""
        lowest = torch.tensor(self.config.lowest, dtype=torch.float64, device=self.mean.device)
        return lowest.square()[torch.arange(self.config.components, device=lowest.device) % len(lowest)]

    def _set(self, share: Tensor, components: Components) -> None:
        self.log_weights.copy_(share.log() - share.sum().log())
        self.mean.copy_(components.mean.flatten())
        if isinstance(components, Full):
            self.triangles.copy_(triangles(components.scale))
        elif isinstance(components, LowRank):
            self.factors.copy_(components.factors.flatten(0, 1))
            self.log_noise.copy_(components.noise.log().flatten())

    def _points(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> float64 [N, D]."""
        check_shape(x, self.config.shape)
        return x.flatten(1).to(self.mean.device, torch.float64)
