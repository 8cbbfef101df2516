"""`imprior classify MODEL`: which class an image is of."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from imprior.cli._options import as_json, count, data, given, inputs, model, seed, split, verb
from imprior.cli._output import emit, pairs, progress, table

if TYPE_CHECKING:
    from imprior.data.prepare import Split


@verb(
    "classify",
    "Train and judge",
    "imprior classify runs/pixelcnn-by-class --data DIR --limit 1000",
    "imprior classify mnist-classifier seven.png",
)
@model()
@inputs()
@data()
@split()
@click.option("--limit", type=click.IntRange(min=1), help="Only the first so many images.")
@count("--samples", 1, "Draws that a likelihood bound takes for each image and label.")
@seed()
@as_json()
def command(
    model: str,
    inputs: tuple[Path, ...],
    source: str | None,
    split: Split | None,
    limit: int | None,
    samples: int,
    seed: int,
    as_json: bool,
) -> None:
    """Tell the class of images.

    By a classifier, or by Bayes' rule from a likelihood that knows classes. Images with labels judge the answers:
    accuracy, log-loss in nats, calibration error.
    """
    from imprior import face

    with progress("classifying") as update:
        found = face.classify(
            model, given(inputs, source), split=split, limit=limit, samples=samples, seed=seed, progress=update
        )
    record = found.record()
    if inputs:
        best = found.log_p.max(1)
        record["images"] = [
            {"image": str(path), "class": found.name(label), "probability": p}
            for path, label, p in zip(inputs, best.indices.tolist(), best.values.exp().tolist(), strict=True)
        ]
    if as_json:
        emit(record)
    else:
        print("\n".join(table(record["images"]) if inputs else pairs(record)))
