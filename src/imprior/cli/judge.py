"""`imprior judge MODEL …`: a page of blind pairs for people to vote on, and the count of their votes."""

from __future__ import annotations

from pathlib import Path

import click

from imprior.cli._options import as_json, count, seed, verb
from imprior.cli._output import emit, note, table


@verb(
    "judge",
    "Train and judge",
    "imprior judge mnist-gan mnist-vae -o page.html -n 50",
    "imprior judge mnist-gan --real DIR -o page.html",
    "imprior judge --votes votes.json",
)
@click.argument("models", metavar="[MODEL …]", nargs=-1)
@count("-n", 50, "Pairs of every two models.")
@click.option("--real", metavar="SRC", help="Images of a camera, which take part as a model's do.")
@seed()
@click.option("--draw", is_flag=True, help="Draw pixels too, instead of showing the mean image of each latent.")
@click.option("-o", "--out", metavar="OUT", type=click.Path(path_type=Path), help="Page to write (.html).")
@click.option("--votes", metavar="FILE", multiple=True, help="Count the votes that a page saved (may be repeated).")
@as_json()
def command(
    models: tuple[str, ...],
    n: int,
    real: str | None,
    seed: int,
    draw: bool,
    out: Path | None,
    votes: tuple[str, ...],
    as_json: bool,
) -> None:
    """Let people judge, blindly.

    Writes a page that opens offline: two images at a time, of two models or of a model and a camera, and the question
    which looks more real. The page saves votes.json; --votes counts it. Whose image is whose is hidden from a glance,
    not from somebody who wants to find out.
    """
    from imprior import face, runs

    if votes:
        if models or real or out:
            raise click.UsageError("--votes counts votes and makes no page: name no models, --real or -o with it")
        found = face.tally(votes).record()
        if as_json:
            emit(found)
        else:
            rows = [one | {"interval": _interval(one["interval"])} for one in found["preferences"]]
            print("\n".join(table(rows)))
            print(f"\ninterval: {found['interval']}\nleft {found['sides']['left']}, right {found['sides']['right']}, "
                  f"without a vote {found['open']}")  # fmt: skip
        return
    if out is None or len(models) + bool(real) < 2:
        raise click.UsageError(
            "name two models, or one and --real SRC, and a page with -o; or count votes with --votes"
        )
    pairs = face.judge(models, n=n, real=real, seed=seed, draw=draw)
    runs.write_text(out, face.judging_page(pairs))
    if as_json:
        emit({"models": list(models), "real": real, "n": n, "pairs": len(pairs), "seed": seed, "page": out})
    else:
        note(f"{out}: {len(pairs)} pairs; open it in a browser, then: imprior judge --votes votes.json")


def _interval(ends: tuple[float, float] | None) -> str:
    return "" if ends is None else f"{ends[0]:.3f} to {ends[1]:.3f}"
