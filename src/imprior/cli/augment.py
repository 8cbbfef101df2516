"""`imprior augment MODEL`: labelled images that no camera took, for others to learn from."""

from __future__ import annotations

from pathlib import Path

import click

from imprior.cli._options import Listed, as_json, count, model, seed, temperature, verb
from imprior.cli._output import emit, note


@verb(
    "augment",
    "Use a model",
    "imprior augment mnist-gan -o generated -n 1000",
    "imprior augment mnist-gan -o fours-and-nines -n 500 --label 4,9 --temperature 0.8",
)
@model()
@click.option("-o", "--out", metavar="FOLDER", required=True, type=click.Path(path_type=Path), help="New folder.")
@count("-n", 1000, "Images in all; classes take turns.")
@click.option("--label", type=Listed("label", int), help="Classes to draw.  [default: all]")
@seed()
@temperature()
@click.option("--draw", is_flag=True, help="Draw pixels too, instead of the mean image of each latent.")
@as_json()
def command(
    model: str,
    out: Path,
    n: int,
    label: tuple[int, ...] | None,
    seed: int,
    temperature: float,
    draw: bool,
    as_json: bool,
) -> None:
    """Draw a labelled folder of images.

    A subfolder for each class, as `imprior train` and `imprior data` read them. Whether such images help another
    network is for an experiment to say: benchmarks/augmentation.py is one.
    """
    from imprior import face

    images = face.augment(model, n, out, labels=label, seed=seed, draw=draw, temperature=temperature)
    assert images.labels is not None
    counts = {images.classes[k]: int((images.labels == k).sum()) for k in sorted(set(images.labels.tolist()))}
    if as_json:
        emit({"model": model, "n": n, "classes": counts, "seed": seed, "folder": out})
    else:
        note(f"{out}: {n:,} images of {len(counts)} classes")
