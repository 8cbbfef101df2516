"""`imprior embed MODEL`: codes, as numbers and as a map."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from imprior.cli._options import as_json, data, given, inputs, model, split, verb
from imprior.cli._output import emit, note, plot_kind
from imprior.errors import ImpriorError

if TYPE_CHECKING:
    from imprior.data.prepare import Split
    from imprior.tasks.embed import Embedding


@verb(
    "embed",
    "Use a model",
    "imprior embed mnist-vae --data digits -o codes.npz",
    "imprior embed mnist-vae --data digits -o codes.csv --map map.png --by tsne",
)
@model()
@inputs()
@data()
@split()
@click.option("--limit", type=click.IntRange(min=1), help="Only the first so many images.")
@click.option("-o", "--out", metavar="OUT", required=True, type=click.Path(path_type=Path), help="Codes: .npz or .csv.")
@click.option("--map", "map_out", metavar="OUT", type=click.Path(path_type=Path), help="Draw a map (.png or .svg).")
@click.option(
    "--by", type=click.Choice(["pca", "tsne"]), default="pca", show_default=True, help="How the map's plane is found."
)
@as_json()
def command(
    model: str,
    inputs: tuple[Path, ...],
    source: str | None,
    split: Split | None,
    limit: int | None,
    out: Path,
    map_out: Path | None,
    by: Literal["pca", "tsne"],
    as_json: bool,
) -> None:
    """Turn images into codes, and codes into a map.

    A row of numbers for each image, with labels where SRC has them.
    """
    from imprior import face, runs

    if out.suffix not in (".npz", ".csv"):
        raise ImpriorError(f"{out}: codes are written as .npz or .csv")
    kind = None if map_out is None else plot_kind(map_out)
    found = face.embed(model, given(inputs, source), split=split, limit=limit)
    runs.write_bytes(out, _npz(found) if out.suffix == ".npz" else _csv(found))
    if map_out is not None and kind is not None:
        from imprior.report import figures
        from imprior.tasks import embed

        points = embed.plane(found.codes, by=by)
        runs.write_bytes(map_out, figures.latent_map(points, found.labels, classes=found.classes, kind=kind))
    if as_json:
        emit({"model": model, "images": len(found.codes), "numbers": found.codes.shape[1], "file": out, "map": map_out})
    else:
        note(f"{out}: {len(found.codes):,} images, {found.codes.shape[1]} numbers each")


def _npz(found: Embedding) -> bytes:
    """Arrays "codes" float32 [N, D] and, where there are labels, "labels" int64 [N]."""
    import io

    import numpy as np

    file = io.BytesIO()
    if found.labels is None:
        np.savez_compressed(file, codes=found.codes.numpy())
    else:
        np.savez_compressed(file, codes=found.codes.numpy(), labels=found.labels.numpy())
    return file.getvalue()


def _csv(found: Embedding) -> bytes:
    """A line of names, then a line for each image: its label (where there are labels) and its code."""
    names = [f"z{i}" for i in range(found.codes.shape[1])]
    rows = [[f"{value:.7g}" for value in code] for code in found.codes.tolist()]
    if found.labels is not None:
        names = ["label", *names]
        rows = [[str(label), *row] for label, row in zip(found.labels.tolist(), rows, strict=True)]
    return ("\n".join(",".join(row) for row in [names, *rows]) + "\n").encode()
