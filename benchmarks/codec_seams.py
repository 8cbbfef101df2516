"""Can the borders of tiles be seen? PSNR at the borders, coded in tiles against coded as one tile.

    python benchmarks/codec_seams.py photos/ [--limit 4]

Tiles of 256 and 512 pixels (files have 1024); PSNR is over the 16 pixels along each border between tiles, eight on
either side, of each picture, then the mean over pictures. `difference_db` is what tiles cost there: seams that are
seen would cost much, since everywhere else the two are the same. `more_bytes` is what tiles cost in size.
"""

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np
import photo_codecs
from numpy.typing import NDArray
from photo_codecs import Levels
from show import finish, progress_to_stderr

from imprior.promises import CodesTiles
from imprior.tasks.photo_file import Target, decode, encode

BAND = 16  # pixels
WHOLE = 4096  # the largest tile there is


def band(height: int, width: int, side: int) -> NDArray[np.bool_]:
    """Which pixels are within eight of a border between tiles, [H, W]."""
    near = [
        np.isin(np.arange(length), [at + d for at in range(side, length, side) for d in range(-BAND // 2, BAND // 2)])
        for length in (height, width)
    ]
    return near[0][:, None] | near[1][None, :]


def coded(model: CodesTiles, picture: Levels, quality: int, side: int) -> tuple[int, Levels]:
    """Bytes, and what comes back."""
    data = encode(model, picture, Target(quality), side=side).data
    return len(data), decode(model, data).picture


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", metavar="SRC", help="folder or archive of pictures")
    parser.add_argument("--model", default=photo_codecs.OURS, help="embedded name or run folder [photo-codec]")
    parser.add_argument("--sides", type=int, nargs="+", default=[256, 512], help="of tiles [256 512]")
    parser.add_argument("--qualities", type=int, nargs="+", default=[10, 50, 90], help="[10 50 90]")
    parser.add_argument("--limit", type=int, help="only the first so many pictures")
    asked = parser.parse_args(arguments)
    model = photo_codecs.opened(asked.model)
    found, fingerprint = photo_codecs.pictures(asked.source, asked.limit)
    if max(max(x.shape[:2]) for x in found) > WHOLE:
        raise SystemExit(f"a picture of more than {WHOLE} pixels a side can't be one tile")

    tell, done = progress_to_stderr("files"), 0
    total = len(asked.qualities) * (len(asked.sides) + 1) * len(found)
    measured: dict[tuple[int, int], list[tuple[float, float, float]]] = {}
    for x in found:
        for quality in asked.qualities:
            size, whole = coded(model, x, quality, WHOLE)
            tell(done := done + 1, total)
            for side in asked.sides:
                own_size, tiled = coded(model, x, quality, side)
                tell(done := done + 1, total)
                near = band(*x.shape[:2], side)
                if near.any():  # [P, 1, 3]: the pixels of the band as a picture
                    dbs = [photo_codecs.db(x[near][:, None], y[near][:, None]) for y in (tiled, whole)]
                    measured.setdefault((side, quality), []).append((*dbs, 100 * (own_size / size - 1)))
    rows: list[dict[str, Any]] = []
    for (side, quality), values in sorted(measured.items()):
        tiled_db, whole_db, more = (float(v) for v in np.mean(values, axis=0))
        worst = min(a - b for a, b, _ in values)
        rows.append(
            {"tile": side, "quality": quality, "pictures": len(values), "db_in_tiles": tiled_db, "db_whole": whole_db}
            | {"difference_db": tiled_db - whole_db, "worst_difference_db": worst, "more_bytes %": more}
        )
    protocol = {"pictures": len(found), "fingerprint": fingerprint, "model": photo_codecs.hash_of(model)}
    finish("codec_seams", protocol | {"band": f"{BAND} pixels"}, rows)


if __name__ == "__main__":
    main()
