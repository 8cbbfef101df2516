"""`imprior edit MODEL INPUT …`: images changed by way of their latents."""

from __future__ import annotations

from pathlib import Path

import click

from imprior.cli._options import Listed, as_json, model, picture_out, seed, verb
from imprior.cli._output import emit, note, picture_name, save_rows


@verb(
    "edit",
    "Use a model",
    "imprior edit mnist-vae one.png --direction label:7-1 --data digits -o towards-seven.png",
    "imprior edit fashion-vae shirt.png --direction pca:2 --strength -2,0,2 -o edited.png",
    "imprior edit mnist-vae three.png --like eight.png -o blend.png",
    "imprior edit mnist-vae scratched.png --correct --mask scratch.png -o mended.png",
    "imprior edit mnist-vae three.png --compose eight.png --mask top.png -o composed.png",
    "imprior edit mnist-vae mine.png --invert -o inverted.png",
)
@model()
@click.argument("inputs", metavar="INPUT …", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--direction",
    metavar="NAME",
    help="Move along label:7-1 (from class 1 to 7), a class (from all others to it), or pca:3 (the third component).",
)
@click.option("--like", metavar="PICTURE", type=click.Path(path_type=Path), help="Give it the features of this image.")
@click.option("--correct", is_flag=True, help="Mend: the model's nearest image; with --mask, only what is white there.")
@click.option(
    "--compose",
    metavar="PICTURE",
    type=click.Path(path_type=Path),
    help="Paste what is white in --mask of this image; the model makes one image of both.",
)
@click.option("--invert", is_flag=True, help="Find the latent, show what it gives back, and say the error.")
@click.option(
    "--strength",
    "strengths",
    type=Listed("NUMBER", float),
    help="How far, each a column.  [default: -2 to 2 of a component, -1 to 1 of labels, 0 to 1 of --like]",
)
@click.option(
    "--mask", metavar="MASK", type=click.Path(path_type=Path), help="Picture, white and black, of their size."
)
@click.option("--data", "source", metavar="SRC", help="Labelled images to find directions from (their training part).")
@seed()
@picture_out(what="Picture to write: a row for each INPUT.")
@as_json()
def command(
    model: str,
    inputs: tuple[Path, ...],
    direction: str | None,
    like: Path | None,
    correct: bool,
    compose: Path | None,
    invert: bool,
    strengths: tuple[float, ...] | None,
    mask: Path | None,
    source: str | None,
    seed: int,
    out: Path,
    as_json: bool,
) -> None:
    """Change images through a model.

    Latents are found by the model's encoder, or by search where it has none.
    """
    from imprior import face

    picture_name(out)
    found = face.edit(
        model,
        list(inputs),
        direction=direction,
        like=like,
        correct=correct,
        compose=compose,
        invert=invert,
        strengths=strengths,
        mask=mask,
        examples=source,
        seed=seed,
    )
    save_rows(out, found.rows(), columns=found.headings())
    record = found.record()
    if as_json:
        emit({"model": model, "seed": seed, "picture": out} | record)
        return
    note(f"{out}: {len(inputs)} image{'s' * (len(inputs) > 1)}, latents by {found.how}")
    if invert:
        for file, error, psnr in zip(inputs, record["rmse"], record["psnr_db"], strict=True):
            said = "exact" if psnr is None else f"{psnr:.1f} dB"
            print(f"{file}  reconstruction error {error:.2f} of 255 ({said})")
