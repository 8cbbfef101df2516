"""`imprior anomaly MODEL`: which images are strange to a model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from imprior.cli._options import as_json, count, data, inputs, model, picture_out, seed, split, verb
from imprior.cli._output import emit, note, pairs, picture_name, progress, save_rows, table
from imprior.errors import DataError, ImpriorError, PartialFailure

if TYPE_CHECKING:
    from imprior.data.prepare import Split
    from imprior.face.detecting import Anomalies

SHOWN = 16  # images in the picture of maps, the strangest first


@verb(
    "anomaly",
    "Use a model",
    "imprior anomaly mnist-vae scans/ --data digits --false-alarms 0.01 -o heat.png",
    "imprior anomaly mnist-vae --data digits --against fashion --json",
)
@model()
@inputs()
@data(required=True)
@click.option("--against", metavar="SRC", help="Images that are not normal: how well are both told apart?")
@split("test")
@click.option(
    "--score",
    type=click.Choice(["joint", "ratio", "typicality", "nats", "reconstruction"]),
    default="joint",
    show_default=True,
    help="What makes an image strange.",
)
@click.option("--background", metavar="NAME", help="Of joint and ratio: a lossless codec or a model.  [default: png]")
@click.option(
    "--false-alarms",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.01,
    show_default=True,
    help="Fraction of normal images that may be flagged.",
)
@count("--samples", 1, "Draws a likelihood bound takes for each image (1: the ELBO).")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many images of each set.")
@seed()
@picture_out(required=False, what="Picture to write: the strangest images, tinted where they are strange.")
@as_json()
def command(
    model: str,
    inputs: tuple[Path, ...],
    source: str,
    against: str | None,
    split: Split,
    score: str,
    background: str | None,
    false_alarms: float,
    samples: int,
    limit: int | None,
    seed: int,
    out: Path | None,
    as_json: bool,
) -> None:
    """Find images that a model has not learned.

    --data names normal images, which set the threshold: of a source with parts its validation images (--split says
    which part stands against the others), else all of them. INPUTs are pictures and folders of pictures; those above
    the threshold are flagged.

    Scores: joint, how unusual the model's nats (or reconstruction error) and the bytes of a PNG file are together;
    ratio, nats less those of the file; typicality, how far nats are from their mean; nats, which alone are known to
    mislead, as simple images can be likelier than any that the model has seen; reconstruction, the squared error.
    """
    from imprior import face

    if not inputs and against is None:
        raise click.UsageError("name pictures to judge, or other images with --against")
    if out is not None:
        picture_name(out)
    files = _files(inputs)
    with progress("scoring") as update:
        found = face.anomaly(
            model,
            source,
            against=against,
            score=score,
            background=background,
            false_alarms=false_alarms,
            samples=samples,
            seed=seed,
            limit=limit,
            split=split,
            progress=update,
        )
    rows, judged, failed = _judge(found, files)
    if out is not None:
        if not files:
            assert against is not None
            judged = [found.judge(against, limit=SHOWN)]
        if judged:
            _draw(out, judged)
    record = {"model": model} | found.record() | {"picture": out}
    if as_json:
        emit(record | {"inputs": rows, "failed": failed})
    else:
        if rows:
            print("\n".join(table(rows)))
        print("\n".join(pairs({key: value for key, value in record.items() if value is not None})))
    if out is not None and not as_json and judged:
        note(f"{out}: where they are strange")
    if failed and not rows:
        raise DataError(f"none of {len(files):,} pictures could be judged")
    if failed:
        raise PartialFailure(f"{len(failed):,} of {len(files):,} pictures could not be judged")


def _files(inputs: tuple[Path, ...]) -> list[Path]:
    """Pictures, folders standing for all in them."""
    from imprior.data.images import PICTURES

    files: list[Path] = []
    for given in inputs:
        if not given.is_dir():
            files.append(given)
            continue
        inside = [path for path in sorted(given.rglob("*")) if path.suffix.lower() in PICTURES and path.is_file()]
        if not inside:
            raise DataError(f"{given}: no pictures there")
        files += inside
    return files


def _judge(found: Anomalies, files: list[Path]) -> tuple[list[dict[str, Any]], list[Anomalies], list[dict[str, str]]]:
    """Rows for people and programs, what was found for each file, and what failed, each named on stderr."""
    rows, judged, failed = [], [], []
    for file in files:
        try:
            one = found.judge([file])
            assert one.scores is not None and one.flags is not None
            rows.append({"input": str(file), "score": float(one.scores[0]), "flag": bool(one.flags[0])})
            judged.append(one)
        except ImpriorError as error:
            if len(files) == 1:
                raise
            print(f"imprior: error: {error}", file=sys.stderr)
            failed.append({"input": str(file), "error": str(error)})
    return rows, judged, failed


def _draw(out: Path, judged: list[Anomalies]) -> None:
    """The strangest images, and below each where it is strange."""
    import torch

    from imprior.report.overlay import overlay

    images, maps, scores, what = [], [], [], ""
    for one in judged:
        assert one.images is not None and one.scores is not None
        drawn, what = one.heat()
        images.append(one.images.x(slice(None)))
        maps.append(drawn)
        scores.append(one.scores)
    order = torch.cat(scores).argsort(descending=True, stable=True)[:SHOWN]
    x = torch.cat(images)[order]
    save_rows(out, [x, overlay(x, torch.cat(maps)[order])], ["image", what])
