"""Where an image is strange: the contribution of each pixel to a model's score, as a map.

    pixels       nats of each pixel given those before it, from models that tell them (`pixel_nats`)
    error        squared error of the decoded code, from models that encode
    occlusion    how many nats an image loses where a window is painted over with a reference, from all that score

Reference for the last: Zeiler and Fergus, 2014, Visualizing and understanding convolutional networks, section 4.2.
"""

from __future__ import annotations

from typing import Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

from imprior.data.batches import Images
from imprior.errors import DataError
from imprior.promises import Encodes, Model, Scores, require
from imprior.randomness import generator
from imprior.tasks.costs import squared_error
from imprior.tasks.protocol import evaluating, fits, presentation, same_size

BATCH = 200
SIDES = 7  # windows of 1/7 of the shorter side: 4 pixels of 28


@runtime_checkable
class PixelScores(Model, Protocol):
    """Tells what each pixel adds to minus the log-likelihood."""

    def pixel_nats(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, H, W] nats, which sum to the image's."""
        ...


def run(
    model: object,
    images: Images,
    *,
    reference: Tensor | None = None,
    seed: int = 0,
) -> tuple[Tensor, Literal["pixels", "error", "occlusion"]]:
    """A map for each image, and what it shows.

    Args:
        model: has `pixel_nats`, or keeps `Encodes` or `Scores`.
        images: of the model's shape.
        reference: [C, H, W] in [0, 1], what windows are painted over with: the mean of normal images is a good one.
            None paints with the mean of `images`.
        seed: of draws (binarization, bounds by sampling).

    Returns:
        [N, H, W]; of "occlusion" negative where a window speaks for the image.

    Raises:
        CapabilityError: the model does none of the three.
        DataError: images of another shape or space than the model's.
    """
    if len(images) == 0:
        raise DataError("no images to draw maps of")
    if isinstance(model, PixelScores) and isinstance(model, Scores):
        fits(model, images)
        shown, pixels = presentation(model, images, seed=seed), same_size(images)
        with evaluating(model) as device:
            maps = [model.pixel_nats(shown.x(part).to(device)).cpu() for part in torch.split(pixels, BATCH)]
        return torch.cat(maps), "pixels"
    if isinstance(model, Encodes):
        fits(model, images)
        with evaluating(model) as device:
            maps = [squared_error(model, x.to(device)).sum(1).cpu() for x in images.chunks(BATCH)]
        return torch.cat(maps), "error"
    scoring = require(model, Scores, name="this model has no codes, no nats of single pixels, and")
    fits(scoring, images)
    return _occluded(scoring, images, reference, seed), "occlusion"


def _occluded(model: Scores, images: Images, reference: Tensor | None, seed: int) -> Tensor:
    """Nats of the image less its nats with the window painted over, averaged over the windows that cover a pixel."""
    shown, pixels = presentation(model, images, seed=seed), same_size(images)
    height, width = pixels.shape[2:]
    side = max(1, min(height, width) // SIDES)
    paint = images.x(slice(None)).mean(0) if reference is None else reference
    if model.levels is not None:  # a likelihood over levels has nothing to say of values between them
        paint = (paint * (model.levels - 1)).round() / (model.levels - 1)
    rows, columns = (_starts(size, side) for size in (height, width))
    maps = []
    with evaluating(model) as device:

        def nats(x: Tensor) -> Tensor:
            rng = generator(seed, "score", device=device)
            parts = [model.score(part.to(device), rng=rng).nats.double().cpu() for part in torch.split(x, BATCH)]
            return torch.cat(parts)

        for stored in pixels:
            x = shown.x(stored[None])
            painted = x.repeat(len(rows) * len(columns), 1, 1, 1)
            windows = torch.zeros(len(painted), height, width, dtype=torch.bool)
            for number, window in enumerate(windows):
                top, left = rows[number // len(columns)], columns[number % len(columns)]
                window[top : top + side, left : left + side] = True
            painted = torch.where(windows[:, None], paint.to(painted), painted)
            lost = nats(x) - nats(painted)  # [windows]
            covers = windows.double()
            maps.append(((lost[:, None, None] * covers).sum(0) / covers.sum(0)).float())
    return torch.stack(maps)


def _starts(size: int, side: int) -> list[int]:
    """Where windows begin: each half over the one before, and the last at the edge."""
    return sorted({*range(0, size - side, max(1, side // 2)), size - side})
