"""Flows over images of whole levels: what lies between the levels 0 … K-1 of a pixel and the real numbers of a flow.

    k ──► noise in the level: k + u, u in (0, 1) ──► levels: y = logit F(k + u) ──► flow ──► z ~ N(0, 1)

A flow gives a density p; the probability of an image of levels is the integral of p over its bin, k + (0, 1)^D, and

    log P(k)  ≥  E_q log 1/S Σ p(k + u_s) / q(u_s | k)  ≥  E_q log p(k + u) - log q(u | k)       u_s ~ q(· | k)

F is a distribution function over (0, K), linear within each level: the learned masses of the levels, cumulated. So
pixels of the marginal distribution F become a bell around 0, and 80 % black pixels fill most of the line instead of one
spike in it; and the model has no density beyond the levels, so that all images together have probability one.

References: Theis, van den Oord and Bethge, 2016, A note on the evaluation of generative models, section 3.1 (uniform
noise); Ho, Chen, Srinivas, Duan and Abbeel, 2019, Flow++, sections 3.1 and 4 (variational dequantisation, and the
importance-weighted bound).
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imprior import bounds
from imprior.distributions.draws import normal, uniform
from imprior.distributions.gaussian import LOG_2PI
from imprior.errors import RecipeError
from imprior.nn.convolutional import Crop, Pad
from imprior.nn.flow_layers import Affine
from imprior.promises import Score, Shape, check_shape, space_of

GAIN = 10.0  # logits of the levels' masses are 10 times their parameters: they have far to go (black: 0.4 % to 95 %)
LOGISTIC = math.pi / math.sqrt(3)  # standard deviation of a logistic number: y has one of 1
AT_ONCE = 800_000  # pixels scored at a time


@dataclass(frozen=True)
class Uniform:
    """u is uniform in each level's bin."""

    def build(self, shape: tuple[int, int, int]) -> nn.Module:
        """The noise for images of `shape`."""
        return UniformNoise()


@dataclass(frozen=True)
class Variational:
    """u comes from a small flow that sees the image; trained with the model, for the same bound.

    Attributes:
        couplings: each changes every other pixel's noise, given the image and the noise of the other pixels.
        hidden: channels of their networks, on a grid of half the image's size.
    """

    couplings: int = 2
    hidden: int = 32

    def __post_init__(self) -> None:
        if self.couplings < 1 or self.hidden < 1:
            raise RecipeError("dequantisation wants at least 1 coupling and 1 hidden channel")

    def build(self, shape: tuple[int, int, int]) -> nn.Module:
        """The noise for images of `shape`."""
        return VariationalNoise(self, shape)


class UniformNoise(nn.Module):
    """u as it is drawn."""

    name = "uniform"

    def forward(self, x: Tensor, draws: Tensor) -> tuple[Tensor, Tensor]:
        """Images x, and draws uniform in [0, 1], [N, C, H, W] each -> u in (0, 1) and log q(u | x) [N]."""
        return _inside(draws), x.new_zeros(len(x))


