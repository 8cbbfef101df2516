"""`imprior compare MODEL MODEL …`: models side by side, as far as they may be compared."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from imprior.cli._options import as_json, count, data, models, seed, split, verb
from imprior.cli._output import emit, note, plot_kind, progress
from imprior.errors import RunError

if TYPE_CHECKING:
    from imprior.data.prepare import Split
    from imprior.report.canvas import Kind
    from imprior.tasks.compare import Table


@verb(
    "compare",
    "Train and judge",
    "imprior compare mnist-ae mnist-dae mnist-vae",
    "imprior compare runs/a runs/b --data DIR --samples 100",
    "imprior compare runs/a runs/b --plot curves.png --html comparison.html",
)
@models()
@data()
@split("test")
@count("--samples", 1, "With --data: draws that a likelihood bound takes for each image.")
@click.option("--limit", type=click.IntRange(min=1), help="With --data: only the first so many images.")
@seed()
@click.option("--plot", metavar="OUT", type=click.Path(path_type=Path), help="Draw the training curves (.png, .svg).")
@click.option("--html", metavar="OUT", type=click.Path(path_type=Path), help="Write a page that opens offline.")
@as_json()
def command(
    models: tuple[str, ...],
    source: str | None,
    split: Split,
    samples: int,
    limit: int | None,
    seed: int,
    plot: Path | None,
    html: Path | None,
    as_json: bool,
) -> None:
    """Put models side by side.

    By the figures in their cards; with --data by figures that are measured now, and paired differences. Figures of
    different protocols never share a column.
    """
    from imprior import face, runs

    kind = None if plot is None else plot_kind(plot)
    with progress("evaluating") as update:
        table = face.compare(models, source, samples=samples, limit=limit, seed=seed, split=split, progress=update)
    if plot is not None and kind is not None:
        runs.write_bytes(plot, _curves(models, kind))
        note(f"{plot}: training curves")
    if html is not None:
        runs.write_text(html, _page(models, table))
        note(f"{html}: table and curves")
    if as_json:
        emit(table.record())
    else:
        print(table.markdown())


def _curves(models: tuple[str, ...], kind: Kind) -> bytes:
    """What each training minimised, over the images that it saw: of the validation images where it looked at them."""
    from imprior import runs
    from imprior.report import figures

    series = []
    for name in models:
        log = runs.find(name).log()
        if not log:  # embedded models and closed forms have none
            continue
        key = "validation" if any("validation" in line for line in log) else "loss"
        points = [(line["images"], line[key]) for line in log if key in line]
        series.append(figures.Series(f"{name} ({key})", [p[0] for p in points], [p[1] for p in points]))
    if not series:
        raise RunError("none of these models has a log of its training, so there are no curves to draw")
    return figures.lines(series, x="images seen", y="objective", title="Training", kind=kind)


def _page(models: tuple[str, ...], table: Table) -> str:
    """The table, what its columns mean, paired differences and curves."""
    from imprior import runs
    from imprior.report import page

    sections = [page.Section("Figures", [page.Table(table.heads(), table.texts()), *table.protocols()])]
    if table.differences:
        paired = [[d.model, d.best, f"[{d.column + 1}]", d.mean, d.standard_error] for d in table.differences]
        columns = ["model", "minus", "column", "mean", "standard error"]
        sections.append(page.Section("Paired differences", [page.Table(columns, paired)]))
    if any(runs.find(name).log() for name in models):
        drawn = page.Picture(_curves(models, "png"), "What each training minimised, over the images that it saw.")
        sections.append(page.Section("Training", [drawn]))
    return page.render("Comparison", sections, lead="Figures of different protocols stand in different columns.")
