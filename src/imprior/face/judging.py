"""Figures: how good models are, side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imprior.data.prepare import Split
    from imprior.opening import Given
    from imprior.tasks.compare import Table
    from imprior.tasks.evaluate import Evaluation
    from imprior.tasks.probe import Probe
    from imprior.tasks.rate_distortion import Mode, RateDistortion


def evaluate(
    model: Any,
    data: Given,
    *,
    samples: int = 1,
    seed: int = 0,
    limit: int | None = None,
    split: Split = "test",
    sigma: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Measure what the model's promises allow: likelihood, reconstruction, denoising.

    Args:
        model: keeps at least one of `Scores`, `Encodes`, `Denoises`.
        data: images.
        samples: draws per image where the likelihood is a bound by sampling; 1 is the ELBO.
        seed: of all draws.
        limit: only the first so many images.
        split: part of a source; another than "test" must be asked for, so that nobody judges on training images
            without knowing.
        sigma: standard deviation of the Gaussian noise that denoising is judged at, on the 8-bit scale; None takes the
            corruption that the model was trained with.
        progress: told (images done, images in all).

    Raises:
        CapabilityError: the model keeps none of these promises, or only denoises and nobody says at which noise.
        DataError: images that can't be used, of another shape or another space than the model's.
    """
    from imprior import opening
    from imprior.data.settings import Corruption
    from imprior.tasks import evaluate as task

    opened = opening.model(model)
    corruption = opened.data.corruption if opened.data.corruption.kind != "none" else None
    if sigma is not None:
        corruption = Corruption("gaussian", sigma / 255, sigma / 255)
    images = opening.images(data, opened.data, split=split)
    return task.run(
        opened.model, images, samples=samples, seed=seed, limit=limit, corruption=corruption, progress=progress
    )


def compare(
    models: Sequence[Any],
    data: Given | None = None,
    *,
    samples: int = 1,
    seed: int = 0,
    limit: int | None = None,
    split: Split = "test",
    progress: Callable[[int, int], None] | None = None,
) -> Table:
    """Models side by side, a column for each quantity and protocol.

    Args:
        models: two or more.
        data: images to evaluate all of them on, for paired differences; None takes the figures in their cards.
        samples, seed, limit, split: as `evaluate`.
        progress: told (thousandths done, thousandths in all) over all models.

    Raises:
        RunError: a model without figures in its card, and no data.
        CapabilityError, DataError: as `evaluate`.
    """
    from imprior import opening, runs
    from imprior.errors import RunError
    from imprior.tasks import compare as task

    found: dict[str, Any] = {}
    for number, given in enumerate(models):
        if data is None:
            run = runs.find(given)
            found[str(given)] = run.read("card.json").get("figures", {})
            if "protocol" not in found[str(given)]:
                raise RunError(
                    f"{given}: no figures in its card; give --data, or `imprior evaluate {given} --data SRC --record`"
                )
            continue

        def watch(done: int, total: int, number: int = number) -> None:
            if progress is not None:  # in thousandths of a model: each goes through the images as often as it promises
                progress(1000 * number + 1000 * done // total, 1000 * len(models))

        opened = opening.model(given)
        found[opened.name] = evaluate(given, data, samples=samples, seed=seed, limit=limit, split=split, progress=watch)
    return task.run(found)


def probe(model: Any, data: str | Path, *, per_class: Sequence[int] = (10, 100, 1000), seeds: int = 3) -> Probe:
    """Linear classifiers on the codes, beside raw pixels and PCA.

    Args:
        model: keeps `Encodes`.
        data: a source with labels; accuracies are measured on its test part, or on the images that are held out for
            validation where it has none.
        per_class: labels a class.
        seeds: how often labels are drawn.

    Raises:
        CapabilityError: the model has no codes.
        DataError: no labels, or too few.
    """
    from imprior import opening
    from imprior.data import prepare
    from imprior.promises import Encodes
    from imprior.tasks import probe as task

    opened = opening.model(model, Encodes)
    judged: Split = "test" if "test" in prepare.splits(data) else "validation"
    train_part, test_part = (opening.images(data, opened.data, split=part) for part in ("train", judged))
    return task.run(opened.model, train_part, test_part, per_class=per_class, seeds=seeds)


def rd_curve(
    data: Given,
    models: Sequence[Any] = (),
    codecs: Sequence[str] = (),
    *,
    modes: Sequence[Mode] | None = None,
    limit: int | None = None,
    split: Split | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> RateDistortion:
    """Bytes and PSNR of learned and classical codecs at all their settings, by real files that are read back.

    Args:
        data: images, 8 bits a channel, prepared as the first model's recipe says; without models they may differ in
            size, if each is a file of its own, and grey ones among colour ones become colour.
        models: each keeps `Codes`.
        codecs: names of codecs: imprior (the photo codec), png, gif, webp, jpeg, jpeg2000, avif, jxl, huffman, lzw,
            rle.
        modes: one file for each image, "image", or one for all, "set"; None takes both where images are of one size.
        limit: only the first so many images.
        split: part of a source.
        progress: told (settings done, settings in all).

    Raises:
        CapabilityError: a model is no codec.
        DataError: images that can't be used, or an unknown codec.
        MissingExtraError: a codec's library is not installed.
        RunError: the photo codec does not come with this version.
    """
    from imprior import opening
    from imprior.data.settings import Data
    from imprior.face.compressing import codec
    from imprior.tasks import photo_file
    from imprior.tasks import rate_distortion as task

    opened = [opening.model(given) for given in models]
    how = opened[0].data if opened else Data()
    images = opening.images(data, how, split=split, limit=limit, whole=not opened)
    named = {one.name: one.model for one in opened}
    known = [photo_file.as_codec(codec()) if name == photo_file.NAME else name for name in codecs]
    return task.run(named, images, codecs=known, modes=modes, progress=progress)
