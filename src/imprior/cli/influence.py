"""`imprior influence MODEL`: which pixels a unit of the code moves, and which pixels move it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from imprior.cli._options import as_json, count, data, model, picture_out, split, verb
from imprior.cli._output import emit, note, picture_name

if TYPE_CHECKING:
    from imprior.data.prepare import Split


@verb(
    "influence",
    "Use a model",
    "imprior influence mnist-vae --data digits --units 8 -o influence.png",
    "imprior influence mnist-ae --data digits --unit 3 --unit 11 -o influence.png",
)
@model()
@data(required=True)
@split()
@count("--units", 8, "How many units to show: those that vary most.")
@click.option("--unit", "chosen", type=click.IntRange(min=0), multiple=True, help="Show this unit (may be repeated).")
@count("--limit", 200, "Average over the first so many images.")
@picture_out(what="Picture to write: a column for each unit.")
@as_json()
def command(
    model: str,
    source: str,
    split: Split | None,
    units: int,
    chosen: tuple[int, ...],
    limit: int,
    out: Path,
    as_json: bool,
) -> None:
    """Map which pixels belong to a unit.

    Above, the pixels that it moves: how much each changes with the unit, by the decoder. Below, the pixels that move
    it, by the encoder. Bright is much, each row on a scale of its own.
    """
    from imprior import face
    from imprior.report import grid
    from imprior.runs import write_bytes

    picture_name(out)
    found = face.influence(model, source, units=list(chosen) or units, limit=limit, split=split)
    captions, columns = ["pixels that it moves", "pixels that move it"], [f"unit {unit}" for unit in found.units]
    write_bytes(out, grid.encoded(grid.rows(found.pictures(), captions=captions, columns=columns), out))
    if as_json:
        emit(found.record() | {"model": model, "picture": out})
    else:
        note(f"{out}: {len(found.units)} units, over {found.n} images")
