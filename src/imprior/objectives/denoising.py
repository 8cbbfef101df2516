"""Denoising: the squared error at every level of noise alike, and the level itself.

    loss = Σ over pixels of (denoise(y, sigma) - x)² / (0.1 sigma² + floor) + Σ over blocks of (s + m / exp s)

m is the mean square of y - x in a block and s its estimated logarithm: twice the Gaussian negative log-likelihood of
the noise, whose least expectation is at exp s = E[m | y]. The weight makes errors of all levels about equally large (a
good denoiser leaves about a tenth of the noise's energy), so that no level is learned at the cost of another; the
minimum for each (y, sigma) is the mean of the clean images whatever the weight.

References: Vincent et al. 2008; Zhang et al. 2018, FFDNet; Karras et al. 2022, Elucidating the design space of
diffusion-based generative models (section 5, weights over levels).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from imprior.errors import DataError, RecipeError
from imprior.parts import Batch, Parts
from imprior.promises import DenoisesLocally


class EstimatesNoise(DenoisesLocally, Protocol):
    """A denoiser whose estimate of the noise can be trained."""

    def log_variance(self, y: Tensor) -> Tensor:
        """Logarithm of the mean square of the noise in each block: [N, C, H, W] -> [N, 1, ⌈H/stride⌉, ⌈W/stride⌉]."""
        ...


@dataclass(frozen=True)
class Denoising:
    """Settings of the objective, which is also the objective: call it.

    Attributes:
        floor: mean squared error, on the [0, 1] scale, below which an error counts for little.
    """

    floor: float = 1e-4

    def __post_init__(self) -> None:
        if not self.floor > 0:
            raise RecipeError(f"floor is above 0, not {self.floor}")

    def __call__(
        self, model: EstimatesNoise, batch: Batch, *, rng: torch.Generator, progress: float, player: str | None = None
    ) -> Parts:
        """The loss of a batch.

        Args:
            model: what is trained.
            batch: images with their corrupted ones and the level of the noise, one number or a map each.
            rng: not used; the noise is in the batch.
            progress: not used; this objective is the same throughout.
            player: not used; this objective has one.

        Returns:
            Report: `error`, the weighted squared error per number; `level`, the root mean square of the relative error
            of estimated sigmas of blocks, as a logarithm.

        Raises:
            DataError: nothing was corrupted.
        """
        y, sigma = batch.corrupted, batch.sigma
        if y is None or sigma is None:
            raise DataError("a denoiser is trained on noisy images: set data.corruption.kind")
        weight = 1 / (0.1 * sigma.view(len(y), 1, *(sigma.shape[2:] or (1, 1))).square() + self.floor)
        error = (weight * (model.denoise(y, sigma) - batch.x).square()).sum() / len(y)
        height, width = (-(-side // model.stride) * model.stride - side for side in y.shape[2:])
        square = F.pad((y - batch.x).square().mean(1, keepdim=True), (0, width, 0, height), mode="replicate")
        found = F.avg_pool2d(square, model.stride).clamp_min(1e-7)
        estimated = model.log_variance(y)
        level = (estimated + found * torch.exp(-estimated)).sum() / len(y)
        off = 0.5 * (estimated.detach() - found.log())
        return Parts(error + level, {"error": error.detach() / y[0].numel(), "level": off.square().mean().sqrt()})
