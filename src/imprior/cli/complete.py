"""`imprior complete MODEL`: what may stand where an image is hidden."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from imprior.cli._options import as_json, count, data, given, inputs, model, picture_out, seed, split, verb
from imprior.cli._output import emit, note, picture_name, save_rows

if TYPE_CHECKING:
    from imprior.data.prepare import Split


@verb(
    "complete",
    "Use a model",
    "imprior complete mnist-vae --data digits --hide bottom -n 4 -o completed.png",
    "imprior complete fashion-vae shoe.png --mask mask.png -o completed.png",
)
@model()
@inputs()
@data()
@split()
@click.option("--mask", metavar="MASK", type=click.Path(path_type=Path), help="Picture: white pixels are filled in.")
@click.option("--hide", metavar="PART", help="top, bottom, left, right, centre, or random:0.5 (half of the pixels).")
@count("-n", 4, "Completions of each image.")
@click.option(
    "--method",
    type=click.Choice(["conditional", "posterior", "search"]),
    help="How.  [default: the first that the model can do]",
)
@click.option("--label", type=int, help="Class of the images, for models that know classes.")
@click.option("--draw", is_flag=True, help="Draw missing pixels too, instead of showing the mean image of a latent.")
@count("--limit", 8, "At most so many images.")
@seed()
@picture_out(what="Picture to write: a row for each image, with what is known of it and its completions.")
@as_json()
def command(
    model: str,
    inputs: tuple[Path, ...],
    source: str | None,
    split: Split | None,
    mask: Path | None,
    hide: str | None,
    n: int,
    method: str | None,
    label: int | None,
    draw: bool,
    limit: int,
    seed: int,
    out: Path,
    as_json: bool,
) -> None:
    """Fill in a hidden part of images.

    Several completions of each; known pixels stay as they are. By the model's own conditional distribution where it
    has one, else by sampling its latents, else by searching for latents that agree with what is known; the result says
    which.
    """
    import torch

    from imprior import face

    if (mask is None) == (hide is None):
        raise click.UsageError("say what is hidden: --mask or --hide, one of the two")
    picture_name(out)
    found = face.complete(
        model,
        given(inputs, source),
        mask,
        hide=hide,
        n=n,
        seed=seed,
        method=method,
        label=label,
        draw=draw,
        limit=limit,
        split=split,
    )
    ways = torch.stack([found.x, found.masked], 1)
    save_rows(out, list(torch.cat([ways, found.images], 1)), columns=["original", "known", "completed"])
    if as_json:
        emit({"model": model, "seed": seed, "picture": out} | found.record())
    else:
        note(f"{out}: {len(found.x)} images, {n} completions each, by {found.how}")
