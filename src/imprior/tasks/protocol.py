"""What a likelihood is computed on: the same numbers for everybody, whatever the batch, the order or the machine.

A binary model is judged on bits drawn once from the grey test images (1 with the grey level as probability: the
"dynamic" protocol), a density on 8-bit levels made continuous, (k + u) / 256. The draws are a function of the image
and the seed alone: pixel j takes the j-th 32-bit little-endian word of SHAKE-256("imprior <seed> <purpose>:" + the
image's bytes) as its uniform number. So two evaluations see identical bits, half a test set sees the bits that the
whole one sees, and anybody can draw them again without our random generator.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from imprior.data.batches import BELOW_ONE, Images, as_float
from imprior.errors import DataError
from imprior.promises import Model, Space, space_of


@dataclass(frozen=True)
class Presentation:
    """How images are put before a model.

    Attributes:
        space: what they are then: "binary", "8-bit" or "continuous".
        binarization: "dynamic" (drawn from the grey levels) or "none" (the pixels are 0 and 1 already, or stay grey).
        dequantisation: "uniform" for 8-bit images before a density, else "none".
        seed: of the draws.
    """

    space: Space
    binarization: Literal["dynamic", "none"]
    dequantisation: Literal["uniform", "none"]
    seed: int

    def x(self, pixels: Tensor) -> Tensor:
        """Pixels as stored, [n, C, H, W] uint8 or float32 -> what the likelihood is asked about, float32 in [0, 1]."""
        if self.binarization == "dynamic":
            return (uniforms(pixels, self.seed, "binarize") < _grey(pixels)).float()
        if self.dequantisation == "uniform":
            levels = pixels.double() + uniforms(pixels, self.seed, "dequantise")
            return (levels / 256).clamp_max(BELOW_ONE).float()
        return as_float(pixels)


def presentation(model: Model, images: Images, *, seed: int = 0) -> Presentation:
    """How `images` are put before `model`'s likelihood, by the space of both.

    Raises:
        DataError: images that differ in size, or continuous images before a model of 8-bit levels.
    """
    pixels = same_size(images)
    space = space_of(model)
    if space == "binary":
        top = 255 if pixels.dtype == torch.uint8 else 1
        already = bool(((pixels == 0) | (pixels == top)).all())
        return Presentation(space, "none" if already else "dynamic", "none", seed)
    if space == "8-bit" and pixels.dtype != torch.uint8:
        raise DataError("the model gives probabilities to 8-bit levels, but these images are floating-point numbers")
    uniform = space == "continuous" and pixels.dtype == torch.uint8
    return Presentation(space, "none", "uniform" if uniform else "none", seed)


def same_size(images: Images) -> Tensor:
    """The pixels [N, C, H, W] of images of one size.

    Raises:
        DataError: their sizes differ.
    """
    if not isinstance(images.pixels, Tensor):
        raise DataError("images of different sizes can't be judged together: ask for data.size=… or data.crop=…")
    return images.pixels


def fits(model: Model, images: Images) -> None:
    """Refuse images of another shape than the model's.

    Raises:
        DataError: with both shapes.
    """
    if any(want is not None and want != have for want, have in zip(model.shape, images.shape, strict=True)):
        have, want = (" x ".join("any" if n is None else str(n) for n in s) for s in (images.shape, model.shape))
        raise DataError(f"the images are {have} (channels x height x width), the model wants {want}")


def uniforms(pixels: Tensor, seed: int, purpose: str) -> Tensor:
    """A uniform number in [0, 1) for every pixel, multiples of 2^-32: a function of each image and the seed alone.

    Args:
        pixels: [n, C, H, W], uint8 or float32.
        seed: any whole number.
        purpose: keeps draws for different ends apart.

    Returns:
        float64, of the shape of `pixels`.

    >>> image = torch.full((1, 1, 2, 2), 128, dtype=torch.uint8)
    >>> uniforms(image, 0, "binarize").flatten().mul(1000).round().tolist()
    [717.0, 531.0, 108.0, 215.0]
    """
    prefix = f"imprior {seed} {purpose}:".encode()
    count = pixels[0].numel()
    rows = np.ascontiguousarray(pixels.cpu().numpy()).reshape(len(pixels), count)
    little = rows.astype(rows.dtype.newbyteorder("<"), copy=False)
    words = b"".join(hashlib.shake_256(prefix + row.tobytes()).digest(4 * count) for row in little)
    drawn = np.frombuffer(words, "<u4").astype(np.float64) / 2.0**32
    return torch.from_numpy(drawn).view(pixels.shape).to(pixels.device)


@contextmanager
def evaluating(model: object) -> Iterator[torch.device]:
    """The model in evaluation mode without gradients while the block runs (then as it was); gives its device."""
    device = torch.device("cpu")
    network = model if isinstance(model, nn.Module) else None
    training = network is not None and network.training
    if network is not None:
        device = next((t.device for t in (*network.parameters(), *network.buffers())), device)
        network.eval()
    try:
        with torch.no_grad():
            yield device
    finally:
        if network is not None:
            network.train(training)


class Digest:
    """SHA-256 over images as they were presented, in order: the same images and draws have the same digest."""

    def __init__(self) -> None:
        self._sha = hashlib.sha256()

    def add(self, x: Tensor, binary: bool = False) -> None:
        """Take in a batch: float32 little-endian, or eight pixels a byte (each batch's images padded one by one)."""
        values = np.ascontiguousarray(x.cpu().numpy())
        packed = np.packbits(values.reshape(len(values), -1) > 0.5, axis=1) if binary else values.astype("<f4")
        self._sha.update(packed.tobytes())

    def hex(self) -> str:
        """64 hexadecimal digits."""
        return self._sha.hexdigest()


def _grey(pixels: Tensor) -> Tensor:
    """The grey level as a float64 probability: exactly k / 255 of 8-bit pixels, so 255 is always 1."""
    return pixels.double() / 255 if pixels.dtype == torch.uint8 else pixels.double()


def plain(presented: Presentation) -> dict[str, Any]:
    """A presentation as JSON values, for a record."""
    return {"binarization": presented.binarization, "dequantisation": presented.dequantisation, "seed": presented.seed}
