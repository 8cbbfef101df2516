"""What an image costs a model: nats of its likelihood, nats of a codec's file, squared error of its reconstruction."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from imprior.coding.classical import codec
from imprior.data.batches import Images, as_float
from imprior.data.images import from_batch
from imprior.errors import DataError, RunError
from imprior.promises import Encodes, Model, Scores
from imprior.randomness import generator
from imprior.tasks.protocol import evaluating, fits, presentation, same_size

BATCH = 200

Progress = Callable[[int, int], None]


def nats(model: Scores, images: Images, *, samples: int = 1, seed: int = 0, progress: Progress | None = None) -> Tensor:
    """Minus log-likelihoods of images as `evaluate` presents them, [N] float64.

    Of a density on dequantised 8-bit levels they are those of the levels: D log 256 are added, which makes them
    comparable with a codec's.
    """
    fits(model, images)
    shown, pixels, found = presentation(model, images, seed=seed), same_size(images), []
    with evaluating(model) as device:
        for start in range(0, len(pixels), BATCH):
            rng = generator(seed, "score", device=device)  # the same for each batch, as in `evaluate`
            x = shown.x(pixels[start : start + BATCH]).to(device)
            found.append(model.score(x, samples=samples, rng=rng).nats.double().cpu())
            if progress is not None:
                progress(min(start + BATCH, len(pixels)), len(pixels))
    total = torch.cat(found)
    if not bool(total.isfinite().all()):
        bad = (~total.isfinite()).nonzero().flatten()
        raise RunError(f"the model gives {len(bad):,} of {len(total):,} images no finite score (the first: {bad[0]})")
    return total + pixels[0].numel() * math.log(256) * (shown.dequantisation == "uniform")


def codec_nats(name: str, model: Model, images: Images, *, seed: int = 0) -> Tensor:
    """The size of each image's file in nats, [N] float64: of bits for a model of binary images, else of 8 bits a value.

    Raises:
        DataError: no such codec, or one that loses something.
    """
    found = codec(name)
    pixels = same_size(images)
    if None not in found.qualities or not found.lossless(None, pixels.shape[1]) or pixels.shape[1] not in (1, 3):
        raise DataError(f"a background is a lossless codec; {name} is none for images of {pixels.shape[1]} channels")
    shown = presentation(model, images, seed=seed) if model.levels == 2 else None
    sizes = []
    for part in torch.split(pixels, BATCH):
        x = as_float(part) if shown is None else shown.x(part)
        sizes += [len(found.encode(from_batch(image, np.uint8), None)) for image in x]
    return torch.tensor(sizes, dtype=torch.float64) * (8 * math.log(2))


def reconstruction(model: Encodes, images: Images, *, progress: Progress | None = None) -> Tensor:
    """Squared errors of decoded codes, summed over pixels, [N] float64; x and what comes back within [0, 1]."""
    fits(model, images)
    found = []
    with evaluating(model) as device:
        for start in range(0, len(images), BATCH):
            x = images.x(slice(start, start + BATCH)).to(device)
            found.append(squared_error(model, x).flatten(1).sum(1).double().cpu())
            if progress is not None:
                progress(min(start + BATCH, len(images)), len(images))
    return torch.cat(found)


def squared_error(model: Encodes, x: Tensor) -> Tensor:
    """[N, C, H, W] -> the squared error of each value, of the same shape."""
    mean = model.decode(model.encode(x))[..., : x.shape[2], : x.shape[3]]
    return (mean.clamp(0, 1) - x).square()
