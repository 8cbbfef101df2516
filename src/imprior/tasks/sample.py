"""Images that no camera took: drawn from a model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from imprior.errors import CapabilityError, DataError
from imprior.promises import Decodes, Model, Samples, require
from imprior.tasks.protocol import evaluating

BATCH = 500


@runtime_checkable
class Tempered(Model, Protocol):
    """Draws nearer to its most likely images below a temperature of 1, further out above."""

    temperature: float


def run(
    model: Any,
    n: int,
    *,
    rng: torch.Generator,
    labels: Tensor | None = None,
    draw: bool = False,
    temperature: float = 1.0,
) -> Tensor:
    """Draw images.

    A model that decodes shows the mean image of each latent it draws: what the latent says, without the grain of
    independent pixels on top. With `draw` the pixels are drawn too, as the model's distribution has it.

    Args:
        model: keeps `Decodes` or `Samples`; `Samples` with `draw`.
        n: how many, at least 1.
        rng: where the randomness comes from.
        labels: int64 [n], of conditional models; None draws equally likely ones.
        draw: whether pixels are drawn as well.
        temperature: above 0; 1 is the model's own distribution.

    Returns:
        [n, C, H, W].

    Raises:
        CapabilityError: the model can't draw, or not at another temperature.
        DataError: n is below 1, a temperature that is not above 0, or labels that the model does not know.
    """
    if n < 1:
        raise DataError(f"there are at least 1 images to draw, not {n}")
    if not 0 < temperature < float("inf"):
        raise DataError(f"a temperature is above 0, not {temperature}")
    if labels is None and getattr(model, "classes", None) is not None:
        labels = torch.randint(model.classes, (n,), generator=rng)
    drawn = []
    with evaluating(model), at(model, temperature):
        for start in range(0, n, BATCH):
            count = min(BATCH, n - start)
            given = None if labels is None else labels[start : start + count]
            if isinstance(model, Decodes) and not draw:
                drawn.append(model.decode(model.latent(count, rng), given))
            else:
                drawn.append(require(model, Samples).sample(count, rng, given))
    return torch.cat(drawn)


@contextmanager
def at(model: Any, temperature: float) -> Iterator[None]:
    """The model at that temperature while the block runs.

    Raises:
        CapabilityError: it knows no temperature, and another than 1 is asked for.
    """
    if not isinstance(model, Tempered):
        if temperature != 1:
            raise CapabilityError(f"this model draws at temperature 1 only, not at {temperature:g}")
        yield
        return
    before, model.temperature = model.temperature, temperature
    try:
        yield
    finally:
        model.temperature = before
