"""Prepared images in memory, and the batches that a training takes from them.

`Batches.at(step)` is a pure function of (seed, step, rank): epochs are permutations seeded by their number, noise is
seeded by the step. Nothing has to be saved to resume, and several processes agree on the order without talking.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from imprior.data.camera import halved_colours
from imprior.data.corrupt import corrupt
from imprior.data.settings import Data
from imprior.errors import DataError
from imprior.parts import Batch
from imprior.promises import Shape
from imprior.randomness import generator

BELOW_ONE = 1 - 2.0**-24  # the largest float32 below 1: rounding must not put a pixel on the edge of a density


@dataclass(frozen=True)
class Images:
    """Decoded images, ready to be indexed.

    Attributes:
        pixels: uint8 (level k means k / 255) or float32 in [0, 1], [N, C, H, W]; or a tuple of uint8 [C, h, w] where
            sizes differ (they are cropped at each presentation).
        labels: int64 [N], or None.
        classes: names of the classes, by label; empty without labels.
        fingerprint: short hash over pixels and labels.
    """

    pixels: Tensor | tuple[Tensor, ...]
    labels: Tensor | None
    classes: tuple[str, ...]
    fingerprint: str

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def shape(self) -> Shape:
        """(channels, height, width) of every image; height and width None where sizes differ."""
        if isinstance(self.pixels, Tensor):
            channels, height, width = self.pixels.shape[1:]
            return channels, height, width
        return self.pixels[0].shape[0], None, None

    def x(self, index: Tensor | slice) -> Tensor:
        """Images as float32 [n, C, H, W] in [0, 1].

        Raises:
            DataError: images differ in size, so they don't make a batch.
        """
        if not isinstance(self.pixels, Tensor):
            raise DataError("images of different sizes don't make a batch: ask for data.size=… or data.crop=…")
        if isinstance(index, slice):
            return as_float(self.pixels[index])
        return as_float(self.pixels.index_select(0, index))  # indexing by [] takes fifteen times as long

    def chunks(self, size: int = 500) -> list[Tensor]:
        """All images in order, as float32 batches of at most `size`."""
        return [self.x(slice(i, i + size)) for i in range(0, len(self), size)]


def as_float(pixels: Tensor) -> Tensor:
    """uint8 levels k -> float32 k / 255, correctly rounded; float32 passes."""
    return pixels.to(torch.float32).div_(255) if pixels.dtype == torch.uint8 else pixels


def binarize(x: Tensor, rng: torch.Generator) -> Tensor:
    """0 or 1 per pixel, 1 with the grey level as probability."""
    return (torch.rand(x.shape, generator=rng, device=x.device) < x).to(x.dtype)


def dequantise(x: Tensor, rng: torch.Generator) -> Tensor:
    """Levels k / 255 -> (k + u) / 256, u uniform in [0, 1)."""
    return ((255 * x + torch.rand(x.shape, generator=rng, device=x.device)) / 256).clamp_max(BELOW_ONE)


def turned(x: Tensor, quarters: Tensor) -> Tensor:
    """Each image of x [N, C, H, W] turned by its number of quarters [N].

    Raises:
        DataError: the images aren't square.
    """
    if x.shape[2] != x.shape[3]:
        raise DataError(f"data.turn is for square images or crops, not {x.shape[2]}x{x.shape[3]}")
    return torch.stack([image.rot90(k, (1, 2)) for image, k in zip(x, quarters.tolist(), strict=True)])


class Batches:
    """The batches of a training, by step number.

    Args:
        images: what to draw from.
        data: cropping, flips, binarization, corruption.
        batch: images a step, over all processes; 0 takes all of them at each step.
        seed: of order and noise.
        rank, world: which of how many processes this is; each gets an equal slice of every batch.

    Raises:
        DataError: no images, or a batch that the processes can't share equally.
    """

    def __init__(
        self, images: Images, data: Data, *, batch: int, seed: int, rank: int = 0, world: int = 1, train: bool = True
    ):
        if len(images) == 0:
            raise DataError("no images to train on")
        if data.dequantise and images.pixels[0].dtype != torch.uint8:
            raise DataError("data.dequantise is for 8-bit levels, but these images are floating-point numbers")
        self.images, self.data, self.seed, self.rank, self.world, self.train = images, data, seed, rank, world, train
        self.batch = min(batch, len(images)) if batch else len(images)
        if self.batch % world:
            raise DataError(f"a batch of {self.batch} can't be shared equally by {world} processes")
        self.steps_per_epoch = len(images) // self.batch
        self._epoch = -1
        self._order = torch.empty(0, dtype=torch.int64)

    def at(self, step: int) -> Batch:
        """The batch of a step (counted from 0), this process's slice of it."""
        epoch, place = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            self._order = torch.randperm(len(self.images), generator=generator(self.seed, "order", epoch))
            self._epoch = epoch
        share = self.batch // self.world
        start = place * self.batch + self.rank * share
        index = self._order[start : start + share]
        return self.take(index, generator(self.seed, "data", step, self.rank))

    def take(self, index: Tensor, rng: torch.Generator) -> Batch:
        """The images at `index` as a batch, with noise from `rng`."""
        x = self._cut(index, rng)
        if self.data.flip and self.train:
            mirrored = torch.rand(len(index), 1, 1, 1, generator=rng) < 0.5
            x = torch.where(mirrored, x.flip(-1), x)
        if self.data.turn and self.train:
            x = turned(x, torch.randint(4, (len(index),), generator=rng))
        if self.data.halved_colours and self.train and x.shape[1] == 3:
            chosen = torch.rand(len(index), 1, 1, 1, generator=rng) < self.data.halved_colours
            x = torch.where(chosen, halved_colours(x), x)
        if self.data.binarize:
            x = binarize(x, rng)
        if self.data.dequantise:
            x = dequantise(x, rng)
        noisy, sigma = corrupt(x, self.data.corruption, rng) if self.data.corruption.kind != "none" else (None, None)
        labels = self.images.labels[index] if self.images.labels is not None else None
        return Batch(x=x, labels=labels, corrupted=noisy, sigma=sigma, index=index)

    def _cut(self, index: Tensor, rng: torch.Generator) -> Tensor:
        crop = self.data.crop
        if crop is None:
            return self.images.x(index)
        pictures = [self.images.pixels[i] for i in index.tolist()]
        places = torch.rand(len(pictures), 2, generator=rng) if self.train else torch.full((len(pictures), 2), 0.5)
        cuts = []
        for picture, (down, right) in zip(pictures, places.tolist(), strict=True):
            height, width = picture.shape[1:]
            top, left = int(down * (height - crop + 1)), int(right * (width - crop + 1))
            cuts.append(picture[:, top : top + crop, left : left + crop])
        return as_float(torch.stack(cuts))
