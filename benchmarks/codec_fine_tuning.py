"""What does the photo codec gain when it goes on learning from pictures of one kind? Textures, or pages of text.

    python benchmarks/codec_fine_tuning.py --kind texture --out runs/on-textures images=4000
    python benchmarks/codec_fine_tuning.py --kind text --out runs/on-text images=4000

Textures are brick, grass and gravel as they come inside scikit-image (CC0): the codec learns from the left two thirds
of each and is judged on the right third. Pages are drawn by Pillow as if scanned (drawn_pictures.py): other seeds are
learned from than judged on. Files are real ones; BD-rate is over what the curves before and after have in common. The
weights that it begins with are those of --model, by the same command that a person would use:

    imprior train photo-codec --data pictures/ --init photo-codec --out runs/on-textures data.crop=128 images=4000
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import photo_codecs
from drawn_pictures import scan
from photo_codecs import Levels
from PIL import Image
from rate_distortion import percent
from show import finish, progress_to_stderr

from imprior import fit, recipes
from imprior.coding.classical import Codec
from imprior.metrics.bd_rate import Curve

PAGES = 12  # to learn from


def textures() -> tuple[list[Levels], list[Levels]]:
    """Pictures [H, W, 3] to learn from and to be judged on."""
    from skimage import data

    found = [np.repeat(np.asarray(picture)[..., None], 3, 2) for picture in (data.brick(), data.grass(), data.gravel())]
    cut = [picture.shape[1] * 2 // 3 for picture in found]
    parts = list(zip(found, cut, strict=True))
    return [picture[:, :at] for picture, at in parts], [picture[:, at:] for picture, at in parts]


def text() -> tuple[list[Levels], list[Levels]]:
    """The same of pages."""

    def pages(seeds: range) -> list[Levels]:
        return [np.repeat(page[..., None], 3, 2) if page.ndim == 2 else page for page in map(scan, seeds)]

    return pages(range(100, 100 + PAGES)), pages(range(3))


KINDS = {"texture": textures, "text": text}


def points(codec: Codec, pictures: list[Levels]) -> Iterator[tuple[float, float]]:
    """(bits a pixel, PSNR) at each setting, means over the pictures."""
    tell = progress_to_stderr(codec.name)
    for done, quality in enumerate(codec.qualities, 1):
        found = [photo_codecs.coded(codec, picture, quality) for picture in pictures]
        rates = [8 * f.bytes / (p.size // 3) for f, p in zip(found, pictures, strict=True)]
        yield float(np.mean(rates)), float(np.mean([f.db for f in found]))
        tell(done, len(codec.qualities))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("settings", metavar="key=value", nargs="*", help="settings of the training")
    parser.add_argument("--kind", choices=list(KINDS), required=True)
    parser.add_argument("--model", default=photo_codecs.OURS, help="a name or a run folder")
    parser.add_argument("--points", type=int, default=7, help="settings of each codec")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    asked = parser.parse_intermixed_args()

    learned, judged = KINDS[asked.kind]()
    source = asked.out.with_name(f"{asked.out.name}-pictures")
    source.mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(learned):
        Image.fromarray(picture).save(source / f"{number:02}.png")
    overrides = ["data.crop=128", "data.validation=0", "optimiser.rate=2e-4", *asked.settings]
    recipe = recipes.find("photo-codec").with_overrides(overrides)
    run = fit.train(recipe, source, asked.out, init=asked.model, resume=True)

    models = {"before": photo_codecs.opened(asked.model), "after": photo_codecs.opened(str(run.path))}
    codecs = {when: photo_codecs.ours(model) for when, model in models.items()}
    codecs["jpeg"] = photo_codecs.peers("jpeg")[0]
    curves: dict[str, Curve] = {}
    rows: list[dict[str, Any]] = []
    for name, codec in codecs.items():
        fewer = photo_codecs.thinned(codec.qualities, asked.points)
        found = list(points(replace(codec, name=name, qualities=fewer), judged))
        curves[name] = Curve([rate for rate, _ in found], [db for _, db in found])
    for name, curve in curves.items():
        rows.append(
            {"codec": name}
            | {f"bd_rate {anchor}": percent(curves[anchor], curve) for anchor in ("before", "jpeg")}
            | {f"bits_per_pixel at {db} dB": curve.bits_at(db) for db in (30, 34)}
        )
    card = run.read("card.json")["training"]
    protocol = {"kind": asked.kind, "settings": overrides, "learned from": len(learned), "judged on": len(judged)}
    finish(
        f"codec_fine_tuning_{asked.kind}",
        protocol | {"images": card["images"], "minutes": card["seconds"] / 60} | photo_codecs.libraries(),
        rows,
    )


if __name__ == "__main__":
    main()
