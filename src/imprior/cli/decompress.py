"""`imprior decompress FILE …`: photographs out of their files."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

from imprior.cli._options import as_json, count, max_pixels, shard, verb
from imprior.cli._output import note
from imprior.cli._pictures import Job, Tell, each, left, plan
from imprior.coding.tiled import SUFFIX
from imprior.errors import BitstreamError, DataError, ImpriorError


class Region(click.ParamType[tuple[int, int, int, int]]):
    """x,y,width,height in pixels."""

    name = "region"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int, int, int]:
        """ "0,0,640,480" as four numbers."""
        parts = value.split(",") if isinstance(value, str) else value
        if len(parts) != 4 or not all(str(part).strip().isdecimal() for part in parts):
            self.fail(f"'{value}' is not x,y,width,height in pixels", param, ctx)
        x, y, width, height = (int(part) for part in parts)
        return x, y, width, height


@verb(
    "decompress",
    "On pictures",
    "imprior decompress photo.imp -o photo.png",
    "imprior decompress photo.imp -o part.png --region 1000,500,640,480",
    "imprior decompress packed/ -o photos/ --jobs 2",
    "imprior decompress damaged.imp -o what-is-left.png --salvage",
)
@click.argument("inputs", metavar="FILE …", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--out",
    metavar="OUT",
    required=True,
    type=click.Path(path_type=Path),
    help="Picture, or a folder of PNGs. JPEG is written with quality 95, all else without loss.",
)
@click.option("--region", metavar="X,Y,W,H", type=Region(), help="Only this part: its corner, width and height.")
@click.option("--salvage", is_flag=True, help="Decode what is whole of a damaged file; the rest is grey, and listed.")
@click.option("--model", metavar="MODEL", help="The codec that wrote it, if it does not come with imprior.")
@max_pixels()
@click.option("--force", is_flag=True, help="Write over inputs, and do finished pictures again.")
@count("--jobs", 1, "Files that are worked on at a time; they share the processor's threads.")
@shard()
@as_json()
def command(
    inputs: tuple[Path, ...],
    out: Path,
    region: tuple[int, int, int, int] | None,
    salvage: bool,
    model: str | None,
    max_pixels: int,
    force: bool,
    jobs: int,
    shard: tuple[int, int],
    as_json: bool,
) -> None:
    """Decompress photographs.

    Several FILEs or a folder give a folder of pictures with the same names; what is there already is not done again.
    "-" is standard input, and standard output (as PNG).
    """
    everything = plan(inputs, out, kept=(), find=_files)
    several = len(inputs) > 1 or inputs[0].is_dir()
    mine = everything[shard[0] - 1 :: shard[1]]
    jobs_left, finished = left(inputs, everything, mine, force=force)

    def work(job: Job, tell: Tell) -> tuple[dict[str, Any], str]:
        try:
            record, words = _decode(job, region, salvage, model, max_pixels, jobs, tell)
        except (BitstreamError, DataError) as error:
            raise type(error)(f"{job.source}: {error}") from None
        if words and several:
            note(f"{job.source}: {words}")
        return record, words

    each(
        jobs_left,
        work,
        out,
        label="decompressing",
        as_json=as_json,
        workers=jobs,
        finished=finished,
    )


def read(path: Path) -> bytes:
    """All bytes of a file; "-" is standard input.

    Raises:
        DataError: it can't be read.
    """
    if str(path) == "-":
        return sys.stdin.buffer.read()
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError("no such file" if not path.exists() else error.strerror or str(error)) from None


def _decode(
    job: Job,
    region: tuple[int, int, int, int] | None,
    salvage: bool,
    model: str | None,
    most_pixels: int,
    jobs: int,
    tell: Tell,
) -> tuple[dict[str, Any], str]:
    """Decode and write one file; gives the record and what a person should know."""
    from imprior.coding import tiled
    from imprior.face import compressing

    data = read(job.source)
    if compressing.is_small(data):
        from imprior.data.writing import write_picture

        if region is not None or salvage:
            raise DataError("small files of small models are decoded as a whole: without --region and --salvage")
        picture = compressing.decode_small(data, model)
        write_picture(job.target, picture)
        return {"width": picture.shape[1], "height": picture.shape[0]}, ""
    # What is wrong with a file's header is said before anything heavy is loaded.
    photograph = tiled.unpack(data, salvage=salvage, most_pixels=most_pixels)

    import numpy as np
    import torch

    from imprior.data.writing import check, write_picture
    from imprior.tasks import photo_file as task

    channels = (1 if photograph.grey else 3) + ("alpha" in photograph.extras)
    check(job.target, np.zeros((1, 1, channels), np.uint8))
    codec = compressing.maker(photograph, model)
    if jobs > 1:
        torch.set_num_threads(max(1, min(torch.get_num_threads(), (os.cpu_count() or 1) // jobs)))
    found = task.decode(
        codec, data, region=compressing.area(region), salvage=salvage, most_pixels=most_pixels, tell=tell
    )
    write_picture(job.target, found.picture, extras=found.extras)
    height, width = found.picture.shape[:2]
    record: dict[str, Any] = {"width": width, "height": height}
    if not salvage:
        return record, ""
    record |= {"tiles": found.tiles, "lost": list(found.lost), "missing": list(found.missing)}
    lost = f"{len(found.lost)} of {found.tiles} tiles lost ({', '.join(map(str, found.lost))})" if found.lost else ""
    missing = f"{', '.join(found.missing)} lost" if found.missing else ""
    return record, "; ".join(filter(None, [lost, missing])) or "nothing is lost"


def _files(folder: Path) -> list[Path]:
    """All .imp files below a folder; hidden ones are passed over."""
    try:
        found = [path.relative_to(folder) for path in folder.rglob("*") if path.suffix.lower() == SUFFIX]
    except OSError as error:
        raise ImpriorError(f"{folder}: {error.strerror or error}") from None
    return [path for path in found if not any(part.startswith(".") for part in path.parts)]
