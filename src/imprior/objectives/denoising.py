"""Denoising: the PSNR of what is cleaned, and the level of the noise.

    loss = ½ · numbers · log(mean of (denoise(y, sigma) - x)² + floor) + Σ over blocks of (s + m / exp s)

The first part is PSNR up to scale and sign: the mean over images of what denoisers are judged by, so that strong and
weak noise, smooth and busy pictures, white noise and a camera's count alike. (It is also the Gaussian negative
log-likelihood of each image's errors with their own best variance.) In an image of many pixels the mean square hardly
depends on the draw of the noise, so the minimum is still at the mean of the clean images behind a noisy one. m is the
mean square of y - x in a block and s its estimated logarithm: twice the Gaussian negative log-likelihood of the noise,
whose least expectation is at exp s = E[m | y].

References: Vincent et al. 2008; Chen et al. 2021, HINet (PSNR as a loss); Zhang et al. 2018, FFDNet.
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
        floor: mean squared error of an image, on the [0, 1] scale, below which less of it counts for little.
    """

    floor: float = 1e-5

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
            Report: `psnr_db`, unclipped, mean over images; `level`, the root mean square of the relative error of
            estimated sigmas of blocks, as a logarithm.

        Raises:
            DataError: nothing was corrupted.
        """
        y, sigma = batch.corrupted, batch.sigma
        if y is None or sigma is None:
            raise DataError("a denoiser is trained on noisy images: set data.corruption.kind")
        error = (model.denoise(y, sigma) - batch.x).square().mean((1, 2, 3))
        cleaned = 0.5 * y[0].numel() * (error + self.floor).log().mean()
        height, width = (-(-side // model.stride) * model.stride - side for side in y.shape[2:])
        square = F.pad((y - batch.x).square().mean(1, keepdim=True), (0, width, 0, height), mode="replicate")
        found = F.avg_pool2d(square, model.stride).clamp_min(1e-7)
        estimated = model.log_variance(y)
        level = (estimated + found * torch.exp(-estimated)).sum() / len(y)
        off = 0.5 * (estimated.detach() - found.log())
        decibels = -10 * (error.detach() + 1e-12).log10().mean()
        return Parts(cleaned + level, {"psnr_db": decibels, "level": off.square().mean().sqrt()})
