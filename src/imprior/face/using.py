"""Images through a model: coded, drawn, joined, moved."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from imprior.errors import CapabilityError, DataError

if TYPE_CHECKING:
    from torch import Tensor

    from imprior.data.prepare import Split
    from imprior.opening import Given
    from imprior.tasks.embed import Embedding
    from imprior.tasks.reconstruct import Reconstruction


def reconstruct(model: Any, data: Given, *, n: int | None = None, split: Split | None = None) -> Reconstruction:
    """Images, what the model makes of their codes, and the PSNR of each.

    Args:
        model: keeps `Encodes`.
        data: images.
        n: at most so many.
        split: part of a source; its test part, or all of it, if None.

    Raises:
        CapabilityError: the model has no codes.
        DataError: images that can't be used, or of another shape than the model's.
    """
    from imprior import opening
    from imprior.promises import Encodes
    from imprior.tasks import reconstruct as task

    opened = opening.model(model, Encodes)
    return task.run(opened.model, opening.batch(data, opened.data, split=split, limit=n))


def sample(
    model: Any,
    n: int,
    *,
    seed: int = 0,
    labels: int | Sequence[int] | None = None,
    draw: bool = False,
    temperature: float = 1.0,
) -> Tensor:
    """Draw n images [n, C, H, W].

    Args:
        model: keeps `Samples` or `Decodes`.
        n: how many.
        seed: of the draws.
        labels: classes to draw, of a conditional model: one for all, or several that take turns; None draws all of
            them equally often.
        draw: whether pixels are drawn too, instead of showing the mean image of each latent.
        temperature: below 1, images nearer to the most likely ones, of models that know a temperature.

    Raises:
        CapabilityError: the model can't draw, knows no classes or no temperature.
        DataError: a class that the model does not know.
    """
    import torch

    from imprior import opening, randomness
    from imprior.tasks import sample as task

    opened = opening.model(model)
    classes = getattr(opened.model, "classes", None)
    given = [labels] if isinstance(labels, int) else list(labels or [])
    if given:
        if classes is None:
            raise CapabilityError(f"{opened.name} knows no classes; label is {given[0]}")
        if unknown := [label for label in given if not 0 <= label < classes]:
            raise DataError(f"{opened.name} knows classes 0 to {classes - 1}; label is {unknown[0]}")
    chosen = torch.tensor(given).repeat(-(-n // len(given)))[:n] if given else None
    rng = randomness.generator(seed, "sample")
    return task.run(opened.model, n, rng=rng, labels=chosen, draw=draw, temperature=temperature)


def interpolate(
    model: Any,
    data: Given | None = None,
    *,
    pairs: int | None = None,
    steps: int = 9,
    split: Split | None = None,
    seed: int = 0,
) -> Tensor:
    """From image 1 to 2, from 3 to 4, … through the model's codes: [pairs, steps, C, H, W].

    Args:
        model: keeps `Encodes`; or `Decodes`, whose codes are searched for.
        data: images, taken in pairs; None walks between codes that the model draws itself.
        pairs: at most so many; of drawn codes exactly so many, 6 if None.
        steps: images in a row, both ends included.
        split: part of a source.
        seed: of drawn codes, and of a search.

    Raises:
        CapabilityError: the model can't decode.
        DataError: an odd number of images, or images that can't be used.
    """
    from imprior import opening, randomness
    from imprior.promises import Decodes
    from imprior.tasks import interpolate as task

    opened = opening.model(model, Decodes)
    rng = randomness.generator(seed, "interpolate")
    if data is None:
        return task.random(opened.model, 6 if pairs is None else pairs, rng=rng, steps=steps)
    x = opening.batch(data, opened.data, split=split, limit=None if pairs is None else 2 * pairs)
    if len(x) % 2 and pairs is not None:
        x = x[:-1]
    if len(x) < 2 or len(x) % 2:
        raise DataError(f"images are joined in pairs, and there {'is 1' if len(x) == 1 else f'are {len(x)}'}")
    return task.run(opened.model, x[0::2], x[1::2], steps=steps, rng=rng)


def traverse(
    model: Any,
    data: Given,
    *,
    units: int | Sequence[int] = 8,
    span: float = 3.0,
    steps: int = 9,
    split: Split | None = None,
) -> Tensor:
    """Move units of the first image's code, one at a time: [units, steps, C, H, W].

    Args:
        model: keeps `Encodes`.
        data: the first image is moved; up to 500 tell which units vary, and how much.
        units: how many (those that vary most), or which.
        span: how far each way, in standard deviations of the unit over the images.
        steps: images in a row.
        split: part of a source.

    Raises:
        CapabilityError: the model has no codes.
        DataError: no such unit, or images that can't be used.
    """
    from imprior import opening
    from imprior.promises import Encodes
    from imprior.tasks import traverse as task

    opened = opening.model(model, Encodes)
    x = opening.batch(data, opened.data, split=split, limit=500)
    return task.run(opened.model, x[0], units=units, span=span, steps=steps, others=x)


def embed(model: Any, data: Given, *, split: Split | None = None, limit: int | None = None) -> Embedding:
    """The code of each image, and the labels.

    Raises:
        CapabilityError: the model has no codes.
        DataError: images that can't be used.
    """
    from imprior import opening
    from imprior.promises import Encodes
    from imprior.tasks import embed as task

    opened = opening.model(model, Encodes)
    return task.run(opened.model, opening.images(data, opened.data, split=split, limit=limit))
