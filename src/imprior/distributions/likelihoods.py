"""Distributions over images, each the p(x | z) of a decoder or the p(x) of a pixel model.

| class                        | is over             | summed or integrated over that it gives one                  |
|------------------------------|---------------------|--------------------------------------------------------------|
| `Bernoulli`                  | binary images       | yes                                                          |
| `DiscretisedLogisticMixture` | images of 8 bits    | yes                                                          |
| `ContinuousBernoulli`        | images in [0, 1]    | yes: a density, its values depend on the scale of the pixels |
| `Gaussian`                   | images of reals     | the same                                                     |
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from imprior.distributions.draws import sum_event, uniform
from imprior.distributions.gaussian import DiagonalGaussian

EVENT = 3  # an event is an image [C, H, W]
LATTICE = (1, 7, 3, 5)  # odd: each runs once through the multiples of 1/16, and no two of them together


class Bernoulli:
    """Independent binary pixels, by their logits.

    `log_prob` of a grey image is the usual cross-entropy, which is fine to train with but is no likelihood: it neither
    sums nor integrates to one over grey images. Scoring refuses grey images (`bounds.importance_bound`).

    Args:
        logits: [*batch, C, H, W], log p(1) / p(0) of each pixel, any real number.

    >>> Bernoulli(torch.zeros(1, 1, 2, 2)).log_prob(torch.ones(1, 1, 2, 2)).exp()
    tensor([0.0625])
    """

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits

    @property
    def mean(self) -> Tensor:
        """The probability of a one, [*batch, C, H, W]."""
        return self.logits.sigmoid()

    def sample(self, n: int, rng: torch.Generator | None) -> Tensor:
        """[n, *batch, C, H, W] of zeros and ones; not differentiable."""
        draws = uniform((n, *self.logits.shape), rng, self.logits)
        return (draws < self.mean).to(self.logits.dtype)

    def log_prob(self, value: Tensor) -> Tensor:
        """[..., *batch] nats; computed from the logits, so nothing overflows and nothing needs clamping."""
        return sum_event(self._terms(value), EVENT)

    def pixel_log_prob(self, value: Tensor) -> Tensor:
        """Each pixel's part of `log_prob`, its channels together: [..., *batch, H, W] nats."""
        return self._terms(value).sum(-3)

    def _terms(self, value: Tensor) -> Tensor:
        return -F.binary_cross_entropy_with_logits(self.logits.expand_as(value), value, reduction="none")


class ContinuousBernoulli:
    """Independent pixels in [0, 1] of density ∝ exp(logit·x): the cross-entropy of grey pixels, with its normaliser.

    With h = logit / 2 the normaliser is log ∫ exp(logit·x) dx = h + log(sinh h / h). Written by λ = sigmoid(logit) it
    has a hole at λ = ½ where log(tanh⁻¹(1 - 2λ)) cancels; here a series takes over for small h, exact to rounding.

    Args:
        logits: [*batch, C, H, W], any real number.

    Reference:
        Loaiza-Ganem and Cunningham, 2019, The continuous Bernoulli: fixing a pervasive error in variational
        autoencoders, equations 5 to 8.

    >>> ContinuousBernoulli(torch.zeros(1, 1, 2, 2)).log_prob(torch.full((1, 1, 2, 2), 0.3)).abs()
    tensor([0.])
    """

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits

    @property
    def mean(self) -> Tensor:
        """½ + ½ (coth h - 1/h), [*batch, C, H, W]."""
        h = 0.5 * self.logits
        near = h.abs() < NEAR
        away = torch.where(near, 1.0, h)
        return 0.5 + 0.5 * torch.where(near, h * _series(h, LANGEVIN), 1 / away.tanh() - 1 / away)

    def sample(self, n: int, rng: torch.Generator | None) -> Tensor:
        """[n, *batch, C, H, W] in [0, 1], by the inverse of the distribution function; differentiable."""
        draws = uniform((n, *self.logits.shape), rng, self.logits)
        slope = -self.logits.abs().clamp_min(1e-6)  # falling densities only (nothing overflows); rising ones mirrored
        falling = (draws * slope.expm1()).log1p() / slope
        return torch.where(self.logits > 0, 1 - falling, falling)

    def log_prob(self, value: Tensor) -> Tensor:
        """[..., *batch] nats, for value in [0, 1]."""
        return sum_event(self._terms(value), EVENT)

    def pixel_log_prob(self, value: Tensor) -> Tensor:
        """Each pixel's part of `log_prob`, its channels together: [..., *batch, H, W] nats."""
        return self._terms(value).sum(-3)

    def _terms(self, value: Tensor) -> Tensor:
        h = 0.5 * self.logits
        near = h.abs() < NEAR
        away = torch.where(near, 1.0, h.abs())  # the unused branch must not give a NaN gradient
        far = away - (2 * away).log() + (-(-2 * away).expm1()).log()
        log_normaliser = h + torch.where(near, h.square() * _series(h, LOG_SINHC), far)
        return self.logits * value - log_normaliser


