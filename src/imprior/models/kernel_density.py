"""A kernel density: the training images themselves, each with noise around it. What every model should beat.

    i ~ uniform ──► image_i ──► + bandwidth · ε        p(x) = 1/n Σ_i N(x; image_i, bandwidth²)           8-bit images
    i ~ uniform ──► image_i ──► bits, some flipped     p(x) = 1/n Σ_i Π_d Bernoulli(x_d; p_i,d)           binary images
                                                              p_i,d = flip + (1 - 2 flip) image_i,d

Nothing is fitted but one number, the width of the kernel, which is the best of a grid by the likelihood of training
images that are not stored. All that can be asked of the density has its answer in closed form.

References: E. Parzen, "On estimation of a probability density function and mode", 1962; for bits, J. Aitchison,
C. Aitken, "Multivariate binary discrimination by the kernel method", 1976.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from imprior.bounds import check_levels
from imprior.distributions.draws import categorical, normal, uniform
from imprior.distributions.gaussian import LOG_2PI
from imprior.errors import DataError, RecipeError
from imprior.models.bernoulli_mixture import bernoulli_log_prob
from imprior.models.classical import noise_level
from imprior.promises import Score, Shape, check_shape
from imprior.randomness import generator

HELD_OUT = 2000  # at most so many further images choose the width
WIDTHS = 10.0 ** torch.linspace(-2, 0, 60, dtype=torch.float64)  # standard deviations on the [0, 1] scale
FLIPS = 10.0 ** torch.linspace(-3.5, -0.5, 40, dtype=torch.float64)  # probabilities
PART = 500  # images that are compared with all stored ones at a time


@dataclass(frozen=True)
class Config:
    """Settings of a kernel density.

    Attributes:
        shape: (channels, height, width) of the images; zeros are filled in from the data.
        size: how many training images are stored, drawn at random; they are the model's weights, a byte a pixel.
        kernel: "gaussian" (a density) or "bernoulli" (probabilities of binary images; grey ones are stored as such).
    """

    shape: tuple[int, int, int] = (0, 0, 0)
    size: int = 2000
    kernel: Literal["gaussian", "bernoulli"] = "gaussian"

    def __post_init__(self) -> None:
        if self.size < 1:
            raise RecipeError(f"size must be at least 1, not {self.size}")

    def build(self) -> KernelDensity:
        """The model before it has seen an image."""
        return GaussianKernels(self) if self.kernel == "gaussian" else BernoulliKernels(self)


class KernelDensity(nn.Module):
    """What both kernels share; keeps Scores (exact), Samples and Completes (exact, any mask)."""

    levels: int | None
    classes: int | None = None

    images: Tensor  # uint8 [size, C, H, W], levels 0 … 255
    width: Tensor  # [], of the kernel: a standard deviation, or the probability that a bit is flipped

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.shape: Shape = config.shape
        self.seed = int(torch.randint(2**31, ()))  # of the choice of images; it follows the recipe's seed
        self.register_buffer("images", torch.zeros(config.size, *config.shape, dtype=torch.uint8))
        self.register_buffer("width", torch.tensor(0.25))

    @torch.no_grad()
    def update(self, batches: Iterable[Tensor]) -> float:
        """Store images and choose the width; one pass does it, and a second one changes nothing.

        Args:
            batches: all training images, [N, C, H, W] at a time; they are stored as 8-bit levels.

        Returns:
            Minus the mean log-likelihood of the images that chose the width, in nats per image.

        Raises:
            DataError: images of another shape, or fewer than the model stores and one more.
        """
        found = [(256 * self._checked(x)).floor().clamp(0, 255).to(torch.uint8) for x in batches]
        count, size = sum(map(len, found)), self.config.size
        if count <= size:
            raise DataError(
                f"{count:,} images are too few to store {size:,} and choose a width by others: "
                f"set model.size={max(1, count // 2)} or less"
            )
        chosen = torch.randperm(count, generator=generator(self.seed, "stored"))[: size + HELD_OUT]
        levels = torch.cat(found).to(self.images.device)[chosen.to(self.images.device)]
        self.images.copy_(levels[:size])
        reached = self._losses(levels[size:])
        best = int(reached.argmin())
        self.width.copy_(self._grid[best])
        return float(reached[best])

    @torch.no_grad()
    def score(
        self, x: Tensor, labels: Tensor | None = None, samples: int = 1, rng: torch.Generator | None = None
    ) -> Score:
        """Minus log-likelihood, exact and in float64.

        Raises:
            DataError: images of another shape; grey ones where the kernel is for bits.
        """
        points = self._points(x)
        nats = [-self._joint(part, torch.ones_like(part)).logsumexp(1) for part in torch.split(points, PART)]
        space: Literal["binary", "continuous"] = "binary" if self.levels == 2 else "continuous"
        return Score(torch.cat(nats) if nats else points.new_zeros(0), "exact", space, "exact")

    @torch.no_grad()
    def sample(self, n: int, rng: torch.Generator, labels: Tensor | None = None) -> Tensor:
        """Draw n images [n, C, H, W]: stored ones with the kernel's noise."""
        which = torch.randint(len(self.images), (n,), generator=rng, device=rng.device).to(self.images.device)
        return self._drawn(which, rng)

    @torch.no_grad()
    def complete(self, x: Tensor, known: Tensor, rng: torch.Generator) -> Tensor:
        """Draw what is missing from its exact distribution given the rest.

        Args:
            x: [N, C, H, W]; what stands where it is not known is not looked at.
            known: bool [N, 1, H, W], any mask.
            rng: of the stored image and its noise.

        Raises:
            DataError: images of another shape; grey ones where the kernel is for bits.
        """
        seen = known.expand(x.shape)
        points = self._points(torch.where(seen, x, 0))
        which = categorical(self._joint(points, seen.flatten(1).to(points)), rng)
        return torch.where(seen, x, self._drawn(which, rng).to(x))

    @property
    @abstractmethod
    def _grid(self) -> Tensor:
        """Widths to choose from."""

    @abstractmethod
    def _losses(self, levels: Tensor) -> Tensor:
        """Minus mean log-likelihood of further images, uint8 [N, C, H, W], for each width of the grid."""

    @abstractmethod
    def _joint(self, points: Tensor, known: Tensor) -> Tensor:
        """log 1/n p(known pixels | stored image) for points and masks [N, D] (0 where not known): [N, size]."""

    @abstractmethod
    def _drawn(self, which: Tensor, rng: torch.Generator) -> Tensor:
        """The stored images `which` [n] with noise, [n, C, H, W]."""

    def _points(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> float64 [N, D]."""
        check_levels(self._checked(x), self.levels)
        return x.flatten(1).to(self.width.device, torch.float64)

    def _checked(self, x: Tensor) -> Tensor:
        check_shape(x, self.config.shape)
        return x


class GaussianKernels(KernelDensity):
    """A density around the middles of the stored levels' bins, (k + ½) / 256; keeps Denoises as well."""

    levels: int | None = None

    @torch.no_grad()
    def denoise(self, y: Tensor, sigma: float | None = None) -> Tensor:
        """The mean of the clean image given the noisy one: a weighted mean of stored images, and a little of y itself.

        Args:
            y: [N, C, H, W], may leave [0, 1].
            sigma: standard deviation of white Gaussian noise; None estimates it from each image.

        Raises:
            DataError: images of another shape.

        Reference:
            Nadaraya, 1964, On estimating regression; Watson, 1964, Smooth regression analysis.
        """
        if sigma is None:
            return torch.cat([self.denoise(one[None], noise_level(one)) for one in y]) if len(y) else y
        points, variance = self._points(y), self.width.double().square()
        weights = (-0.5 * self._distance(points) / (variance + sigma**2)).softmax(1)
        own = variance / (variance + sigma**2)
        return ((1 - own) * (weights @ self._centres) + own * points).to(y).view(y.shape)

    @property
    def _grid(self) -> Tensor:
        return WIDTHS

    def _losses(self, levels: Tensor) -> Tensor:
        distance = self._distance((levels.flatten(1).double() + 0.5) / 256)
        return torch.stack([-_gaussian(distance, w.to(distance), levels[0].numel()).mean() for w in WIDTHS])

    def _joint(self, points: Tensor, known: Tensor) -> Tensor:
        variance = self.width.double().square()
        normaliser = 0.5 * known.sum(1, keepdim=True) * (LOG_2PI + variance.log())
        return -0.5 * self._distance(points, known) / variance - normaliser - math.log(len(self.images))

    def _drawn(self, which: Tensor, rng: torch.Generator) -> Tensor:
        x = ((self.images[which].to(self.width) + 0.5) / 256).to(self.width)
        return x + self.width * normal(x.shape, rng, x)

    @property
    def _centres(self) -> Tensor:
        """[size, D], float64."""
        return (self.images.flatten(1).double() + 0.5) / 256

    def _distance(self, points: Tensor, known: Tensor | None = None) -> Tensor:
        """Squared distances to the stored images over the known pixels, [N, size]."""
        centres = self._centres
        own = centres.square().sum(1) if known is None else known @ centres.square().T
        return (points.square().sum(1, keepdim=True) - 2 * points @ centres.T + own).clamp_min(0)


class BernoulliKernels(KernelDensity):
    """Bits of the stored images, flipped with one probability; a grey level is the probability of a one."""

    levels: int | None = 2

    @property
    def _grid(self) -> Tensor:
        return FLIPS

    def _losses(self, levels: Tensor) -> Tensor:
        grey = levels.flatten(1).double() / 255
        bits = (uniform(grey.shape, generator(self.seed, "bits"), grey) < grey).double()
        return torch.stack([-self._log_prob(bits, torch.ones_like(bits), flip).logsumexp(1).mean() for flip in FLIPS])

    def _joint(self, points: Tensor, known: Tensor) -> Tensor:
        return self._log_prob(points.round(), known, self.width)

    def _drawn(self, which: Tensor, rng: torch.Generator) -> Tensor:
        p = self._probabilities(self.width)[which]
        return (uniform(p.shape, rng, p) < p).to(self.width).view(-1, *self.config.shape)

    def _log_prob(self, bits: Tensor, known: Tensor, flip: Tensor) -> Tensor:
        p = self._probabilities(flip)
        return bernoulli_log_prob(bits, known, p.log(), (-p).log1p()) - math.log(len(self.images))

    def _probabilities(self, flip: Tensor) -> Tensor:
        """Of a one, [size, D], float64."""
        flip = flip.to(self.images.device, torch.float64)
        return flip + (1 - 2 * flip) * (self.images.flatten(1).double() / 255)


def _gaussian(distance: Tensor, width: Tensor, pixels: int) -> Tensor:
    """Log-densities [N] by squared distances [N, size] to all stored images."""
    normaliser = 0.5 * pixels * (LOG_2PI + 2 * width.log()) + math.log(distance.shape[1])
    return (-0.5 * distance / width.square()).logsumexp(1) - normaliser
