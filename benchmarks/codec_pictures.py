"""Where codecs fail: photographs at 0.1 bit a pixel by each of them, side by side.

    python benchmarks/codec_pictures.py [--pictures kodak/ --limit 3]

The best file of at most so many bits, or where a codec has none the smallest that it can write (the table says what it
took). The picture shows the middle of each photograph.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import photo_codecs
import torch
from photo_codecs import Found, Levels, best_within, coded
from show import RESULTS, finish
from torch import Tensor

from imprior import runs
from imprior.coding.classical import codec
from imprior.report import grid

FINE: dict[str, tuple[Any, ...]] = {
    "imprior": tuple(range(101)),
    "avif": tuple(range(101)),
    "webp": tuple(range(101)),
    "jpeg2000": tuple(range(15, 46)),
    "jpeg": tuple(range(1, 101)),
}


def middle(picture: Levels, side: int) -> Tensor:
    """[1, 3, side, side] in [0, 1]."""
    top, left = ((length - side) // 2 for length in picture.shape[:2])
    cut = np.array(picture[max(top, 0) : max(top, 0) + side, max(left, 0) : max(left, 0) + side])
    return torch.from_numpy(cut).permute(2, 0, 1)[None] / 255


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=photo_codecs.OURS, help="embedded name or run folder [photo-codec]")
    parser.add_argument("--pictures", metavar="SRC", help="folder or archive [the embedded photographs]")
    parser.add_argument("--limit", type=int, help="only the first so many pictures")
    parser.add_argument("--bpp", type=float, default=0.1, help="bits a pixel [0.1]")
    parser.add_argument("--side", type=int, default=256, help="of what is shown, pixels [256]")
    asked = parser.parse_args(arguments)
    model = photo_codecs.opened(asked.model)
    source = asked.pictures or str(runs.EMBEDDED / "data" / "photos")
    pictures, fingerprint = photo_codecs.pictures(source, asked.limit)
    every = {"imprior": photo_codecs.ours(model)}
    codecs = [replace(every.get(name) or codec(name), qualities=settings) for name, settings in FINE.items()]

    rows: list[dict[str, Any]] = []
    shown: list[Tensor] = []
    for number, x in enumerate(pictures):
        pixels, row = x.size // 3, {"picture": str(number + 1)}
        crops = [middle(x, asked.side)]
        for each in codecs:
            found: Found = best_within(each, x, int(asked.bpp * pixels / 8)) or coded(each, x, each.qualities[0])
            row |= {f"{each.name} bits_per_pixel": 8 * found.bytes / pixels, f"{each.name} db": found.db}
            crops.append(middle(found.picture, asked.side))
        rows.append(row)
        shown.append(torch.cat(crops))
    drawn = grid.rows(shown, columns=["original", *(each.name for each in codecs)], scale=1)
    runs.write_bytes(RESULTS / "codec_pictures.png", grid.encoded(drawn))
    protocol = {
        "at_most_bits_per_pixel": asked.bpp,
        "fingerprint": fingerprint,
        "model": photo_codecs.hash_of(model),
        "versions": photo_codecs.libraries(),
    }
    finish("codec_pictures", protocol, rows)


if __name__ == "__main__":
    main()
