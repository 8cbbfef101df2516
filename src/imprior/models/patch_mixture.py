"""A mixture of Gaussians over small patches of photographs, put to work as a denoiser for pictures of any size (EPLL).

    y ──► x ──► all patches of x, each less its mean ──► most likely Gaussian ──► Wiener filter ──► patches z
          ▲                                                                                            │
          └────────── x = (y / sigma² + beta · average of z) / (1 / sigma² + beta) ◄───────────────────┘   beta rises

The picture that is near the noisy one and whose patches, all of them, are likely: x and the patches z are found in
turn, ever closer to each other (half-quadratic splitting). The Gaussians have mean zero and a full covariance each, so
one is a kind of texture or edge at some contrast; they are learned from grey patches by expectation-maximisation.

A colour picture is turned into its grey mean and two colour differences, in which white noise stays white; each of
the three is cleaned as a grey picture. Other numbers of channels are cleaned one by one.

Reference: D. Zoran, Y. Weiss, "From learning models of natural image patches to whole image restoration", 2011
(equations by its numbers below).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imprior.distributions.components import Full
from imprior.errors import DataError, RecipeError
from imprior.models.classical import noise_level
from imprior.models.mixture_steps import cholesky, from_triangles, triangles
from imprior.models.seeding import gathered
from imprior.promises import Shape
from imprior.randomness import generator

BETAS = (1.0, 4.0, 8.0, 16.0, 32.0)  # times 1 / sigma²: the schedule of the reference
AT_ONCE = 20_000  # patches filtered at a time
# Rows of an orthonormal matrix: grey (times √3), red - blue, and green against both.
OPPONENT = ((3**-0.5, 3**-0.5, 3**-0.5), (2**-0.5, 0.0, -(2**-0.5)), (6**-0.5, -2 * 6**-0.5, 6**-0.5))


@dataclass(frozen=True)
class Config:
    """Settings of a patch mixture.

    Attributes:
        shape: (1, height, width) of the crops that it is fitted on; zeros are filled in from the data.
        components: number of Gaussians, K.
        patch: side of a patch in pixels.
        smoothing: weight of the prior, in patches a component.
        lowest: least standard deviation that the prior gives a pixel of a patch.
    """

    shape: tuple[int, int, int] = (0, 0, 0)
    components: int = 64
    patch: int = 8
    smoothing: float = 10.0
    lowest: float = 0.001

    def __post_init__(self) -> None:
        if self.components < 1 or self.patch < 2:
            raise RecipeError(
                f"components must be at least 1 and patch at least 2, not {self.components} and {self.patch}"
            )
        if not self.smoothing > 0 or not self.lowest > 0:
            raise RecipeError(f"smoothing and lowest must be above 0, not {self.smoothing} and {self.lowest}")

    def build(self) -> PatchMixture:
        """The model before it has seen an image."""
        channels, height, width = self.shape
        if channels != 1:
            raise RecipeError(f"patches are learned in grey: set data.channels=1 (there are {channels})")
        if min(height, width) < self.patch:
            raise RecipeError(f"images of {height}x{width} hold no patch of {self.patch}x{self.patch}")
        return PatchMixture(self)


class PatchMixture(nn.Module):
    """Keeps Denoises, for pictures of any size, grey or colour. Fitted on grey crops."""

    shape: Shape = (None, None, None)
    levels: int | None = None
    classes: int | None = None

    log_weights: Tensor  # [K]
    triangles: Tensor  # [K·D(D+1)/2], Cholesky factors row by row: a vector, which packing leaves in float16
    passes: Tensor  # [], how often `update` has been called

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.seed = int(torch.randint(2**31, ()))  # of the first covariances; it follows the recipe's seed
        count, pixels = config.components, config.patch**2
        self.register_buffer("log_weights", torch.full((count,), -math.log(count)))
        self.register_buffer("triangles", triangles(torch.eye(pixels).expand(count, -1, -1)))
        self.register_buffer("passes", torch.zeros((), dtype=torch.int64))

    def components(self, dtype: torch.dtype) -> Full:
        """The Gaussians over patches less their mean, [K, patch²]."""
        mean = torch.zeros(self.config.components, self.config.patch**2, dtype=dtype, device=self.triangles.device)
        return Full(mean, from_triangles(self.triangles.to(dtype), mean))

    @torch.no_grad()
    def update(self, batches: Iterable[Tensor]) -> float:
        """One step of expectation-maximisation, over patches side by side; the first one draws some to begin with.

        Args:
            batches: all training images (or crops), [N, 1, H, W] at a time; the first call goes through them twice.

        Returns:
            What the step lowered: minus the mean log-likelihood in nats per patch, plus the prior's part, both of the
            model before the step.

        Raises:
            DataError: no images, or images of another shape.
        """
        if not int(self.passes):
            self._start(batches)
        components, log_weights = self.components(torch.float64), self.log_weights.double().log_softmax(0)
        count, total = 0, torch.zeros((), dtype=torch.float64, device=log_weights.device)
        share, outer = torch.zeros_like(log_weights), torch.zeros_like(components.scale)
        squares = torch.zeros_like(components.mean[0])
        for x in batches:
            for patches in torch.split(self._patches(x), AT_ONCE):
                joint = log_weights + components.log_prob(patches)
                evidence = joint.logsumexp(1)
                responsibility = (joint - evidence[:, None]).exp()
                count, total, share = count + len(patches), total + evidence.sum(), share + responsibility.sum(0)
                squares += patches.square().sum(0)
                for k in range(len(share)):
                    outer[k].addmm_((responsibility[:, k, None] * patches).T, patches)
        variance, prior = self._prior(squares / count), self.config.smoothing
        penalty = -prior * components.expected(variance).sum()
        covariance = (outer + prior * variance.diag()) / (share + prior)[:, None, None]
        share = share + 10 * torch.finfo(share.dtype).eps
        self._set(share, cholesky(covariance))
        self.passes += 1
        return float((penalty - total) / count)

    @torch.no_grad()
    def denoise(self, y: Tensor, sigma: float | None = None) -> Tensor:
        """The picture of highest expected patch log-likelihood near the noisy one (5).

        Args:
            y: [N, C, H, W] of any size, may leave [0, 1].
            sigma: standard deviation of white Gaussian noise; None estimates it from each picture.
        """
        return torch.stack([self._cleaned(one, noise_level(one) if sigma is None else sigma) for one in y])

    def _cleaned(self, picture: Tensor, sigma: float) -> Tensor:
        """[C, H, W] -> the same without noise."""
        if sigma <= 0:
            return picture
        planes, noise = picture.to(self.triangles), [sigma] * len(picture)
        turn = torch.tensor(OPPONENT, dtype=planes.dtype, device=planes.device)
        if len(picture) == 3:
            planes = (turn @ planes.flatten(1)).view_as(planes)
            planes[0] /= 3**0.5  # a mean of the channels again, as in training
            noise[0] /= 3**0.5
        height, width = picture.shape[1:]
        least = self.config.patch  # a side shorter than a patch is continued by its last pixels
        planes = F.pad(planes, (0, max(0, least - width), 0, max(0, least - height)), mode="replicate")
        planes = torch.stack([self._split(plane, level) for plane, level in zip(planes, noise, strict=True)])
        planes = planes[:, :height, :width]
        if len(picture) == 3:
            planes[0] *= 3**0.5
            planes = (turn.T @ planes.flatten(1)).view_as(planes)
        return planes.to(picture)

    def _split(self, y: Tensor, sigma: float) -> Tensor:
        """Half-quadratic splitting of one plane [H, W] (6, 7)."""
        x, components = y, self.components(y.dtype)
        for beta in BETAS:
            average = self._average(x, components.blurred(sigma**2 / beta), sigma**2 / beta)
            x = (y + beta * average) / (1 + beta)
        return x

    def _average(self, x: Tensor, noisy: Full, variance: float) -> Tensor:
        """All patches of a plane [H, W], filtered and laid over each other: [H, W]."""
        side, (height, width) = self.config.patch, x.shape
        total, covered = torch.zeros_like(x), torch.zeros_like(x)
        rows = max(1, AT_ONCE // (width - side + 1))
        for top in range(0, height - side + 1, rows):
            strip = x[top : top + rows + side - 1]
            size = (len(strip), width)
            patches = F.unfold(strip[None, None], side)[0].T  # [places, side²]
            mean = patches.mean(1, keepdim=True)
            cleaned = self._filtered(patches - mean, noisy, variance) + mean
            total[top : top + len(strip)] += F.fold(cleaned.T[None], size, side)[0, 0]
            covered[top : top + len(strip)] += F.fold(torch.ones_like(cleaned).T[None], size, side)[0, 0]
        return total / covered

    def _filtered(self, patches: Tensor, noisy: Full, variance: float) -> Tensor:
        """Each patch [M, side²] by the Wiener filter of the Gaussian that it most likely comes from (8)."""
        log_weights = self.log_weights.to(patches).log_softmax(0)
        which = (log_weights + noisy.log_prob(patches)).argmax(1)
        cleaned = patches.clone()
        for k in torch.unique(which).tolist():
            part = patches[which == k]
            cleaned[which == k] = part - variance * torch.cholesky_solve(part.T, noisy.scale[k]).T
        return cleaned

    def _start(self, batches: Iterable[Tensor]) -> None:
        """Each Gaussian begins with a patch: half of its energy along it, half as all patches have theirs."""
        patches = gathered((self._patches(x) for x in batches), self.triangles)
        order = torch.randperm(len(patches), generator=generator(self.seed, "patches")).to(patches.device)
        if len(patches) < self.config.components:
            raise DataError(f"{len(patches)} patches are too few for {self.config.components} components")
        begun = patches[order[: self.config.components]]
        energy = begun.square().mean(1).clamp_min(self.config.lowest**2)  # [K]
        common = patches.T @ patches / len(patches) + self._prior(patches.square().mean(0)).diag() * 1e-3
        shape = common / common.diagonal().mean()
        covariance = 0.5 * (begun[:, :, None] * begun[:, None, :]) + 0.5 * energy[:, None, None] * shape
        self._set(torch.ones_like(energy), cholesky(covariance))

    def _set(self, share: Tensor, scale: Tensor) -> None:
        self.log_weights.copy_(share.log() - share.sum().log())
        self.triangles.copy_(triangles(scale))

    def _prior(self, squares: Tensor) -> Tensor:
        """Variances [D] that the prior gives pixels, by those of all patches."""
        return squares.clamp_min(self.config.lowest**2)

    def _patches(self, x: Tensor) -> Tensor:
        """Patches side by side, less their means: [N, 1, H, W] -> float64 [M, patch²]."""
        if tuple(x.shape[1:]) != self.config.shape:
            raise DataError(f"images of shape {tuple(x.shape[1:])}, but this model is fitted on {self.config.shape}")
        side = self.config.patch
        cut = F.unfold(x.to(self.triangles.device, torch.float64), side, stride=side)  # [N, side², places]
        patches = cut.transpose(1, 2).flatten(0, 1)
        return patches - patches.mean(1, keepdim=True)
