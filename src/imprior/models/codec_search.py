"""Coefficients of a picture whose integers cost less, or show more, than those of the transform: a search.

    grid + moved · cell ──► round up or down by chance ──► rate + distortion ──► gradient ──► moved ──► … ──► colder

What is minimised is what training minimises, for this picture alone and over its coefficients alone; the decoder stays
as it is. Rounding has no gradient, so each coefficient is a draw from the two integers beside it, the nearer one more
likely, made differentiable by the Gumbel-softmax trick; as the temperature falls, draws become integers. z stays. Here
steps are few, tens instead of thousands: draws are less noisy than in the reference, and steps larger.

Reference: Yang, Bamler & Mandt 2020, Improving inference for neural image compression (stochastic Gumbel annealing).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from imprior.distributions.draws import uniform
from imprior.distributions.quantised import CERTAIN, between, gaussian_bits
from imprior.models.codec_whole import RATES, WholeHalf
from imprior.nn.precision import fast_bfloat16
from imprior.promises import Latents
from imprior.randomness import generator

# Chosen by hand on the middles of eight validation photographs, with 60 steps; benchmarks/codec_encoder.py prints what
# they gain there. With the momentum of 0.9 that is usual elsewhere, draws of many steps ago keep coefficients moving.
RATE = 0.06  # cells a step, at most, falling to 0
WARM, COLD = 0.4, 0.15  # temperatures at the start and at the end
MOMENTUM, MEMORY = 0.4, 0.98  # of the gradient and of its square
CHANCE = 0.5  # how much of the noise of a fair draw: with all of it few steps find less, without any they are stuck
STILL = 6.0  # bits a cell: coefficients with a smaller slope than that move less
EDGE = 1e-4  # nearer to an integer than this counts as this near


class Searched(Protocol):
    """The codec, as far as a search needs it."""

    whole: WholeHalf
    anchors: int
    basis: Tensor
    spread: Tensor
    log_gain: nn.Parameter

    def weight(self, level: Tensor) -> Tensor: ...  # noqa: D102
    def settle(self, grid: Tensor, rate: int) -> Latents: ...  # noqa: D102
    def picture(self, grid: Tensor) -> Tensor: ...  # noqa: D102
    def synthesis(self, n: Tensor, basis: Tensor, spread: Tensor) -> Tensor: ...  # noqa: D102

    def unfold(  # noqa: D102
        self, side: Tensor, level: Tensor, choose: Callable[[slice, Tensor, Tensor, Tensor], Tensor]
    ) -> tuple[list[Tensor], Tensor]: ...


def search(
    codec: Searched, grid: Tensor, x: Tensor, rate: int, steps: int, tell: Callable[[int, int], None] | None = None
) -> Tensor:
    """Better coefficients than `grid`, or the same where none were found.

    Args:
        codec: calibrated.
        grid: coefficients to begin with, [N, U, h, w].
        x: what they shall show, [N, C, 16h, 16w].
        rate: 0 to 100.
        steps: how many; the more, the slower the temperature falls.
        tell: is told how many are done, of how many.
    """
    rng = generator(0, "search", device=grid.device)
    level, weight = _level(codec, x, rate), _weight(codec, x, rate)
    gain = between(codec.log_gain, level).detach().exp()[..., None, None]
    cell = 1 / (gain * codec.spread.view(-1, 1, 1))
    moved = torch.zeros_like(grid)
    mean, square = torch.zeros_like(grid), torch.zeros_like(grid)
    side = codec.settle(grid, rate).blocks[0].to(grid)
    for step in range(steps):
        temperature = WARM * (COLD / WARM) ** (step / steps)
        slope = _slope(codec, grid + moved * cell, side, x, level, weight, temperature, rng) * cell
        mean.lerp_(slope, 1 - MOMENTUM)
        square.lerp_(slope.square(), 1 - MEMORY)
        deviation = (square / (1 - MEMORY ** (step + 1))).sqrt_()
        fall = (1 - step / steps) ** 0.5
        moved -= RATE * fall * mean / (1 - MOMENTUM ** (step + 1)) / (deviation + STILL)
        if tell is not None:
            tell(step + 1, steps)
    found = grid + moved * cell
    before, after = (cost(codec, each, x, rate) for each in (grid, found))
    better = after.bits + after.worth < before.bits + before.worth
    return torch.where(better.view(-1, 1, 1, 1), found, grid)


def _slope(
    codec: Searched,
    n: Tensor,
    side: Tensor,
    x: Tensor,
    level: Tensor,
    weight: Tensor,
    temperature: float,
    rng: torch.Generator,
) -> Tensor:
    """The gradient of rate and distortion of coefficients rounded by chance, [N, U, h, w].

    Coefficients that are certain to be their mean are not coded: they have none.
    """
    n = n.requires_grad_()
    bits, coded = [], []

    def by_chance(here: slice, mean: Tensor, scale: Tensor, unit: Tensor) -> Tensor:
        residual = (n[:, here] - mean) * unit
        low = residual.detach().floor()
        above = (residual - low).clamp(EDGE, 1 - EDGE)
        u = uniform(residual.shape, rng, residual).clamp(1e-6, 1 - 1e-6)
        chance = (torch.atanh(above) - torch.atanh(1 - above)) / temperature + CHANCE * u.logit()
        k = low + torch.sigmoid(chance / temperature)
        bits.append(gaussian_bits(k, scale).sum())
        coded.append(scale.detach() > CERTAIN)
        return k

    with torch.autocast(x.device.type, torch.bfloat16) if fast_bfloat16(x) else nullcontext():
        _, arrived = codec.unfold(side, level, by_chance)
        shown = codec.synthesis(arrived, codec.basis, codec.spread).float() + 0.5
    total = torch.stack(bits).sum() + (weight * (shown - x).square().sum((1, 2, 3))).sum()
    return torch.autograd.grad(total, n)[0] * torch.cat(coded, 1)


@dataclass(frozen=True)
class Cost:
    """What a file of coefficients costs.

    Attributes:
        bits: [N], float64.
        worth: [N], what the error is worth in bits.
    """

    bits: Tensor
    worth: Tensor


def cost(codec: Searched, grid: Tensor, x: Tensor, rate: int) -> Cost:
    """Rate and distortion of what a file holds of coefficients [N, U, h, w] that shall show x."""
    z, k, tables, whole = codec.settle(grid, rate).blocks
    shown = codec.picture(whole)
    square = (shown - x).square().sum((1, 2, 3))
    return Cost(codec.whole.bits(z, k, tables, rate), _weight(codec, x, rate) * square)


def _level(codec: Searched, x: Tensor, rate: int) -> Tensor:
    return torch.full((len(x),), rate / (RATES - 1) * (codec.anchors - 1), device=x.device)


def _weight(codec: Searched, x: Tensor, rate: int) -> Tensor:
    """Bits that the square of an error on the [0, 1] scale is worth, [N]."""
    return codec.weight(_level(codec, x, rate)).detach() * 255**2 / x.shape[1]
