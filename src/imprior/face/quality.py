"""How good samples are, in the features of a classifier."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imprior.data.prepare import Split
    from imprior.tasks.quality import Quality


def quality(
    model: Any,
    data: str | Path,
    *,
    classifier: Any = None,
    n: int | None = None,
    seed: int = 0,
    draw: bool = False,
    temperature: float = 1.0,
    inception: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Quality:
    """Draw samples and measure how far they are from real images, and how near to training images.

    Args:
        model: keeps `Samples` or `Decodes`.
        data: the source that the model was trained on. Samples are compared with its test part, or with the images
            that are held out for validation where it has none.
        classifier: keeps `Classifies`; None takes the embedded one that was trained on these images.
        n: samples; None takes half as many as there are real images, 10,000 at most.
        seed: of all draws.
        draw: whether pixels are drawn too, instead of judging the mean image of each latent.
        temperature: below 1, samples nearer to the most likely ones, of models that know a temperature: more of them
            are what their label says, and they are less various.
        inception: instead of a classifier, a TorchScript file of the Inception network, for real FID: see
            `metrics.inception`. **It is run**: name none that you don't trust.
        progress: told (samples drawn, samples in all).

    Returns:
        Distances of the samples and of real images, the report on memorisation, and the protocol: see `Quality`.

    Raises:
        CapabilityError: the model can't draw, or not at another temperature, or the classifier is none.
        RunError: no embedded classifier knows these images, or no such Inception file.
        DataError: too few images, both a classifier and an Inception file, or images of another shape than the
            model's or the classifier's.
    """
    from imprior import opening, randomness
    from imprior.data import prepare
    from imprior.errors import DataError
    from imprior.metrics.inception import Inception
    from imprior.promises import Classifies
    from imprior.tasks import quality as task

    opened = opening.model(model)
    judged: Split = "test" if "test" in prepare.splits(data) else "validation"
    measured_by: Any
    if inception is None:
        measured_by = opening.model(_classifier(data) if classifier is None else classifier, Classifies).model
    elif classifier is None:
        measured_by = Inception(inception)
    else:
        raise DataError("measure in the features of a classifier or of an Inception file, one of the two")
    real, training = (opening.images(data, opened.data, split=part) for part in (judged, "train"))
    rng = randomness.generator(seed, "quality")
    return task.run(
        opened.model,
        measured_by,
        real,
        training,
        n=n,
        rng=rng,
        draw=draw,
        temperature=temperature,
        seed=seed,
        progress=progress,
    )


def _classifier(data: str | Path) -> str:
    """Name of the embedded classifier that was trained on the images of this source.

    Raises:
        RunError: there is none.
    """
    from imprior import recipes, runs
    from imprior.data import prepare
    from imprior.errors import DataError, RunError
    from imprior.promises import Classifies

    for name, run in runs.embedded().items():
        card = run.read("card.json")
        if Classifies.__name__ not in card["promises"]:
            continue
        try:
            images = prepare.load(data, recipes.read(run.read("recipe.json")).data, "train")
        except DataError:  # of another kind than the classifier's, so it is not the one
            continue
        if images.fingerprint == card["data"]["fingerprint"]:
            return name
    raise RunError(
        f"{data}: no embedded classifier was trained on these images; train one "
        "(`imprior train mnist-classifier --data SRC --out runs/classifier`) and name it (--classifier runs/classifier)"
    )
