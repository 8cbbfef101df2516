"""`imprior tune RECIPE`: which settings do best on images that the training did not see."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from imprior.cli._options import Listed, as_json, count, data, verb
from imprior.cli._output import emit, progress
from imprior.errors import RecipeError

if TYPE_CHECKING:
    from imprior.studies.tune import Criterion


@verb(
    "tune",
    "Train and judge",
    "imprior tune mnist-vae --data DIR --out tuning --grid objective.beta=0.25,1,4 --grid model.latent=16,32",
    "imprior tune mnist-ae training.images=200000 --data DIR --out tuning --grid optimiser.rate=1e-3,3e-3 "
    "--folds 3 --criterion psnr",
)
@click.argument("recipe", metavar="RECIPE")
@click.argument("overrides", metavar="[key=value …]", nargs=-1)
@data(required=True)
@click.option("--grid", "grid", metavar="key=value,…", multiple=True, required=True, help="A setting and its values.")
@click.option("--out", "-o", metavar="DIR", required=True, type=click.Path(path_type=Path), help="Folder of the runs.")
@count("--folds", 5, "Parts of the training images; each is held out once.")
@click.option(
    "--criterion",
    type=click.Choice(["nats", "psnr", "probe"]),
    default="nats",
    show_default=True,
    help="What is compared on the held-out fold (losses can't be: their meaning changes with the settings).",
)
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), help="Budget of each training.")
@as_json()
def command(
    recipe: str,
    overrides: tuple[str, ...],
    source: str,
    grid: tuple[str, ...],
    out: Path,
    folds: int,
    criterion: Criterion,
    minutes: float | None,
    as_json: bool,
) -> None:
    """Search a grid of settings with cross-validation.

    Every combination is trained once for each fold. Called again, it goes on where it was.
    """
    from imprior import face

    choices = [_choice(text) for text in grid]
    with progress(f"tuning {recipe}") as update:
        found = face.tune(
            recipe,
            source,
            choices,
            out,
            overrides=overrides,
            folds=folds,
            criterion=criterion,
            minutes=minutes,
            progress=lambda done, total: update(done, total, f"{done // 1000} of {total // 1000} trainings"),
        )
    if as_json:
        emit(found.record())
    else:
        print(found.markdown())


def _choice(text: str) -> tuple[str, tuple[str, ...]]:
    """ "objective.beta=0.25,1,4" -> ("objective.beta", ("0.25", "1", "4"))."""
    key, equals, values = text.partition("=")
    if not (key and equals and values):
        raise RecipeError(f"--grid {text}: not of the form key=value,value,…")
    return key, Listed("value").convert(values, None, None)
