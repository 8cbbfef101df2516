"""`imprior rd-curve SRC`: how many bytes, and how much of the picture comes back."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import click

from imprior.cli._options import Listed, as_json, split, verb
from imprior.cli._output import emit, note, plot_kind, progress

if TYPE_CHECKING:
    from imprior.data.prepare import Split
    from imprior.report.canvas import Kind
    from imprior.tasks.rate_distortion import Mode, RateDistortion


@verb(
    "rd-curve",
    "Train and judge",
    "imprior rd-curve digits --models mnist-ae-conv,mnist-vae,mnist-pca --codecs png,webp,jpeg -o curve.png",
    "imprior rd-curve photos/ --codecs imprior,jpeg,webp,avif --mode image --report rd.html",
    "imprior rd-curve DIR --codecs png,gif,webp,jpeg,jpeg2000,jxl,huffman,lzw,rle --mode image --json",
)
@click.argument("source", metavar="SRC")
@click.option("--models", type=Listed("MODEL"), default=(), help="Models to use as codecs.")
@click.option(
    "--codecs",
    type=Listed("codec"),
    default=(),
    help="imprior (the photo codec), png, gif, webp, jpeg, jpeg-444, jpeg2000, avif, avif-slow, jxl, huffman, lzw, "
    "rle.",
)
@click.option(
    "--mode",
    type=click.Choice(["image", "set", "both"]),
    help="A file for each image (which may differ in size), one for all of them, or both.  [default: both where images "
    "are of one size]",
)
@click.option("--limit", type=click.IntRange(min=1), default=200, show_default=True, help="Only the first so many.")
@split()
@click.option("-o", "--out", metavar="OUT", type=click.Path(path_type=Path), help="Plot to write (.png, .svg).")
@click.option("--report", metavar="PAGE", type=click.Path(path_type=Path), help="The same as a page (.html).")
@as_json()
def command(
    source: str,
    models: tuple[str, ...],
    codecs: tuple[str, ...],
    mode: str | None,
    limit: int,
    split: Split | None,
    out: Path | None,
    report: Path | None,
    as_json: bool,
) -> None:
    """Compress images by models and by classical codecs.

    Real files at every setting, read back and compared: bits per pixel and PSNR.
    """
    from imprior import face, runs

    if not models and not codecs:
        raise click.UsageError("name --models, --codecs or both")
    named: dict[str, tuple[Mode, ...]] = {"image": ("image",), "set": ("set",), "both": ("image", "set")}
    kind = None if out is None else plot_kind(out)
    with progress("compressing") as update:
        asked = None if mode is None else named[mode]
        found = face.rd_curve(source, models, codecs, modes=asked, limit=limit, split=split, progress=update)
    modes = tuple(dict.fromkeys(point.mode for point in found.points))
    if out is not None and kind is not None:
        runs.write_bytes(out, _plot(found, modes[-1], kind))
        note(f"{out}: rate-distortion curves")
    if report is not None:
        runs.write_text(report, _page(found, modes))
        note(f"{report}: curves and figures")
    if as_json:
        emit(found.record())
    else:
        print(found.markdown())


def _page(found: RateDistortion, modes: tuple[Mode, ...]) -> str:
    """Curves and all figures on one page."""
    from imprior.report.page import Picture, Section, Table, render

    titles = {"image": "A file for each image", "set": "One file for all"}
    heads = ["codec", "setting", "bits/pixel", "PSNR [dB]", "encoding [ms]", "decoding [ms]"]
    sections = []
    for mode in modes:
        rows = [
            (
                p.codec,
                p.setting,
                round(p.bits_per_pixel, 4),
                None if p.lossless else round(p.psnr_db, 2),
                round(1000 * p.encode_seconds, 2),
                round(1000 * p.decode_seconds, 2),
            )
            for p in found.points
            if p.mode == mode
        ]
        drawn = Picture(_plot(found, mode, "svg"), "Bits per pixel and PSNR, of files that were read back")
        sections.append(
            Section(titles[mode], [drawn, Table(heads, rows, "Means over the images; without loss: no PSNR")])
        )
    lead = f"{found.images:,} images. Headers and checksums are counted; tables that belong to a model are not."
    return render("Rate and distortion", sections, lead=lead)


def _plot(found: RateDistortion, mode: Mode, kind: Kind) -> bytes:
    """One plot of one mode; a codec's lossless setting is a mark of its own."""
    from imprior.report import figures

    curves = []
    for name in dict.fromkeys(point.codec for point in found.points):
        for points in (
            found.curve(name, mode),
            [p for p in found.points if (p.codec, p.mode, p.lossless) == (name, mode, True)],
        ):
            if points:
                heights = [math.inf if p.lossless else p.psnr_db for p in points]
                curves.append(figures.RatePoints(name, [p.bits_per_pixel for p in points], heights))
    title = f"{found.images:,} images, {'one file for all' if mode == 'set' else 'a file for each'}"
    return figures.rate_distortion(curves, title=title, kind=kind)
