"""For which kinds of picture is the photo codec good? Its bytes beside those of JPEG and AVIF, kind by kind.

    python benchmarks/codec_kinds.py [--photographs photos/ --limit 8]

Of each picture and codec the smallest file counts whose picture has at least 34 dB: where a codec stores tiles without
loss, which this one does with screens and drawings, a PSNR that all of them meet exactly does not exist. JPEG and AVIF
are allowed the better of half and full resolution of colour; PNG is what no loss takes. Rates are of all pictures of a
kind together, percentages geometric means over its pictures. `jpeg_better` is for how many of our files, four of each
picture (qualities 10, 40, 70 and 100), JPEG has a higher PSNR in as many bytes.

Portraits, textures and one page are those that come inside scikit-image (public domain or CC0), and so are the
photographs unless others are named; digits are mosaics of MNIST's test images. Screens, drawings and further pages are
drawn by Pillow (drawn_pictures.py, seeded), noise is drawn and flat pictures are of one colour or a slope.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import photo_codecs
from drawn_pictures import drawing, scan, screen
from photo_codecs import Found, Levels, best_within, coded
from show import finish, progress_to_stderr

from imprior.coding.classical import Codec
from imprior.coding.classical import codec as classical
from imprior.data import prepare
from imprior.data.settings import Data
from imprior.tasks.rate_distortion import mosaic

KINDS = ("photograph", "portrait", "texture", "scanned text", "screen", "drawing", "digits", "noise", "flat")
ALL = tuple(range(1, 101))
TRIED = (10, 40, 70, 100)  # qualities that are held against JPEG's
SIDE = 12  # digits a side of a mosaic


def smallest(codec: Codec, picture: Levels, target_db: float) -> Found | None:
    """Its smallest file of at least that PSNR, which grows with quality; None where the best one has less."""
    low, high, best = 0, len(codec.qualities) - 1, None
    while low <= high:
        middle = (low + high) // 2
        found = coded(codec, picture, codec.qualities[middle])
        if found.db >= target_db:
            best, high = found, middle - 1
        else:
            low = middle + 1
    return best


def kinds(photographs: str | None, limit: int | None) -> dict[str, list[Levels]]:
    """Pictures by kind, [H, W] or [H, W, 3]."""
    from skimage import data

    def colour(*found: Any) -> list[Levels]:
        return [np.asarray(picture) for picture in found]

    own = photo_codecs.pictures(photographs, limit)[0] if photographs else colour(data.coffee(), data.rocket())
    digits = prepare.load("digits", Data(), "test").pixels
    mosaics = [digits[SIDE**2 * i : SIDE**2 * (i + 1)].float() / 255 for i in range(2)]
    rng = np.random.default_rng(0)
    slope = np.linspace(40, 215, 512)[None, :, None] * np.ones((384, 1, 3)) * (1.0, 0.9, 0.8)
    found = {
        "photograph": own,
        "portrait": colour(data.astronaut(), data.camera()),
        "texture": colour(data.brick(), data.grass(), data.gravel()),
        "scanned text": [np.asarray(data.page()), scan(0), scan(1)],
        "screen": [screen(0), screen(1), screen(2, inset=np.asarray(data.coffee()))],
        "drawing": [drawing(0), drawing(1), drawing(2, shaded=True)],
        "digits": [np.rint(255 * mosaic(x)[0].numpy()).astype(np.uint8) for x in mosaics],
        "noise": [rng.integers(0, 256, (256, 256, 3), np.uint8)],
        "flat": [np.full((384, 512, 3), (90, 140, 200), np.uint8), np.rint(slope).astype(np.uint8)],
    }
    return {kind: pictures[:limit] for kind, pictures in found.items()}


def row(kind: str, pictures: Sequence[Levels], ours: Codec, target_db: float) -> dict[str, Any]:
    """A kind's row."""
    peers = {
        "jpeg": [replace(classical(name), qualities=ALL) for name in ("jpeg", "jpeg-444")],
        "avif": [replace(photo_codecs.avif(**how), qualities=ALL) for how in ({}, {"subsampling": "4:4:4"})],
    }
    files: dict[str, list[Found | None]] = {name: [] for name in ("imprior", *peers)}
    exact = better = lossless = 0
    for picture in pictures:
        own = smallest(ours, picture, target_db)
        files["imprior"].append(own)
        lossless += coded(classical("png"), picture, None).bytes
        for name, variants in peers.items():
            there = [found for found in (smallest(codec, picture, target_db) for codec in variants) if found]
            files[name].append(min(there, key=lambda found: found.bytes) if there else None)
        exact += own is not None and own.db >= photo_codecs.db(picture, picture)
        for quality in TRIED:
            one = coded(ours, picture, quality)
            rivals = (best_within(codec, picture, one.bytes) for codec in peers["jpeg"])
            better += any(rival is not None and rival.db > one.db for rival in rivals)
    pixels = sum(picture.shape[0] * picture.shape[1] for picture in pictures)
    rates = {
        f"bits_per_pixel {name}": None if None in of else 8 * sum(one.bytes for one in of if one) / pixels
        for name, of in files.items()
    }
    return (
        {"kind": kind, "pictures": len(pictures)}
        | rates
        | {"bits_per_pixel png": 8 * lossless / pixels}
        | {f"against {name} %": against(files["imprior"], files[name]) for name in peers}
        | {"without_loss": exact, "jpeg_better": f"{better} of {len(TRIED) * len(pictures)}"}
    )


def against(ours: Sequence[Found | None], theirs: Sequence[Found | None]) -> float | None:
    """By how many percent our files are larger, geometric mean; None where a codec does not get there."""
    pairs = [(a.bytes, b.bytes) for a, b in zip(ours, theirs, strict=True) if a and b]
    return float(100 * np.expm1(np.mean([np.log(a / b) for a, b in pairs]))) if len(pairs) == len(ours) else None


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=photo_codecs.OURS, help="embedded name or run folder [photo-codec]")
    parser.add_argument("--photographs", metavar="SRC", help="folder or archive [two of scikit-image]")
    parser.add_argument("--limit", type=int, help="at most so many pictures of a kind")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS, help="only these [all]")
    parser.add_argument("--db", type=float, default=34.0, help="that the pictures have at least [34]")
    asked = parser.parse_args(arguments)
    model = photo_codecs.opened(asked.model)
    ours = photo_codecs.ours(model, settings=(0, *ALL))
    every = kinds(asked.photographs, asked.limit)
    wanted = {kind: every[kind] for kind in asked.kinds}
    tell, rows = progress_to_stderr("kinds"), []
    for kind, pictures in wanted.items():
        rows.append(row(kind, pictures, ours, asked.db))
        tell(len(rows), len(wanted))
    protocol = {
        "at_least_db": asked.db,
        "model": photo_codecs.hash_of(model),
        "photographs": "those named" if asked.photographs else "scikit-image",
        "versions": photo_codecs.libraries(),
    }
    finish("codec_kinds", protocol, rows)


if __name__ == "__main__":
    main()
