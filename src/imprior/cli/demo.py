"""`imprior demo`: everything at once, on what comes with the package."""

from __future__ import annotations

from pathlib import Path

import click

from imprior.cli._options import as_json, verb
from imprior.cli._output import emit, note, progress
from imprior.cli.train import Interrupted, words_of


@verb("demo", "Look around", "imprior demo -o demo")
@click.option(
    "-o", "--out", metavar="DIR", default="demo", show_default=True, type=click.Path(path_type=Path), help="Folder."
)
@click.option(
    "--minutes", type=click.FloatRange(min=0, min_open=True), default=1.5, show_default=True, help="Of training."
)
@as_json()
def command(out: Path, minutes: float, as_json: bool) -> None:
    """See all of it at work in a few minutes.

    Trains a small VAE on embedded digits, puts the embedded models to work on digits and photographs, and leaves
    report.html, which opens offline.
    """
    from imprior import demo

    try:
        with progress("training a small VAE") as update:
            run = demo.train(
                out, minutes=minutes, watch=lambda moment: update(moment.done, moment.total, words_of(moment))
            )
        with progress("writing the report") as update:
            report = demo.write(out, run, progress=update)
    except KeyboardInterrupt:
        raise Interrupted(f"interrupted; `imprior demo -o {out}` goes on") from None
    if as_json:
        emit({"report": report, "run": out / "run"})
    else:
        note(f"{report}: open it in a browser")
