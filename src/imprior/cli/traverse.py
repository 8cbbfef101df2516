"""`imprior traverse MODEL`: what each number of the code does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from imprior.cli._options import as_json, count, data, given, inputs, model, picture_out, split, verb
from imprior.cli._output import emit, note, picture_name, save_rows

if TYPE_CHECKING:
    from imprior.data.prepare import Split


@verb(
    "traverse",
    "Use a model",
    "imprior traverse mnist-vae --data digits --units 8 -o traversals.png",
    "imprior traverse mnist-vae seven.png --unit 3 --unit 11 -o traversals.png",
)
@model()
@inputs()
@data()
@split()
@count("--units", 8, "How many units to move: those that vary most.")
@click.option("--unit", "chosen", type=click.IntRange(min=0), multiple=True, help="Move this unit (may be repeated).")
@click.option("--span", type=float, default=3.0, show_default=True, help="How far each way, in the unit's deviations.")
@count("--steps", 9, "Images in a row.")
@picture_out(what="Picture to write: a row for each unit.")
@as_json()
def command(
    model: str,
    inputs: tuple[Path, ...],
    source: str | None,
    split: Split | None,
    units: int,
    chosen: tuple[int, ...],
    span: float,
    steps: int,
    out: Path,
    as_json: bool,
) -> None:
    """Move one number of a code at a time.

    A row for each of the units that vary most over the images of SRC, on the first of them.
    """
    from imprior import face

    picture_name(out)
    found = face.traverse(
        model, given(inputs, source), split=split, units=list(chosen) or units, span=span, steps=steps
    )
    save_rows(out, list(found))
    if as_json:
        emit({"model": model, "units": list(chosen) or len(found), "span": span, "steps": steps, "picture": out})
    else:
        note(f"{out}: {len(found)} units, from -{span:g} to +{span:g} deviations")
