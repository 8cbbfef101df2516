"""`imprior corrupt INPUT …`: noisy and masked pictures, to try things on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from imprior.cli._options import as_json, seed, verb
from imprior.cli._pictures import Job, Tell, each, plan


@verb(
    "corrupt",
    "On pictures",
    "imprior corrupt photo.png -o noisy.png --kind gaussian --amount 25",
    "imprior corrupt photos/ -o masked/ --kind masking --amount 0.5",
)
@click.argument("inputs", metavar="INPUT …", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o", "--out", metavar="OUT", required=True, type=click.Path(path_type=Path), help="Picture, or a folder."
)
@click.option(
    "--kind",
    type=click.Choice(["gaussian", "poisson", "masking", "salt-pepper"]),
    default="gaussian",
    show_default=True,
    help="What is done to the pixels.",
)
@click.option(
    "--amount",
    type=click.FloatRange(min=0),
    help="gaussian: standard deviation; poisson: that at white (both 8-bit scale; 25); others: a fraction (0.25).",
)
@seed()
@as_json()
def command(inputs: tuple[Path, ...], out: Path, kind: str, amount: float | None, seed: int, as_json: bool) -> None:
    """Make noisy or masked pictures.

    Several INPUTs or a folder give a folder of results; the first is made with --seed, the next with the number after
    it, and so on.
    """
    from imprior import face
    from imprior.data.images import read_picture
    from imprior.data.writing import write_picture

    strength = amount if amount is not None else {"gaussian": 25.0, "poisson": 25.0}.get(kind, 0.25)

    def work(job: Job, tell: Tell) -> tuple[dict[str, Any], str]:
        picture = face.corrupt(read_picture(job.source), kind, strength, seed=seed + job.place)
        write_picture(job.target, picture)
        return {}, ""

    each(plan(inputs, out), work, out, label="corrupting", as_json=as_json)
