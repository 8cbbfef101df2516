"""`imprior train RECIPE`: from data to a run."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from imprior.cli._options import as_json, data, verb
from imprior.cli._output import emit, note, pairs, progress, typed
from imprior.errors import ImpriorError

if TYPE_CHECKING:
    from imprior.data.prepare import Broken
    from imprior.fit import Progress


class Interrupted(ImpriorError):
    """Ctrl-C; the message says how to go on."""

    exit_code = 130


@verb(
    "train",
    "Train and judge",
    "imprior train mnist-vae --data DIR --out runs/vae",
    "imprior train mnist-vae objective.beta=4 optimiser.name=adagrad --data DIR --out runs/beta4 --minutes 10",
    "imprior train vae data.size=64 --data photos/ --out runs/photos --resume",
    "torchrun --nproc-per-node 2 -m imprior train mnist-ae --data DIR --out runs/two",
)
@click.argument("recipe", metavar="RECIPE")
@click.argument("overrides", metavar="[key=value …]", nargs=-1)
@data()
@click.option("--out", "-o", metavar="RUN", type=click.Path(path_type=Path), help="The run folder to write.")
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), help="Budget, instead of training.images.")
@click.option("--resume", is_flag=True, help="Go on with the run in RUN; begins where there is none.")
@click.option("--init", metavar="MODEL", help="Begin with the weights of this model.")
@click.option("--seed", type=int, help="Seed of initialisation, order and noise. [default: the recipe's]")
@click.option(
    "--on-broken",
    type=click.Choice(["refuse", "skip"]),
    default="refuse",
    show_default=True,
    help="What to do about images that can't be read.",
)
@click.option("--dry-run", is_flag=True, help="Only show every setting, and with --data what it comes to.")
@as_json()
def command(
    recipe: str,
    overrides: tuple[str, ...],
    source: str | None,
    out: Path | None,
    minutes: float | None,
    resume: bool,
    init: str | None,
    seed: int | None,
    on_broken: Broken,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Train a recipe on images.

    key=value replaces any of its settings (--dry-run shows them all). Ctrl-C ends a training so that --resume goes on
    with it.
    """
    from imprior import face

    if seed is not None:
        overrides = (*overrides, f"seed={seed}")
    if dry_run:
        found = face.plan(recipe, overrides, data=source, on_broken=on_broken)
        if as_json:
            emit(found)
        else:
            settings = found.pop("settings")
            print("\n".join([*pairs(found), "", *typed(settings)]))
        return
    if source is None or out is None:
        raise click.UsageError("a training wants --data SRC and --out RUN")
    try:
        with progress(f"training {recipe}") as update:
            run = face.train(
                recipe,
                source,
                out,
                overrides=overrides,
                minutes=minutes,
                resume=resume,
                init=init,
                on_broken=on_broken,
                watch=lambda moment: update(moment.done, moment.total, words_of(moment)),
            )
    except KeyboardInterrupt:
        raise Interrupted(f"interrupted; go on with: {_again()}") from None
    if os.environ.get("RANK", "0") != "0":  # under torchrun one process speaks for all
        return
    card = run.read("card.json")
    if as_json:
        emit({"run": out, **card})
    else:
        figures = ", ".join(f"{name} {value:.4g}" for name, value in card["figures"].items())
        seen = f"{card['training']['images']:,} images in {card['training']['seconds']:,.0f} s"
        note(f"{out}: {seen}{'; ' + figures if figures else ''}")


def words_of(moment: Progress) -> str:
    """The last logged loss; a bar has room for no more."""
    line = moment.line or {}
    return "  ".join(f"{name} {line[name]:.4g}" for name in ("loss", "validation") if name in line)


def _again() -> str:
    """This command line with --resume in it."""
    words = sys.argv[1:]
    return shlex.join(["imprior", *words, *([] if "--resume" in words else ["--resume"])])
