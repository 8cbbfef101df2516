"""`imprior interpolate MODEL`: the way from one image to another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from imprior.cli._options import as_json, count, data, given, inputs, model, picture_out, split, verb
from imprior.cli._output import emit, note, picture_name, save_rows

if TYPE_CHECKING:
    from imprior.data.prepare import Split


@verb(
    "interpolate",
    "Use a model",
    "imprior interpolate mnist-vae --data digits --pairs 6 -o between.png",
    "imprior interpolate mnist-vae three.png eight.png -o between.png",
)
@model()
@inputs()
@data()
@split()
@count("--pairs", 6, "Pairs of SRC to join: images 1 and 2, 3 and 4, …")
@count("--steps", 9, "Images in a row, both ends included.")
@picture_out(what="Picture to write: a row for each pair.")
@as_json()
def command(
    model: str,
    inputs: tuple[Path, ...],
    source: str | None,
    split: Split | None,
    pairs: int,
    steps: int,
    out: Path,
    as_json: bool,
) -> None:
    """Walk from one image to another.

    Through the model's codes; INPUTs are taken in pairs.
    """
    from imprior import face

    picture_name(out)
    found = face.interpolate(model, given(inputs, source), split=split, pairs=pairs, steps=steps)
    save_rows(out, list(found))
    if as_json:
        emit({"model": model, "pairs": len(found), "steps": steps, "picture": out})
    else:
        note(f"{out}: {len(found)} pairs, {steps} steps each")
