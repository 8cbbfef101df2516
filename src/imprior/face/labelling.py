"""Labels: which class an image is of, and images of a class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imprior.data.batches import Images
    from imprior.data.prepare import Split
    from imprior.opening import Given
    from imprior.tasks.classify import Classification


def classify(
    model: Any,
    data: Given,
    *,
    split: Split | None = None,
    limit: int | None = None,
    samples: int = 1,
    seed: int = 0,
    prior: Sequence[float] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Classification:
    """Tell the class of each image: by a classifier, or by Bayes' rule from a likelihood that knows classes.

    Args:
        model: keeps `Classifies`, or `Scores` with classes.
        data: images; with labels, the answers are judged.
        split: part of a source; its test part, or all of it, if None.
        limit: only the first so many images.
        samples: draws per image and label where the likelihood is a bound by sampling.
        seed: of all draws.
        prior: probability of each label, for Bayes' rule; None takes them as equally likely.
        progress: told (images done, images in all).

    Raises:
        CapabilityError: the model does neither.
        DataError: images that can't be used, or of other classes than the model's.
    """
    import torch

    from imprior import opening
    from imprior.tasks import classify as task

    opened = opening.model(model)
    images = opening.images(data, opened.data, split=split, limit=limit)
    given = None if prior is None else torch.tensor(list(prior), dtype=torch.float64)
    return task.run(opened.model, images, samples=samples, seed=seed, prior=given, progress=progress)


def augment(
    model: Any,
    n: int,
    out: str | Path | None = None,
    *,
    labels: Sequence[int] | None = None,
    seed: int = 0,
    draw: bool = False,
    temperature: float = 1.0,
) -> Images:
    """Draw labelled images, and write them as a folder with a subfolder for each class.

    Args:
        model: keeps `Samples` or `Decodes`, and knows classes.
        n: how many in all; the classes take turns.
        out: a folder that is new or empty; None writes nothing.
        labels: classes to draw; None draws all.
        seed: of the draws.
        draw, temperature: as `sample`.

    Raises:
        CapabilityError: the model knows no classes, or can't draw.
        DataError: a class that the model does not know, or a folder with something in it.
        RunError: the folder can't be written.
    """
    from imprior import opening, randomness
    from imprior.tasks import augment as task

    opened = opening.model(model)
    rng = randomness.generator(seed, "augment")
    images = task.run(opened.model, n, rng=rng, labels=labels, draw=draw, temperature=temperature)
    if out is not None:
        task.write(images, Path(out))
    return images
