"""Images that no camera took: drawn from a model."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from imprior.errors import DataError
from imprior.promises import Decodes, Samples, require
from imprior.tasks.protocol import evaluating

BATCH = 500


def run(model: Any, n: int, *, rng: torch.Generator, labels: Tensor | None = None, draw: bool = False) -> Tensor:
    """Draw images.

    A model that decodes shows the mean image of each latent it draws: what the latent says, without the grain of
    independent pixels on top. With `draw` the pixels are drawn too, as the model's distribution has it.

    Args:
        model: keeps `Decodes` or `Samples`; `Samples` with `draw`.
        n: how many, at least 1.
        rng: where the randomness comes from.
        labels: int64 [n], of conditional models.
        draw: whether pixels are drawn as well.

    Returns:
        [n, C, H, W].

    Raises:
        CapabilityError: the model can't draw.
        DataError: n is below 1.
    """
    if n < 1:
        raise DataError(f"there are at least 1 images to draw, not {n}")
    drawn = []
    with evaluating(model):
        for start in range(0, n, BATCH):
            count = min(BATCH, n - start)
            given = None if labels is None else labels[start : start + count]
            if isinstance(model, Decodes) and not draw:
                drawn.append(model.decode(model.latent(count, rng), given))
            else:
                drawn.append(require(model, Samples).sample(count, rng, given))
    return torch.cat(drawn)