class VariationalNoise(nn.Module):
    """u = sigmoid(couplings(logit of a uniform draw | x)); at the start uniform."""

    name = "variational"

    mask: Tensor  # [1, H, W], 1 on the black fields of a chess board

    def __init__(self, settings: Variational, shape: tuple[int, int, int]) -> None:
        super().__init__()
        channels, height, width = shape
        half = (8 * channels, -(-height // 2), -(-width // 2))  # image and noise, 2 x 2 pixels at a place
        self.networks = nn.ModuleList(
            Affine(half, settings.hidden, 4 * channels, bound=2.0) for _ in range(settings.couplings)
        )
        self.pad, self.crop = Pad(2), Crop(height, width)
        board = (torch.arange(height)[:, None] + torch.arange(width)) % 2
        self.register_buffer("mask", board[None].float(), persistent=False)

    def forward(self, x: Tensor, draws: Tensor) -> tuple[Tensor, Tensor]:
        """Images x, and draws uniform in [0, 1], [N, C, H, W] each -> u in (0, 1) and log q(u | x) [N]."""
        v = _inside(draws).logit()
        log_q = _log_slope(v)
        for i, network in enumerate(self.networks):
            changed = self.mask if i % 2 == 0 else 1 - self.mask
            given = F.pixel_unshuffle(self.pad(torch.cat((2 * x - 1, v * (1 - changed)), 1)), 2)
            log_scale, shift = (self.crop(F.pixel_shuffle(part, 2)) * changed for part in network(given))
            v = torch.addcmul(shift, v, log_scale.exp())
            log_q = log_q - log_scale
        return v.sigmoid(), (log_q - _log_slope(v)).flatten(1).sum(1)


def _log_slope(v: Tensor) -> Tensor:
    """log of the derivative of sigmoid(v), which is also the log-density of a logistic number."""
    return -F.softplus(v) - F.softplus(-v)


def _inside(u: Tensor) -> Tensor:
    """[0, 1] -> (0, 1): rounding must not put noise on an edge of the first or last bin."""
    tiny = torch.finfo(u.dtype).eps
    return u.clamp(tiny, 1 - tiny)


class Levels(nn.Module):
    """y = logit(F(k + u)) / (π / √3) with learned masses of the levels, equal ones at the start.

    The logit, not the normal quantile function: its tails are heavier than a Gaussian's, so a flow that stretches y
    keeps a density that is bounded in u. (With normal tails it would have peaks at the ends of the first and the last
    bin, which uniform noise hardly ever meets.)

    Args:
        levels: K.
    """

    def __init__(self, levels: int) -> None:
        super().__init__()
        self.levels = levels
        self.logits = nn.Parameter(torch.zeros(levels))

    def forward(self, k: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """Levels k (int64) and u in (0, 1), [N, C, H, W] each -> y of the same shape, and log |det dy/du| [N]."""
        mass, below, above, log_mass = F.embedding(k, torch.stack(self._tables(), 1)).unbind(-1)
        u = _inside(u)
        log_below, log_above = (below + mass * u).log(), (above + mass * (1 - u)).log()
        log_det = log_mass - log_below - log_above - math.log(LOGISTIC)
        return (log_below - log_above) / LOGISTIC, log_det.flatten(1).sum(1)

    def inverse(self, y: Tensor) -> Tensor:
        """y [N, C, H, W] -> k + u in [0, K], in float64 (in float32 a level of small mass would be one point)."""
        mass, below, _, _ = (table.detach().double() for table in self._tables())
        cumulated = (LOGISTIC * y.double()).sigmoid()
        k = (torch.searchsorted(below, cumulated.contiguous(), right=True) - 1).clamp_min(0)
        u: Tensor = ((cumulated - below[k]) / mass[k]).clamp(0, 1)
        return k + u

    def _tables(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Mass of each level, of those below it, of those above it, and log mass: [K] each."""
        log_mass = (GAIN * self.logits).log_softmax(0)
        mass = log_mass.exp()
        # Sums of the others, not 1 - mass: of the little that is left beside black, rounding would take all.
        below = F.pad(mass[:-1].cumsum(0), (1, 0))
        above = F.pad(mass[1:].flip(0).cumsum(0).flip(0), (0, 1))
        return mass, below, above, log_mass


class DequantisedFlow(nn.Module):
    """What flows over images of levels promise: Decodes, Encodes, Scores (a bound) and Samples.

    A latent is all that the flow gives, as one vector: as many numbers as the image has pixels and channels. Encoding
    is exact inversion: `decode(encode(x))` is x to rounding, for any image of whole levels.

    Args:
        shape: (channels, height, width) of the images.
        levels: K; level k of a pixel is k / (K - 1).
        dequantisation: the noise.
    """

    classes: int | None = None
    temperature: float = 1.0  # of `sample`: the standard deviation of the latents that are drawn

    def __init__(self, shape: tuple[int, int, int], levels: int, dequantisation: Uniform | Variational) -> None:
        super().__init__()
        self.shape: Shape = shape
        self.levels: int | None = levels
        self.top = levels - 1  # the level of white
        self.size = shape
        self.noise = dequantisation.build(shape)
        self.marginal = Levels(levels)

    @abstractmethod
    def transform(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """The flow: y [N, C, H, W] -> z [N, C·H·W] and log |det dz/dy| [N]."""

    @abstractmethod
    def invert(self, z: Tensor) -> Tensor:
        """The flow backwards: z [N, C·H·W] -> y [N, C, H, W]."""

    def log_prob(self, x: Tensor, labels: Tensor | None = None, *, rng: torch.Generator | None = None) -> Tensor:
        """An estimate, by one draw of the noise, of the lower bound on log P(x): [N] nats, differentiable."""
        return self._bound(self._checked(x), uniform(x.shape, rng, x))

    def encode(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C·H·W], from the middle of each level's bin; values between levels go on linearly.

        Raises:
            DataError: images of another shape than the model's.
        """
        v = self._checked(x).clamp(0, 1) * self.top + 0.5
        k = v.floor()
        return self.transform(self.marginal(k.long(), v - k)[0])[0]

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """[N, C·H·W] -> [N, C, H, W] in [0, 1], not rounded to levels."""
        v = self.marginal.inverse(self.invert(z))
        return ((v - 0.5) / self.top).clamp(0, 1).to(z.dtype)

    def latent(self, n: int, rng: torch.Generator) -> Tensor:
        """Draw n latents from N(0, 1): [n, C·H·W]."""
        return normal((n, math.prod(self.size)), rng, self.marginal.logits)

    def sample(self, n: int, rng: torch.Generator, labels: Tensor | None = None) -> Tensor:
        """Draw n images of whole levels."""
        z = self.temperature * self.latent(n, rng)
        v: Tensor = self.marginal.inverse(self.invert(z))
        return v.floor().clamp_max(self.top).to(z.dtype) / self.top

    @torch.no_grad()
    def score(
        self, x: Tensor, labels: Tensor | None = None, samples: int = 1, rng: torch.Generator | None = None
    ) -> Score:
        """Bound on minus log P(x): importance-weighted over draws of the noise in the levels' bins.

        Args:
            x: [N, C, H, W] of whole levels.
            labels: not used.
            samples: draws for each image, each image's from a generator of its own.
            rng: where they come from; a fixed seed if None.

        Raises:
            DataError: images of another shape, or values between the levels.
        """
        bounds.check_levels(self._checked(x), self.levels)
        generators = bounds.own_generators(x, rng)
        block = min(samples, bounds.BLOCK)
        group = max(1, AT_ONCE // (block * x[:1].numel()))
        total = x.new_full((len(x),), -math.inf, dtype=torch.float64)
        for i in range(0, len(x), group):
            for start in range(0, samples, block):
                n = min(block, samples - start)
                images = x[i : i + group]
                draws = torch.stack([uniform((n, *self.size), own, x) for own in generators[i : i + group]])
                repeated = images[:, None].expand_as(draws).flatten(0, 1)
                log_weights = self._bound(repeated, draws.flatten(0, 1)).double().view(-1, n)
                total[i : i + group] = torch.logaddexp(total[i : i + group], log_weights.logsumexp(1))
        protocol = f"dequantised ({self.noise.name}), importance-weighted, {samples} samples"
        return Score(math.log(samples) - total, "bound", space_of(self), protocol)

    def _bound(self, x: Tensor, draws: Tensor) -> Tensor:
        """log p(k + u) - log q(u | k) at the u that the noise makes of uniform draws: [N]."""
        u, log_q = self.noise(x, draws)
        y, log_det = self.marginal((x * self.top).round().long(), u)
        z, more = self.transform(y)
        return log_det + more - log_q - 0.5 * (z.square().sum(1) + z.shape[1] * LOG_2PI)  # type: ignore[no-any-return]

    def _checked(self, x: Tensor) -> Tensor:
        check_shape(x, self.size)
        return x
