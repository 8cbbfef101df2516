"""What every model states about itself, and what follows from it alone."""

from __future__ import annotations

from typing import Literal, Protocol, runtime_checkable

from torch import Tensor

from imprior.errors import DataError

Shape = tuple[int | None, int | None, int | None]
Space = Literal["binary", "8-bit", "continuous"]


@runtime_checkable
class Model(Protocol):
    """What every model states about itself."""

    shape: Shape
    levels: int | None
    classes: int | None


def check_shape(x: Tensor, shape: Shape) -> None:
    """Refuse a batch of images [N, C, H, W] that a model of this shape does not take.

    Raises:
        DataError: with both shapes.
    """
    given = tuple(x.shape[1:])
    if len(given) != len(shape) or any(want not in (None, have) for want, have in zip(shape, given, strict=True)):
        raise DataError(f"images of shape {given}, but this model is for {tuple(shape)} (channels first)")


def space_of(model: Model) -> Space:
    """What a model's likelihood is over, by its `levels`."""
    spaces: dict[int | None, Space] = {2: "binary", 256: "8-bit", None: "continuous"}
    return spaces[model.levels]
