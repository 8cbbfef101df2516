"""Images changed by way of their latents."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imprior.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

    from imprior.data.prepare import Split
    from imprior.face.pictures import Picture
    from imprior.opening import Given
    from imprior.tasks.edit import Edit

COMPONENTS = (-2.0, -1.0, 0.0, 1.0, 2.0)  # in deviations
CLASSES = (-1.0, -0.5, 0.0, 0.5, 1.0)  # twice the way between two classes leads away from all images
BLENDS = (0.0, 0.25, 0.5, 0.75, 1.0)
ENOUGH = 10_000  # labelled images that a direction is found from


def edit(
    model: Any,
    data: Given,
    *,
    direction: str | None = None,
    like: Given | None = None,
    correct: bool = False,
    compose: Given | None = None,
    invert: bool = False,
    strengths: Sequence[float] | None = None,
    mask: str | Path | Picture | Tensor | None = None,
    examples: Given | None = None,
    seed: int = 0,
    limit: int | None = None,
    split: Split | None = None,
) -> Edit:
    """Change images through a model: one of `direction`, `like`, `correct`, `compose` or `invert`.

    Args:
        model: keeps `Decodes`.
        data: images.
        direction: "label:7-1" (from class 1 to class 7), "label:7" or the name of a class (from all others to it), or
            "pca:3" (the third component).
        like: an image whose features the others are given.
        correct: mend: the model's nearest image; with a mask, only what is white in it changes.
        compose: an image of which the part that is white in `mask` is pasted in, the whole made coherent by the model.
        invert: find the latent and show what it gives back.
        strengths: a result for each: steps along a direction, or how much (0 to 1) of `like`.
        mask: as in `complete`; wanted by `compose`.
        examples: labelled images to find directions from (the training part of a source, 10,000 images at most).
        seed: of all draws.
        limit: at most so many images.
        split: part of a source `data`.

    Raises:
        CapabilityError: the model can't decode.
        DataError: none or several of the five; no such direction or class; a mask of another size, or one that hides
            everything or nothing; images that can't be used.
    """
    from imprior import opening, randomness
    from imprior.face.completing import known
    from imprior.promises import Completes, Decodes, require
    from imprior.tasks import directions
    from imprior.tasks import edit as task

    wanted = {"direction": direction, "like": like, "correct": correct, "compose": compose, "invert": invert}
    asked = [name for name, value in wanted.items() if value is not None and value is not False]
    if len(asked) != 1:
        raise DataError(f"an edit is one of {', '.join(wanted)}" + (f", not {' and '.join(asked)}" if asked else ""))
    if strengths is not None and asked[0] not in ("direction", "like"):
        raise DataError(f"strength goes with direction and like, not with {asked[0]}")
    if mask is not None and asked[0] not in ("correct", "compose"):
        raise DataError(f"a mask goes with correct and compose, not with {asked[0]}")
    if compose is not None and mask is None:
        raise DataError("compose wants a mask: white where the other image is pasted")
    opened = opening.model(model)
    if not (correct and mask is not None and isinstance(opened.model, Completes)):
        require(opened.model, Decodes, name=opened.name)
    x = opening.batch(data, opened.data, split=split, limit=limit)
    rng = randomness.generator(seed, "edit")
    where = None if mask is None else known(x, mask)

    def single(given: Given) -> Tensor:
        found = opening.batch([given] if isinstance(given, str | Path) else given, opened.data)
        if len(found) != 1:
            raise DataError(f"one image is wanted for {asked[0]}, not {len(found)}")
        return found[0]

    if direction is not None:
        images = None
        if examples is not None:
            images = opening.images(examples, opened.data, split=_training(examples), limit=ENOUGH)
        found = directions.find(opened.model, direction, images, rng=rng)
        usual = COMPONENTS if direction.startswith("pca:") else CLASSES
        return task.move(opened.model, x, found, usual if strengths is None else strengths, rng=rng)
    if like is not None:
        return task.like(opened.model, x, single(like), BLENDS if strengths is None else strengths, rng=rng)
    if compose is not None:
        assert where is not None
        return task.compose(opened.model, x, single(compose), where, rng=rng)
    if correct:
        return task.correct(opened.model, x, where, rng=rng)
    return task.run(opened.model, x, rng=rng)


def _training(given: Given) -> Split | None:
    """The training part, of a source that has one: directions are learned, and never from test images."""
    from imprior.data import prepare

    return "train" if isinstance(given, str | Path) and "train" in prepare.splits(given) else None
