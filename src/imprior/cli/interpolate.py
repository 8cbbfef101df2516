"""`imprior interpolate MODEL`: the way from one image to another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from imprior.cli._options import as_json, count, data, given, inputs, model, picture_out, seed, split, verb
from imprior.cli._output import emit, note, picture_name, save_rows

if TYPE_CHECKING:
    from imprior.data.prepare import Split


@verb(
    "interpolate",
    "Use a model",
    "imprior interpolate mnist-vae --data digits --pairs 6 -o between.png",
    "imprior interpolate mnist-vae three.png eight.png -o between.png",
    "imprior interpolate mnist-vae --seed 3 -o between.png",
)
@model()
@inputs()
@data()
@split()
@count("--pairs", 6, "Pairs of SRC to join: images 1 and 2, 3 and 4, … (or of drawn codes).")
@count("--steps", 9, "Images in a row, both ends included.")
@seed()
@picture_out(what="Picture to write: a row for each pair.")
@as_json()
def command(
    model: str,
    inputs: tuple[Path, ...],
    source: str | None,
    split: Split | None,
    pairs: int,
    steps: int,
    seed: int,
    out: Path,
    as_json: bool,
) -> None:
    """Walk from one image to another.

    Through the model's codes (searched for where it has no encoder); INPUTs are taken in pairs. Without images, from
    one code that the model draws to another.
    """
    from imprior import face

    picture_name(out)
    images = given(inputs, source) if inputs or source else None
    found = face.interpolate(model, images, split=split, pairs=pairs, steps=steps, seed=seed)
    save_rows(out, list(found))
    if as_json:
        emit({"model": model, "pairs": len(found), "steps": steps, "picture": out})
    else:
        note(f"{out}: {len(found)} pairs, {steps} steps each")
