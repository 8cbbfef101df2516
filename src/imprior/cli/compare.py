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
    from imprior.tasks.choose import Sheet
    from imprior.tasks.compare import Table

DRAWN = 10  # images of each model on the page by task


@verb(
    "compare",
    "Train and judge",
    "imprior compare mnist-ae mnist-dae mnist-vae",
    "imprior compare runs/a runs/b --data DIR --samples 100",
    "imprior compare runs/a runs/b --plot curves.png --html comparison.html",
    "imprior compare --all --results benchmarks/results --html choose.html",
)
@models(required=False)
@data()
@split("test")
@count("--samples", 1, "With --data: draws that a likelihood bound takes for each image.")
@click.option("--limit", type=click.IntRange(min=1), help="With --data: only the first so many images.")
@seed()
@click.option("--plot", metavar="OUT", type=click.Path(path_type=Path), help="Draw the training curves (.png, .svg).")
@click.option("--all", "every", is_flag=True, help="All embedded models, by task: which model for what.")
@click.option(
    "--results", metavar="DIR", type=click.Path(path_type=Path), help="By task, with a folder's result files."
)
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
    every: bool,
    results: Path | None,
    html: Path | None,
    as_json: bool,
) -> None:
    """Put models side by side.

    By the figures in their cards; with --data by figures that are measured now, and paired differences. Figures of
    different protocols never share a column. With --all or --results by task: likelihood, drawing, reconstruction,
    anomalies, denoising, speed and cost, from cards and result files alone; what nobody measured is said to be missing.
    """
    from imprior import face, runs

    if not (models or every):
        raise click.UsageError("name models, or ask for --all embedded ones")
    if every or results is not None:
        if source is not None or plot is not None:
            raise click.UsageError("by task (--all, --results) nothing is measured or drawn: no --data and no --plot")
        names = [*models, *(name for name in runs.embedded() if every and name not in models)]
        _by_task(face.choose(names, results), html, as_json)
        return
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


def _by_task(sheets: list[Sheet], html: Path | None, as_json: bool) -> None:
    """The sheets as a page, as JSON or as text."""
    from imprior import runs
    from imprior.tasks import choose

    if html is not None:
        runs.write_text(html, _task_page(sheets))
        note(f"{html}: which model for which task")
    if as_json:
        emit({"best": choose.best(sheets), "sheets": [sheet.record() for sheet in sheets]})
        return
    for sheet in sheets:
        print(f"# {sheet.topic.title} ({sheet.models})\n\n{sheet.markdown()}\n")


def _task_page(sheets: list[Sheet]) -> str:
    """The best of each column, then a section for each topic, then what the models draw."""
    from itertools import groupby

    from imprior import face
    from imprior.report import grid, page
    from imprior.tasks import choose

    sections = []
    if best := choose.best(sheets):
        shown = page.Table(list(best[0]), [list(row.values()) for row in best])
        sections.append(page.Section("The best of what was measured", [shown]))
    for topic, found in groupby(sheets, key=lambda sheet: sheet.topic):
        parts: list[page.Part] = [topic.about]
        for sheet in found:
            title = f"Models of {sheet.models}"
            for table in sheet.tables:
                parts += [page.Table(table.heads(), table.texts(choose.NOT_MEASURED), title), *table.protocols()]
            parts += [f"{title}: {line}" for line in sheet.notes()]
        sections.append(page.Section(topic.title, parts))
    drawn: list[page.Part] = []
    for sheet in sheets:
        if sheet.topic.name == "drawing":
            names = sheet.names()
            rows = grid.rows([face.sample(name, DRAWN, seed=0) for name in names], captions=names)
            drawn.append(page.Picture(grid.encoded(rows, "drawn.webp"), f"Models of {sheet.models}"))
    if drawn:
        sections.append(page.Section("What they draw", [f"{DRAWN} images of each model, not chosen.", *drawn]))
    lead = "From the models' cards and from result files. Figures of different protocols stand in different columns."
    return page.render("Which model for which task", sections, lead=lead)


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
