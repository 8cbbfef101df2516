"""`imprior compress INPUT …`: photographs in few bytes."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from imprior.cli._options import as_json, count, max_pixels, shard, verb
from imprior.cli._output import note, table
from imprior.cli._pictures import Job, Tell, each, left, plan
from imprior.coding.tiled import SUFFIX
from imprior.errors import DataError

if TYPE_CHECKING:
    from imprior.tasks.photo_file import Coded

UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "kib": 2**10, "mib": 2**20}


class Bytes(click.ParamType[int]):
    """A number of bytes: 40000, 40kB, 1.5MB, 40KiB."""

    name = "bytes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """ "40kB" as 40,000; a number comes as it is."""
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([kKmM]?i?[bB]?)", value)
        if found is None or found[2].lower() not in UNITS or float(found[1]) == 0:
            self.fail(f"'{value}' is not a size like 40000, 40kB, 1.5MB or 40KiB", param, ctx)
        return int(float(found[1]) * UNITS[found[2].lower()])


@verb(
    "compress",
    "On pictures",
    "imprior compress photo.jpg -o photo.imp",
    "imprior compress photo.jpg -o photo.imp --size 40kB",
    "imprior compress photos/ -o packed/ --quality 70 --jobs 2",
)
@click.argument("inputs", metavar="INPUT …", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o", "--out", metavar="OUT", required=True, type=click.Path(path_type=Path), help="A file (.imp), or a folder."
)
@click.option("--quality", type=click.IntRange(0, 100), help="From 0, smallest, to 100, best.  [default: 50]")
@click.option("--bpp", type=float, help="Instead: at most so many bits a pixel, all of the file counted.")
@click.option("--psnr", type=float, help="Instead: the PSNR in decibels, within 0.1.")
@click.option("--size", metavar="SIZE", type=Bytes(), help="Instead: at most so many bytes (40000, 40kB, 1.5MB).")
@click.option(
    "--effort",
    type=click.IntRange(0, 3),
    default=0,
    show_default=True,
    help="From 0, fast, to 3, a long search for what takes fewer bytes; decoding is the same.",
)
@click.option("--strict", is_flag=True, help="Refuse more than 8 bits a channel instead of reducing them.")
@click.option("--model", metavar="MODEL", help="The codec, if not the photo codec that comes with imprior.")
@max_pixels()
@click.option("--force", is_flag=True, help="Write over inputs, and do finished files again.")
@count("--jobs", 1, "Pictures that are worked on at a time; they share the processor's threads.")
@shard()
@as_json()
def command(
    inputs: tuple[Path, ...],
    out: Path,
    quality: int | None,
    bpp: float | None,
    psnr: float | None,
    size: int | None,
    effort: int,
    strict: bool,
    model: str | None,
    max_pixels: int,
    force: bool,
    jobs: int,
    shard: tuple[int, int],
    as_json: bool,
) -> None:
    """Compress photographs.

    Several INPUTs or a folder give a folder of .imp files with the same names; what is there already is not done again.
    Transparency is kept without loss, EXIF and colour profile as they are. "-" is standard input and output.
    """
    if quality is not None and (bpp, psnr, size) != (None, None, None):
        raise DataError("ask for a quality, for a size, for bits a pixel or for a PSNR, one of them")
    everything = plan(inputs, out, otherwise=SUFFIX, kept=(), writes=(SUFFIX,))
    several = len(inputs) > 1 or inputs[0].is_dir()
    mine = everything[shard[0] - 1 :: shard[1]]
    jobs_left, finished = left(inputs, everything, mine, force=force)

    import torch

    from imprior.data.images import read_whole
    from imprior.face.compressing import codec
    from imprior.tasks import photo_file as task

    target = task.Target(50 if quality is None else quality, bpp=bpp, psnr_db=psnr, size=size)
    coder = codec(model)

    def work(job: Job, tell: Tell) -> tuple[dict[str, Any], str]:
        picture, extras = read_whole(job.source, most_pixels=max_pixels)
        try:
            found = task.encode(
                coder, picture, target, extras=extras, effort=effort, strict=strict, most_pixels=max_pixels, tell=tell
            )
        except DataError as error:
            raise DataError(f"{job.source}: {error}") from None
        write(job.target, found.data)
        told = "; ".join(filter(None, ["the first of several frames" if extras.animated else "", found.told]))
        if told and several:
            note(f"{job.source}: {told}")
        return found.record(), _words(found, "" if several else told)

    torch.set_num_threads(max(1, torch.get_num_threads() // jobs))
    each(
        jobs_left,
        work,
        out,
        label="compressing",
        as_json=as_json,
        workers=jobs,
        finished=finished,
        table=_show,
    )


def write(target: Path, data: bytes) -> None:
    """Write a file whole or not at all; "-" is standard output.

    Raises:
        RunError: the place can't be written, or the disk is full.
    """
    from imprior.runs import write_bytes

    if str(target) == "-":
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    else:
        write_bytes(target, data)


def _words(found: Coded, told: str) -> str:
    record = found.record()
    psnr = "" if found.psnr_db is None else f", {found.psnr_db:.2f} dB"
    words = (
        f"{len(found.data):,} bytes, {record['bits_per_pixel']:.3f} bits/pixel, {record['ratio']:.1f} : 1, "
        f"quality {found.quality:.4g}{psnr}"
    )
    return "; ".join(filter(None, [words, told]))


def _show(done: list[dict[str, Any]]) -> None:
    rows = [
        {
            "file": entry["output"],
            "pixels": f"{entry['width']} x {entry['height']}",
            "quality": entry["quality"],
            **({"PSNR dB": round(entry["psnr_db"], 2)} if "psnr_db" in entry else {}),
            "bytes": entry["bytes"],
            "bits/pixel": round(entry["bits_per_pixel"], 3),
            "ratio": round(entry["ratio"], 1),
        }
        for entry in sorted(done, key=lambda entry: str(entry["output"]))
    ]
    size = sum(entry["bytes"] for entry in done)
    pixels = sum(entry["width"] * entry["height"] for entry in done)
    before = sum(entry["bytes"] * entry["ratio"] for entry in done)
    rows.append(
        {"file": "all", "bytes": size, "bits/pixel": round(8 * size / pixels, 3), "ratio": round(before / size, 1)}
    )
    print("\n".join(table(rows)))
