"""What is inside a model: units of a code and the pixels that they have to do with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from imprior.errors import DataError

if TYPE_CHECKING:
    from imprior.data.prepare import Split
    from imprior.opening import Given
    from imprior.tasks.influence import Influence


def influence(
    model: Any, data: Given, *, units: int | Sequence[int] = 8, limit: int | None = 200, split: Split | None = None
) -> Influence:
    """Which pixels each unit of the code moves, and which pixels move it, averaged over images.

    Args:
        model: keeps `Encodes`.
        data: images; with labels for a conditional model.
        units: how many (those that vary most), or which.
        limit: only the first so many images.
        split: part of a source; its test part, or all of it, if None.

    Raises:
        CapabilityError: the model has no codes.
        DataError: fewer than two images, images that can't be used, no such unit, or no labels for a conditional model.
    """
    from imprior import opening
    from imprior.promises import Encodes
    from imprior.tasks import influence as task
    from imprior.tasks.protocol import fits

    opened = opening.model(model, Encodes)
    images = opening.images(data, opened.data, split=split, limit=limit)
    fits(opened.model, images)
    conditional = opened.model.classes is not None
    if conditional and images.labels is None:
        raise DataError(f"{opened.name} is conditional: it wants images with labels (class subfolders give them)")
    return task.run(opened.model, images.x(slice(None)), units=units, labels=images.labels if conditional else None)
