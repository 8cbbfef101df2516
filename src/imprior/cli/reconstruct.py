"""`imprior reconstruct MODEL`: what is left of images after the code."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from imprior.cli._options import as_json, count, data, given, inputs, model, picture_out, split, verb
from imprior.cli._output import emit, note, picture_name, save_rows

if TYPE_CHECKING:
    from imprior.data.prepare import Split


@verb(
    "reconstruct",
    "Use a model",
    "imprior reconstruct mnist-ae-conv --data digits -o reconstructed.png",
    "imprior reconstruct mnist-vae three.png eight.png -o reconstructed.png",
)
@model()
@inputs()
@data()
@split()
@count("-n", 12, "Images of SRC to show.")
@picture_out(what="Picture to write: originals, reconstructions, errors.")
@as_json()
def command(
    model: str, inputs: tuple[Path, ...], source: str | None, split: Split | None, n: int, out: Path, as_json: bool
) -> None:
    """Encode images and decode them again.

    A row of originals, one of reconstructions, one of their absolute differences.
    """
    from imprior import face

    picture_name(out)
    found = face.reconstruct(model, given(inputs, source), split=split, n=n)
    error = (found.x - found.mean).abs()
    save_rows(out, [found.x, found.mean, error], ["original", "reconstructed", "error"])
    if as_json:
        emit({"model": model, "picture": out, **found.record()})
    else:
        note(f"{out}: PSNR {found.psnr_db.mean():.2f} dB over {len(found.x)} images")