NEAR = 0.3  # below, series to six terms: the first one left out is under 1e-15
LANGEVIN = (1 / 3, -1 / 45, 2 / 945, -1 / 4725, 2 / 93555, -1382 / 638512875)  # (coth h - 1/h) / h, in h²
LOG_SINHC = tuple(c / (2 * i + 2) for i, c in enumerate(LANGEVIN))  # log(sinh h / h) / h²: its integral


def _series(h: Tensor, coefficients: tuple[float, ...]) -> Tensor:
    """Σ c_i h^2i."""
    squared, total = h.square(), torch.zeros_like(h)
    for c in reversed(coefficients):
        total = total * squared + c
    return total


class Gaussian(DiagonalGaussian):
    """Independent pixels N(mean, scale²), with the full normaliser: D/2·log 2π + Σ log scale.

    With one fixed scale its minus log-likelihood is the squared error / (2 scale²) plus a constant, so the KL weight
    beta of a VAE with plain squared error is 2 scale². Where the scale is learned, the normaliser is what keeps it from
    running to infinity.

    Args:
        mean: [*batch, C, H, W].
        log_scale: log of the standard deviation on the scale of the pixels, broadcast to the mean: [] fixed or shared,
            [N, 1, 1, 1] per image, [N, C, H, W] per pixel.

    >>> Gaussian(torch.zeros(1, 1, 2, 2), torch.tensor(0.0)).log_prob(torch.zeros(1, 1, 2, 2))
    tensor([-3.6758])
    """

    def __init__(self, mean: Tensor, log_scale: Tensor) -> None:
        super().__init__(mean, 2 * log_scale, event_dims=EVENT)

    def pixel_log_prob(self, value: Tensor) -> Tensor:
        """Each pixel's part of `log_prob`, its channels together: [..., *batch, H, W] nats."""
        return self.terms(value).sum(-3)


