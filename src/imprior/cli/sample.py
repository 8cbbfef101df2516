"""`imprior sample MODEL …`: images that no camera took."""

from __future__ import annotations

from pathlib import Path

import click

from imprior.cli._options import Listed, as_json, count, models, picture_out, seed, temperature, verb
from imprior.cli._output import emit, note, picture_name, save_rows


@verb(
    "sample",
    "Use a model",
    "imprior sample mnist-vae -n 64 -o samples.png",
    "imprior sample mnist-vae mnist-vae-standard mnist-ae -o samples.png",
    "imprior sample mnist-gan -n 20 --label 0,1,2,3,4,5,6,7,8,9 -o digits.png",
)
@models()
@count("-n", 16, "Images to draw from each model.")
@seed()
@click.option("--label", type=Listed("label", int), help="Classes to draw, in turns, for models that know classes.")
@temperature()
@click.option("--draw", is_flag=True, help="Draw pixels too, instead of showing the mean image of each latent.")
@picture_out(what="Picture to write: a row for each model; one model fills a square.")
@as_json()
def command(
    models: tuple[str, ...],
    n: int,
    seed: int,
    label: tuple[int, ...] | None,
    temperature: float,
    draw: bool,
    out: Path,
    as_json: bool,
) -> None:
    """Draw new images.

    Several models give a row each, from the same seed.
    """
    from imprior import face

    picture_name(out)
    drawn = [face.sample(name, n, seed=seed, labels=label, draw=draw, temperature=temperature) for name in models]
    save_rows(out, drawn, models, wrap=len(models) == 1)
    if as_json:
        emit({"models": list(models), "n": n, "seed": seed, "picture": out})
    else:
        note(f"{out}: {n} images of {', '.join(models)}")
