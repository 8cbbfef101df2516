"""`imprior quality MODEL …`: how good samples are, beside real images, and whether they are copies."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from imprior.cli._options import as_json, data, models, picture_out, seed, temperature, verb
from imprior.cli._output import emit, note, picture_name, progress, table

if TYPE_CHECKING:
    from PIL.Image import Image

    from imprior.tasks.quality import Quality


@verb(
    "quality",
    "Train and judge",
    "imprior quality mnist-gan --data DIR",
    "imprior quality mnist-gan mnist-vae --data DIR -n 2000 -o quality.html",
    "imprior quality runs/gan --data DIR --classifier runs/classifier --json",
    "imprior quality runs/gan --data DIR --inception inception.pt",
)
@models()
@data(required=True)
@click.option("--classifier", metavar="MODEL", help="In whose features to measure.  [default: the one made for SRC]")
@click.option(
    "--inception",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="TorchScript of the Inception network, for real FID. It is a program that is run: only from whom you trust.",
)
@click.option("-n", type=click.IntRange(min=1), help="Samples of each model.  [default: half of the test images]")
@temperature()
@click.option("--draw", is_flag=True, help="Draw pixels too, instead of judging the mean image of each latent.")
@seed()
@picture_out(required=False, what="Page to write (.html), or a picture of the pairs most like copies (.png, …).")
@as_json()
def command(
    models: tuple[str, ...],
    source: str,
    classifier: str | None,
    inception: Path | None,
    n: int | None,
    temperature: float,
    draw: bool,
    seed: int,
    out: Path | None,
    as_json: bool,
) -> None:
    """Measure samples.

    Fréchet and kernel distance, precision, recall, density and coverage in the features of a small classifier, beside
    the same of real images; accuracy by label; and how near samples are to training images.
    """
    from imprior.face.quality import quality
    from imprior.runs import write_bytes, write_text

    if out is not None and out.suffix.lower() != ".html":
        picture_name(out)
    found: dict[str, Quality] = {}
    for name in models:
        with progress(f"drawing from {name}") as update:
            found[name] = quality(
                name,
                source,
                classifier=classifier,
                inception=inception,
                n=n,
                seed=seed,
                draw=draw,
                temperature=temperature,
                progress=update,
            )
    if out is not None and out.suffix.lower() == ".html":
        write_text(out, _page(found))
        note(f"{out}: figures, and the pairs most like copies")
    elif out is not None:
        from imprior.report import grid

        write_bytes(out, grid.encoded(_pairs(found), out))
        note(f"{out}: samples most like a training image, and that image below each")
    if as_json:
        emit({name: one.record() for name, one in found.items()})
        return
    print("\n".join([*table(_figures(found)), "", *table(_memory(found))]))
    print("\n" + "\n".join(_words(found)))


def _figures(found: dict[str, Quality]) -> list[dict[str, Any]]:
    """A row for each model, and one for the real images that it was compared with."""
    rows, floors = [], set()
    for name, one in found.items():
        images = one.protocol["images"]
        if one.protocol["temperature"] != 1:
            images += f" at {one.protocol['temperature']:g}"
        if one.protocol["binarization"] != "none":
            images += ", binary"
        for who, distances, ratio, accuracy in (
            (name, one.samples, one.ratio, one.accuracy),
            (f"real images{', binary' * images.endswith('binary')}", one.floor, None, one.real_accuracy),
        ):
            if who != name and who in floors:
                continue
            floors |= {who} - {name}
            record = distances.record()
            error = record.pop("kid_standard_error")
            kid = {"fd": record.pop("fd"), "x real": ratio, "kid": f"{record.pop('kid'):.4f} ± {error:.4f}"}
            seconds = one.seconds_per_image if who == name else None
            rows.append(
                {"model": who, "images": images if who == name else ""}
                | kid
                | record
                | {"accuracy": accuracy, "seconds per image": seconds}
            )
    return rows


def _memory(found: dict[str, Quality]) -> list[dict[str, Any]]:
    return [
        {"model": name, "nearest training image": memory.space}
        | {"distance": memory.median, "of new images": memory.held_out_median, "ratio": memory.ratio}
        | {"closer than 99 %": memory.close, "standing out": memory.flagged, "of new": memory.held_out_flagged}
        for name, one in found.items()
        for memory in one.memory
    ]


def _words(found: dict[str, Quality]) -> list[str]:
    """What the figures were measured with."""
    one = next(iter(found.values()))
    sha = one.protocol["classifier_sha256"]
    lines = [
        f"fd is {one.measure}, classifier {sha[:8] if sha else 'without weights'}, n = {one.n:,}; lower is better, and "
        "real images against others of their kind are the floor",
        "accuracy: share of samples that the classifier takes for their label; standing out: nearest training image at "
        "less than half the distance of the next 50",
    ]
    lines += [
        f"{name}: classes diverge from the real ones' by {one.class_divergence:.4f} nats"
        for name, one in found.items()
        if one.class_divergence is not None
    ]
    return lines


def _pairs(found: dict[str, Quality]) -> Image:
    from imprior.report import grid

    rows = [batch for one in found.values() for batch in (one.worst, one.copied)]
    captions = [text for name in found for text in (f"{name}: drawn", "nearest in training")]
    return grid.rows(rows, captions=captions)


def _page(found: dict[str, Quality]) -> str:
    from imprior.report import grid, page

    figures, memory = (
        page.Table(list(rows[0]), [list(row.values()) for row in rows]) for rows in (_figures(found), _memory(found))
    )
    pairs = page.Picture(
        grid.encoded(_pairs(found)),
        "The samples that are most like one training image beside the next 50, and that image below each.",
    )
    sections = [page.Section("Distances", [figures, *_words(found)]), page.Section("Memory", [memory, pairs])]
    return page.render("Sample quality", sections, lead="Samples beside as many real images that no model has seen.")