class DiscretisedLogisticMixture:
    """Pixels of whole levels: a mixture of logistic densities, the mass between k - ½ and k + ½ being that of level k.

    The tails beyond the first and the last level belong to these, so the masses sum to one. All channels of a pixel
    share the mixture's choice of component, and within a component the location of a channel is shifted linearly by
    the values of the channels before it (red, then green, then blue), as in the reference. Pixels are independent.

    The mass of a level is computed as σ(a) - σ(b) = σ(a)·σ(-b)·(1 - e^(b-a)), whose logarithm is exact in the far
    tails too: no approximation by the density, no clamped probability.

    Args:
        parameters: [N, `channels_wanted(channels, K)`, H, W], first K logits of the components, then for each channel
            K locations and K log-scales (both on the [-1, 1] scale, log-scales kept in [-7, 7]), then for each pair of
            channels j < i K raw coefficients (through tanh).
        channels: C.
        levels: number of levels, level k being the pixel value k / (levels - 1).

    Reference:
        Salimans, Karpathy, Chen and Kingma, 2017, PixelCNN++, sections 2.1 and 2.2.

    >>> p = DiscretisedLogisticMixture(torch.zeros(1, 6, 1, 1), 1, levels=2)
    >>> sum(p.log_prob(torch.full((1, 1, 1, 1), float(x))).exp() for x in (0, 1))
    tensor([1.])
    """

    def __init__(self, parameters: Tensor, channels: int = 1, levels: int = 256) -> None:
        pairs = channels * (channels - 1) // 2
        groups = parameters.reshape(
            len(parameters), 1 + 2 * channels + pairs, -1, *parameters.shape[2:]
        )  # [N, P·K, H, W] → [N, P, K, H, W]
        self.log_weights = groups[:, 0].log_softmax(1)  # [N, K, H, W]
        self.locations = groups[:, 1 : 1 + 2 * channels : 2].unbind(1)
        self.log_scales = groups[:, 2 : 2 + 2 * channels : 2].clamp(-7, 7).unbind(1)
        self.coefficients = groups[:, 1 + 2 * channels :].tanh()
        self.channels = channels
        self.levels = levels

    @staticmethod
    def channels_wanted(channels: int, components: int) -> int:
        """How many parameters a pixel takes: 3K for grey images, 10K for colour."""
        return components * (1 + 2 * channels + channels * (channels - 1) // 2)

    @property
    def mean(self) -> Tensor:
        """[N, C, H, W], exact up to the rounding to levels (at most half of one) for the first channel.

        The mean of a later channel has no closed form, since the values of those before it are clipped to the range:
        it is averaged over a fixed lattice of 16 points in their quantiles, and off by some thousandths of the range
        (by a hundredth where all components are wide).
        """
        weights = self.log_weights.exp()
        total = weights.new_zeros(len(weights), self.channels, *weights.shape[2:])
        points = 1 if self.channels == 1 else 16
        for point in range(points):
            before: list[Tensor] = []
            for channel in range(self.channels):
                location, scale = self._location(channel, before), self.log_scales[channel].exp()
                # E of a logistic clipped to [-1, 1]: its distribution function integrated.
                clipped = scale * (F.softplus((location + 1) / scale) - F.softplus((location - 1) / scale)) - 1
                total[:, channel] += (weights * clipped).sum(1) / points
                quantile = (point * LATTICE[channel % 4] % 16 + 0.5) / 16
                before.append((location + scale * math.log(quantile / (1 - quantile))).clamp(-1, 1))
        return (total + 1) / 2

    def sample(self, n: int, rng: torch.Generator | None) -> Tensor:
        """[n, N, C, H, W] of whole levels; not differentiable."""
        weights = self.log_weights.exp()
        draws = uniform((n, len(weights), 1, *weights.shape[2:]), rng, weights)
        which = (draws > weights.cumsum(1)).sum(2, keepdim=True).clamp_max(weights.shape[1] - 1)  # [n, N, 1, H, W]
        before: list[Tensor] = []  # [n, N, 1, H, W] each, on the [-1, 1] scale
        for channel in range(self.channels):
            location = self._location(channel, before).expand(n, *weights.shape).gather(2, which)
            scale = self.log_scales[channel].exp().expand(n, *weights.shape).gather(2, which)
            u = uniform(which.shape, rng, weights).clamp_min(torch.finfo(weights.dtype).tiny)
            y = ((location + scale * (u.log() - (-u).log1p()) + 1) / 2).clamp(0, 1)
            before.append((y * (self.levels - 1)).round() / (self.levels - 1) * 2 - 1)
        return (torch.cat(before, 2) + 1) / 2

    def log_prob(self, value: Tensor) -> Tensor:
        """[..., N] nats, for value [..., N, C, H, W] of whole levels k / (levels - 1)."""
        return self.pixel_log_prob(value).flatten(-2).sum(-1)

    def pixel_log_prob(self, value: Tensor) -> Tensor:
        """Each pixel's part of `log_prob`, its channels together: [..., N, H, W] nats."""
        assert value.shape[-3] == self.channels
        half = 1 / (self.levels - 1)  # half a level on the [-1, 1] scale
        channels = [2 * v.unsqueeze(-3) - 1 for v in value.unbind(-3)]  # [..., N, 1, H, W] each
        total = self.log_weights
        for channel, y in enumerate(channels):
            centred = y - self._location(channel, channels[:channel])
            inverse = (-self.log_scales[channel]).exp()
            below = torch.where(y > 1 - half, 0.0, F.logsigmoid((centred + half) * inverse))
            above = torch.where(y < half - 1, 0.0, F.logsigmoid((half - centred) * inverse))
            inner = torch.where(y.abs() > 1 - half, 0.0, (-(-2 * half * inverse).expm1()).log())
            total = total + below + above + inner
        return total.logsumexp(-3)  # [..., N, K, H, W] → [..., N, H, W]

    def _location(self, channel: int, before: list[Tensor]) -> Tensor:
        """Locations of a channel given the values (or means) of those before it: [..., N, K, H, W]."""
        location, first = self.locations[channel], channel * (channel - 1) // 2
        for j, y in enumerate(before):
            location = location + self.coefficients[:, first + j] * y
        return location
