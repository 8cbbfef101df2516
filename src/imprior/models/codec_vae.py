"""What the photo codec believes of photographs: the VAE that it is.

    z ~ tables ──► slices of y, each given z and those before it ──► synthesis ──► x̂ ──► x ~ levels about x̂
    [N,side,h/4,w/4]  [N,U,h,w], whole numbers of cells                            [N,C,16h,16w]

Its latents are the integers k that a file holds, and an image has the probability P(x) = Σ_k P(k) P(x | k). P(k) is a
product of masses of cells, by the tables of z and the Gaussians of y; P(x | k) scatters levels about the decoded image.
The encoder takes one k, k*: a posterior that is certain, and of the negative ELBO there remains

    -log P(k*) - log P(x | k*)  =  rate · ln 2 + what the pixels cost given x̂  ≥  -log P(x)

One term of a sum of positive ones is at most the sum: so this is a bound for every image, without draws, whichever k*
the encoder takes. Where a level's weight of the distortion is λ, and pixels are Gaussian about x̂ with the variance
C / (2 · 255² λ ln 2) of `gaussian_noise`, the pixels cost λ · 255² Σ(x̂ - x)² / C · ln 2 and a constant: the loss of
objectives.rate_distortion. (In training a uniform error stands for rounding where the rate is computed: a posterior
that is uniform over a cell, whose entropy is 0. The sum stays the same.)

Scoring and drawing happen at the last level: the bound falls from level to level, since until errors are near a level
of 8 bits a bit of rate saves more than one of the pixels'. The bound holds with any noise. That of λ is what theory
gives for high rates; calibration finds the scale that fits training images best, of a logistic distribution within
8-bit levels (whose tails are long, as those of a codec's errors are).

Images are padded to whole places of z. Given k pixels are independent, so those of the padding sum to one and cost
nothing; what k tells about them is paid for.

References: Kingma & Welling 2014, Auto-encoding variational Bayes; Ballé et al. 2018, Variational image compression
with a scale hyperprior (section 2); Rybkin, Daniilidis & Levine 2021, Simple and effective VAE training with calibrated
decoders (noise that fits).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from imprior.bounds import check_levels
from imprior.distributions.likelihoods import DiscretisedLogisticMixture
from imprior.distributions.quantised import LogisticTables, gaussian_mass, rounded_gaussian
from imprior.models.codec_symbols import LIMIT
from imprior.nn.block_transform import BLOCK, Analysis, Synthesis
from imprior.nn.convolutional import Pad
from imprior.promises import Score, Shape, check_shape

Choose = Callable[[slice, Tensor, Tensor, Tensor], Tensor]  # see PhotoCodec.unfold

FITTED = 8  # images of each batch that the noise is fitted to
# What every integer up to LIMIT has at least, so that no image is impossible. All of these together are so little that
# one in 10^8 crops of 256 x 256 would show one if they were drawn: `latent` leaves them out.
LEAST = 2.0**-60
SCALES = 0.1 * 1.05 ** torch.arange(135).double()  # scales of noise that are tried, in 8-bit levels: 0.1 to 69


@dataclass(frozen=True)
class Settled:
    """The integers that the encoder takes for images.

    Attributes:
        nats: [N] float64, -log P(k*).
        mean: [N, C, 16h, 16w] in [0, 1], decoded.
    """

    nats: Tensor
    mean: Tensor


class ModelsPhotographs(nn.Module):
    """What a codec is as a distribution (models.codec has the networks): keeps Encodes, Scores and Samples."""

    shape: Shape
    anchors: int
    crop: tuple[int, int]  # of training
    basis: Tensor
    spread: Tensor
    analysis: Analysis
    synthesis: Synthesis
    pad: Pad
    side: LogisticTables
    log_noise: Tensor  # [], logarithm of the pixels' scale, as `logistic` gives it

    if TYPE_CHECKING:  # the trained codec has them

        def side_of(self, n: Tensor, level: Tensor) -> Tensor: ...  # noqa: D102
        def unfold(self, side: Tensor, level: Tensor, choose: Choose) -> tuple[list[Tensor], Tensor]: ...  # noqa: D102

    def encode(self, x: Tensor) -> Tensor:
        """Coefficients, before any rounding: [N, C, H, W] -> [N, U, h, w], H and W padded to multiples of 64, / 16.

        Raises:
            DataError: images of another number of channels than the model's.
        """
        check_shape(x, self.shape)
        return self.analysis(self.pad(x) - 0.5, self.basis, self.spread).to(x.dtype)  # type: ignore[no-any-return]

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """The mean image of coefficients: [N, U, h, w] -> [N, C, 16h, 16w] in [0, 1]."""
        return (self.synthesis(z, self.basis, self.spread) + 0.5).clamp(0, 1)  # type: ignore[no-any-return]

    @torch.no_grad()
    def latent(self, n: int, rng: torch.Generator) -> Tensor:
        """Coefficients of n images of the size of the training crops, drawn at the last level: [n, U, h, w].

        z is drawn by its tables, then each slice given z and the slices before it.
        """
        level = self._levels(n)
        height, width = (-(-side // (4 * BLOCK)) for side in self.crop)
        side = self.side.sample((height, width), level, rng)
        return self.unfold(side, level, lambda here, mean, scale, unit: rounded_gaussian(scale, rng))[1]

    @torch.no_grad()
    def sample(self, n: int, rng: torch.Generator, labels: Tensor | None = None) -> Tensor:
        """n images of the size of the training crops: a latent drawn, decoded, and levels k / 255 drawn about it."""
        height, width = self.crop
        mean = self.decode(self.latent(n, rng))[..., :height, :width]
        drawn = torch.cat([self.observation(one).sample(1, rng)[0] for one in torch.split(mean, 1)])
        return (255 * drawn).round() / 255

    @torch.no_grad()
    def score(
        self, x: Tensor, labels: Tensor | None = None, samples: int = 1, rng: torch.Generator | None = None
    ) -> Score:
        """Bound on minus log P(x): what the encoder's integers and then the pixels cost. Nothing is drawn.

        Args:
            x: [N, C, H, W] of any size, whole 8-bit levels.
            labels, samples, rng: not used.

        Raises:
            DataError: values between the 8-bit levels, or another number of channels than the model's.
        """
        check_shape(x, self.shape)
        check_levels(x, 256)
        nats = []
        for one in torch.split(x, 1):  # alone, so that a result doesn't depend on the batch
            settled = self.settled(self.encode(one), self._levels(1))
            pixels = self.observation(settled.mean[..., : x.shape[2], : x.shape[3]]).pixel_log_prob(one)
            nats.append(settled.nats - pixels.double().sum((1, 2)))
        return Score(torch.cat(nats), "bound", "8-bit", "the encoder's integers at the last level, no draws")

    def settled(self, n: Tensor, level: Tensor) -> Settled:
        """Coefficients [N, U, h, w], rounded at levels [N]: what they cost, and what is decoded of them."""
        side = self.side_of(n, level).round().clamp(-LIMIT, LIMIT)
        nats = [_nats(self.side.mass(side.double(), level))]

        def rounded(here: slice, mean: Tensor, scale: Tensor, unit: Tensor) -> Tensor:
            k = ((n[:, here] - mean) * unit).round().clamp(-LIMIT, LIMIT)
            nats.append(_nats(gaussian_mass(k.double(), scale.double())))
            return k

        arrived = self.unfold(side, level, rounded)[1]
        return Settled(torch.stack(nats).sum(0), self.decode(arrived))

    def observation(self, mean: Tensor) -> DiscretisedLogisticMixture:
        """P(x | k) about decoded images [N, C, H, W]: independent pixels of whole levels."""
        channels, zero = mean.shape[1], torch.zeros_like(mean[:, :1])
        scale = self.log_noise.to(mean) + zero
        places = [part for one in torch.split(mean, 1, 1) for part in (2 * one - 1, scale)]
        return DiscretisedLogisticMixture(torch.cat([zero, *places, *[zero] * math.comb(channels, 2)], 1), channels)

    @torch.no_grad()
    def fit_noise(self, batches: Iterable[Tensor]) -> None:
        """Find the scale of the pixels about what is decoded: that of the least bound on these images.

        Args:
            batches: training images [N, C, H, W], of which the first few are taken.
        """
        counts = torch.zeros(511, dtype=torch.float64)  # of each error in levels, from -255
        for x in (batch[:FITTED] for batch in batches):
            mean = self.settled(self.encode(x), self._levels(len(x))).mean
            error = (255 * (x - mean[..., : x.shape[2], : x.shape[3]])).round().long() + 255
            counts += error.flatten().bincount(minlength=511).cpu()
        low = -torch.arange(-255, 256).double().abs()[:, None]
        mass = ((low + 0.5) / SCALES).sigmoid() - ((low - 0.5) / SCALES).sigmoid()
        best = int((counts @ mass.clamp_min(LEAST).log()).argmax())
        self.log_noise.fill_(math.log(2 / 255 * float(SCALES[best])))

    def _levels(self, n: int) -> Tensor:
        """The level that is scored and drawn at, [n]."""
        return torch.full((n,), self.anchors - 1).to(self.spread)


def gaussian_noise(weight: float, channels: int) -> float:
    """Standard deviation, on the [0, 1] scale, of the Gaussian pixels that a weight λ of the distortion stands for.

    >>> round(gaussian_noise(0.13, 3) * 255, 2)  # at the last level of a colour codec, in 8-bit levels
    4.08
    """
    return math.sqrt(channels / (2 * weight * math.log(2))) / 255


def logistic(deviation: float) -> float:
    """Logarithm of a logistic distribution's scale, on the [-1, 1] scale, by its standard deviation on [0, 1]."""
    return math.log(2 * deviation * math.sqrt(3) / math.pi)


def _nats(mass: Tensor) -> Tensor:
    """-log of masses [N, …], of which each integer up to LIMIT has a little: summed over an image, [N]."""
    return -(mass * (1 - LEAST * (2 * LIMIT + 1)) + LEAST).log().sum((1, 2, 3))
