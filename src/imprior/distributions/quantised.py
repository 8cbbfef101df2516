"""Integers and what they cost: the distributions of rounded latents, and rounding that can be trained through.

A latent v rounded to an integer has the mass that its density puts on [k - ½, k + ½]. In training a uniform number in
[-½, ½) stands for the rounding error, so that the mass is differentiable in v: in expectation it is the density of
v plus that noise, an upper bound on the rate (Ballé et al. 2017, End-to-end optimized image compression, section 3).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from imprior.distributions.draws import normal, uniform

LEAST_SCALE = 0.11  # of a Gaussian whose cells are 1 wide: 99.9995 % of it lie in the middle one
CERTAIN = 1.06 * LEAST_SCALE  # where scales come in steps, those up to here are the least
LEAST_MASS = 1e-9  # what no value goes below in training: 30 bits


def noisy(v: Tensor, rng: torch.Generator | None) -> Tensor:
    """v with a uniform rounding error from `rng`; rounded where that is None."""
    return v.round() if rng is None else v + uniform(v.shape, rng, v) - 0.5


def straight_through(v: Tensor) -> Tensor:
    """v rounded, with the gradient of v."""
    return v + (v.round() - v).detach()


def rounded_by_worth(v: Tensor, scale: Tensor, worth: Tensor) -> Tensor:
    """v rounded, or a step nearer to 0 where the bits that saves under N(0, scale²) are worth more than the error.

    Values whose scale is hardly more than the least are certain, and 0.

    Args:
        v, scale: of one shape.
        worth: bits that the square of an error is worth; it broadcasts with v.

    Reference:
        Sullivan & Wiegand 1998, Rate-distortion optimization for video compression (quantisation as a decision).
    """
    k = v.round()
    less = k - k.sign()
    saved = gaussian_bits(k, scale) - gaussian_bits(less, scale)
    k = torch.where(worth * ((less - v).square() - (k - v).square()) < saved, less, k)
    return torch.where(scale > CERTAIN, k, 0)


def gaussian_bits(v: Tensor, scale: Tensor) -> Tensor:
    """Bits of the cell [v - ½, v + ½] under N(0, scale²), of the shape of v.

    >>> gaussian_bits(torch.tensor([0.0, 1.0]), torch.tensor([0.01, 0.5])).round(decimals=3)  # the first is certain
    tensor([0.0000, 2.6680])
    """
    return -gaussian_mass(v, scale).clamp_min(LEAST_MASS).log2()


def gaussian_mass(v: Tensor, scale: Tensor) -> Tensor:
    """Mass of the cell [v - ½, v + ½] under N(0, scale²), of the shape of v: over all integers they sum to one."""
    scale = scale.clamp_min(LEAST_SCALE)
    # By symmetry in the lower tail, where differences of the distribution function keep their precision.
    low = -v.abs()
    return _normal((low + 0.5) / scale) - _normal((low - 0.5) / scale)


def rounded_gaussian(scale: Tensor, rng: torch.Generator) -> Tensor:
    """A whole number from each of the distributions whose masses are `gaussian_mass`, of the shape of scale."""
    return (scale.clamp_min(LEAST_SCALE) * normal(scale.shape, rng, scale)).round()


def _normal(t: Tensor) -> Tensor:
    return 0.5 * torch.erfc(-math.sqrt(0.5) * t)


class LogisticTables(nn.Module):
    """A mixture of logistic distributions for each channel, at each of several anchor levels.

    Levels between the anchors have parameters between theirs.

    Args:
        channels: C.
        levels: anchors.
        components: logistics in each mixture.
    """

    def __init__(self, channels: int, levels: int, components: int = 3) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(levels, channels, components))
        spread = torch.linspace(-1, 1, components) if components > 1 else torch.zeros(1)
        self.location = nn.Parameter(spread.expand(levels, channels, components).clone())
        self.log_scale = nn.Parameter(torch.full((levels, channels, components), 0.5))

    def bits(self, v: Tensor, level: Tensor) -> Tensor:
        """Bits of the cell [v - ½, v + ½] for v [N, C, h, w] at levels [N]: [N, C, h, w]."""
        return -self.mass(v, level).clamp_min(LEAST_MASS).log2()

    def mass(self, v: Tensor, level: Tensor) -> Tensor:
        """Mass of the cell [v - ½, v + ½], of the shape of v: over all integers they sum to one."""
        weights, location, scale = self._mixture(level)
        t = v[..., None] - location
        # In the lower tail, where differences of the distribution function keep their precision.
        low = -t.abs()
        mass = ((low + 0.5) / scale).sigmoid() - ((low - 0.5) / scale).sigmoid()
        return (weights * mass).sum(-1)

    def sample(self, size: tuple[int, int], level: Tensor, rng: torch.Generator) -> Tensor:
        """Whole numbers with these masses, at levels [N]: [N, C, *size]."""
        weights, location, scale = self._mixture(level)
        shape = (len(weights), weights.shape[1], *size)
        which = (uniform((*shape, 1), rng, weights) > weights.cumsum(-1)).sum(-1, keepdim=True)
        which = which.clamp_max(weights.shape[-1] - 1)
        location, scale = (t.expand(*shape, -1).gather(-1, which)[..., 0] for t in (location, scale))
        u = uniform(shape, rng, weights).clamp_min(torch.finfo(weights.dtype).tiny)
        return (location + scale * (u.log() - (-u).log1p())).round()

    def _mixture(self, level: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Weights, locations and scales at levels [N], each [N, C, 1, 1, K]."""
        weights = between(self.logits, level).softmax(-1)
        scale = between(self.log_scale, level).clamp(-4, 8).exp()
        return tuple(t[:, :, None, None] for t in (weights, between(self.location, level), scale))  # type: ignore[return-value]


def between(anchors: Tensor, level: Tensor) -> Tensor:
    """Rows of anchors [L, …] at levels [N] from 0 to L - 1, linearly between neighbours: [N, …].

    >>> between(torch.tensor([[0.0], [10.0], [40.0]]), torch.tensor([0.5, 2.0])).flatten()
    tensor([ 5., 40.])
    """
    low = level.floor().clamp(0, max(0, len(anchors) - 2)).long()
    part = (level - low).view(-1, *[1] * (anchors.dim() - 1))
    high = (low + 1).clamp(max=len(anchors) - 1)
    return torch.lerp(anchors[low], anchors[high], part.to(anchors))
