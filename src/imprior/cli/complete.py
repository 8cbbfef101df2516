"""`imprior complete [MODEL] [INPUT …]`: what may stand where an image is hidden."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from imprior.cli._options import as_json, count, data, given, picture_out, seed, split, verb
from imprior.cli._output import emit, note, picture_name, progress, save_rows

if TYPE_CHECKING:
    from imprior.data.prepare import Split


@verb(
    "complete",
    "Use a model",
    "imprior complete mnist-vae --data digits --hide bottom -n 4 -o completed.png",
    "imprior complete fashion-vae shoe.png --mask mask.png -o completed.png",
    "imprior complete photo.png --mask scratches.png -o mended.png",
)
@click.argument("words", metavar="[MODEL] [INPUT …]", nargs=-1, required=True)
@data()
@split()
@click.option("--mask", metavar="MASK", type=click.Path(path_type=Path), help="Picture: white pixels are filled in.")
@click.option("--hide", metavar="PART", help="top, bottom, left, right, centre, or random:0.5 (half of the pixels).")
@click.option(
    "-n",
    type=click.IntRange(min=1),
    help="Completions of each image.  [default: 4, of plug-and-play 1, which has no more]",
)
@click.option(
    "--method",
    type=click.Choice(["conditional", "posterior", "search", "plug-and-play"]),
    help="How.  [default: the first that the model can do]",
)
@click.option("--label", type=int, help="Class of the images, for models that know classes.")
@click.option("--draw", is_flag=True, help="Draw missing pixels too, instead of showing the mean image of a latent.")
@count("--limit", 8, "At most so many images.")
@seed()
@picture_out(
    what="Picture to write: a row for each image, with what is known of it and its completions; of one INPUT filled by "
    "plug-and-play, the picture itself."
)
@as_json()
def command(
    words: tuple[str, ...],
    source: str | None,
    split: Split | None,
    mask: Path | None,
    hide: str | None,
    n: int | None,
    method: str | None,
    label: int | None,
    draw: bool,
    limit: int,
    seed: int,
    out: Path,
    as_json: bool,
) -> None:
    """Fill in a hidden part of images.

    Known pixels stay as they are. By the model's own conditional distribution where it has one, else by sampling its
    latents, else by searching for latents that agree with what is known; the result says which. A denoiser for any size
    fills scratches, text and missing pixels of whole photographs by plug-and-play; without a MODEL the embedded
    denoiser for photographs does.
    """
    import torch

    from imprior import face, opening
    from imprior.tasks.complete import method_for

    if (mask is None) == (hide is None):
        raise click.UsageError("say what is hidden: --mask or --hide, one of the two")
    picture_name(out)
    name, inputs = _sorted(words)
    model = None
    if name is not None:
        model = opening.model(name).model
        method = method or method_for(model, name=name)
    elif method not in (None, "plug-and-play"):
        raise click.UsageError(f"--method {method} wants a MODEL before the pictures")
    images = given(inputs, source)
    if name is None or (inputs and method == "plug-and-play"):
        if label is not None or draw:
            raise click.UsageError("plug-and-play knows no labels and draws nothing: leave out --label and --draw")
        _fill(name, model, inputs, mask, hide, n, seed, out, as_json)
        return
    found = face.complete(
        name,
        images,
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
        emit({"model": name, "seed": seed, "picture": out} | found.record())
    else:
        completions = f"{(many := found.images.shape[1])} completion{'s' * (many > 1)} each"
        note(f"{out}: {len(found.x)} images, {completions}, by {found.how}")


def _sorted(words: tuple[str, ...]) -> tuple[str | None, tuple[Path, ...]]:
    """A model's name, if the first word isn't a picture's, and pictures."""
    from imprior.data.images import PICTURES

    first = words[0]
    named = Path(first).suffix.lower() not in (*PICTURES, ".npy")
    return (first if named else None), tuple(Path(word) for word in words[named:])


def _fill(
    name: str | None,
    model: Any,
    inputs: tuple[Path, ...],
    mask: Path | None,
    hide: str | None,
    n: int | None,
    seed: int,
    out: Path,
    as_json: bool,
) -> None:
    """Fill one picture and write it."""
    from imprior import face
    from imprior.data.images import read_whole
    from imprior.data.writing import check, write_picture
    from imprior.errors import DataError
    from imprior.tasks.complete import HOW, counted

    counted(n, "plug-and-play")
    if len(inputs) > 1:
        raise DataError(f"plug-and-play fills one picture with its mask at a time, not {len(inputs)}")
    source = inputs[0]
    if out.exists() and source.exists() and out.samefile(source):
        raise DataError(f"{out}: would be written over the picture that it comes from")
    picture, extras = read_whole(source)
    check(out, picture, extras)
    name = name or face.pictures.default_denoiser(picture)
    with progress("filling") as update:
        filled = face.fill(picture, mask, hide=hide, model=model or name, seed=seed, progress=update)
    write_picture(out, filled, extras=extras)
    how = HOW["plug-and-play"]
    if as_json:
        emit({"model": name, "seed": seed, "picture": out, "images": 1, "n": 1, "method": "plug-and-play", "how": how})
    else:
        note(f"{out}: filled by {how}, {name}")
