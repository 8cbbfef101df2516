"""`imprior denoise INPUT …`: pictures without their noise."""

from __future__ import annotations

from pathlib import Path

import click

from imprior.cli._options import as_json, verb
from imprior.cli._pictures import each


@verb(
    "denoise",
    "On pictures",
    "imprior denoise noisy.png -o clean.png",
    "imprior denoise photos/ -o cleaned/ --sigma 25 --model wavelets",
    "imprior denoise digit.png -o clean.png --model mnist-dae",
)
@click.argument("inputs", metavar="INPUT …", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o", "--out", metavar="OUT", required=True, type=click.Path(path_type=Path), help="Picture, or a folder."
)
@click.option(
    "--model",
    metavar="MODEL",
    default="non-local-means",
    show_default=True,
    help="What cleans: a model that keeps Denoises, or non-local-means, total-variation, wavelets.",
)
@click.option(
    "--sigma", type=click.FloatRange(min=0), help="Standard deviation of the noise, 8-bit scale. [default: estimated]"
)
@as_json()
def command(inputs: tuple[Path, ...], out: Path, model: str, sigma: float | None, as_json: bool) -> None:
    """Remove noise from pictures.

    Several INPUTs or a folder give a folder of results.
    """
    from imprior import face, opening
    from imprior.promises import Denoises

    denoiser = opening.model(model, Denoises).model
    each(
        inputs,
        out,
        lambda picture, _: face.denoise(picture, sigma, model=denoiser),
        label="denoising",
        as_json=as_json,
    )
