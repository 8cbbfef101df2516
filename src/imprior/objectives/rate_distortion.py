"""Rate and distortion: what an image costs and what it loses, at a level drawn for each image.

    loss = mean over images of ( bits + λ · 255² · Σ(x̂ - x)² / C ) · ln 2 / sqrt(λ)

λ, geometric in the level, is what a unit of mean squared error (over C channels, on the 8-bit scale) is worth in bits a
pixel. Up to the division by sqrt(λ), which makes losses of all levels about equally large, and a constant, this is the
negative ELBO of a VAE whose posterior is uniform over a cell and whose pixels are Gaussian of variance
C / (2 · 255² λ ln 2).

References: Ballé et al. 2018, Variational image compression with a scale hyperprior (section 2); Duan et al. 2023, QARV
(one model for all rates).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from imprior.errors import RecipeError
from imprior.parts import Batch, Parts


class Transmission(Protocol):
    """What became of images on their way."""

    @property
    def bits(self) -> Tensor:
        """[N]."""
        ...

    @property
    def x(self) -> Tensor:
        """[N, C, H, W], what arrived."""
        ...


class Transmits(Protocol):
    """A codec that can be trained."""

    anchors: int

    def weight(self, level: Tensor) -> Tensor:
        """λ at levels [N] from 0 to anchors - 1."""
        ...

    def transmit(self, x: Tensor, level: Tensor, rng: torch.Generator | None) -> Transmission:
        """Images through the codec; noise from `rng` stands for rounding, None rounds."""
        ...

    def transmit_settled(self, x: Tensor, level: Tensor) -> Transmission:
        """The same with integers as files have them; the encoder gets no gradient."""
        ...


@dataclass(frozen=True)
class RateDistortion:
    """The objective. The range of λ is the model's, since its levels are.

    Attributes:
        settled: share of the training, at its end, in which the encoder stays as it is and the rest learns from
            integers as files have them.
    """

    settled: float = 0.25

    def __post_init__(self) -> None:
        if not 0 <= self.settled <= 1:
            raise RecipeError(f"objective.settled is a share from 0 to 1, not {self.settled}")

    def __call__(
        self, model: Transmits, batch: Batch, *, rng: torch.Generator, progress: float, player: str | None = None
    ) -> Parts:
        """The loss of a batch, in nats per image over sqrt(λ).

        Args:
            model: what is trained.
            batch: images.
            rng: of levels and rounding errors.
            progress: share of the training that is done.
            player: not used; this objective has one.

        Returns:
            Report: `bpp`, bits a pixel; `psnr`, of the mean squared error over the batch, in dB.
        """
        x = batch.x
        # One level in each of N equal parts of the range, in random order: a batch has all rates in it.
        order = torch.randperm(len(x), generator=rng, device=rng.device)
        level = (order + torch.rand(len(x), generator=rng, device=rng.device)) / len(x) * (model.anchors - 1)
        settled = progress >= 1 - self.settled
        sent = model.transmit_settled(x, level.to(x)) if settled else model.transmit(x, level.to(x), rng)
        square = (sent.x - x).square().sum((1, 2, 3))
        weight = model.weight(level.to(x))
        loss = (sent.bits + weight * 255**2 * square / x.shape[1]) * math.log(2) / weight.sqrt()
        pixels = x[0, 0].numel()
        mse = square.detach().mean() / x[0].numel()
        return Parts(loss.mean(), {"bpp": sent.bits.detach().mean() / pixels, "psnr": -10 * mse.log10()})
