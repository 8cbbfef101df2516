"""What do the encoder's choices gain, with the decoder as it is, and what do whole numbers cost?

    python benchmarks/codec_encoder.py photos/val.tar [--model runs/codec --limit 8]

For each quality, what a choice changes against files of effort 0, over the middles of the pictures: `gain_percent` is
the fall of rate + λ · distortion in percent of the rate, which is how much smaller files of the same quality are, to
first order. Rows:

    nearest          integers are the nearest ones
    caution 1 … 3    how often the error counts where an integer nearer to 0 saves bits (effort 0 takes 2)
    20, 50, … steps  of the search (efforts 1, 2, 3)
    float            the float codec, which training ends with, in place of the whole-number one: how much better it is.
                     Of a run folder; the embedded float codec is made of the whole-number one
"""

import argparse
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import photo_codecs
import torch
from photo_codecs import Levels
from show import finish, progress_to_stderr
from torch import Tensor

from imprior.models import codec_files
from imprior.models.codec import PhotoCodec
from imprior.models.codec_search import cost
from imprior.models.codec_whole import RATES
from imprior.tasks.coder import STEPS

CAUTIONS = (1.0, 1.4, 2.0, 3.0)


def middles(pictures: Sequence[Levels], side: int) -> Tensor:
    """[N, 3, side, side] in [0, 1]."""
    cut = []
    for picture in pictures:
        top, left = ((length - side) // 2 for length in picture.shape[:2])
        cut.append(picture[top : top + side, left : left + side])
    return torch.from_numpy(np.stack(cut)).permute(0, 3, 1, 2).float() / 255


def measured(model: PhotoCodec, x: Tensor, rate: int, steps: Sequence[int]) -> list[dict[str, Any]]:
    """The rows of a quality."""
    level = torch.full((len(x),), rate / (RATES - 1) * (model.anchors - 1))
    grid = model.transform(x)
    usual = cost(model, grid, x, rate)
    rows = []

    def row(choice: str, bits: Tensor, seconds: float | None = None) -> None:
        gain = 100 * float((usual.bits + usual.worth - bits).sum() / usual.bits.sum())
        rows.append({"quality": rate, "choice": choice, "gain_percent": gain, "seconds_per_megapixel": seconds})

    caution = codec_files.CAUTION
    try:
        for name, value in (("nearest", 1e9), *((f"caution {c:g}", c) for c in CAUTIONS)):
            codec_files.CAUTION = value
            found = cost(model, grid, x, rate)
            row(name, found.bits + found.worth)
    finally:
        codec_files.CAUTION = caution
    for count in steps:
        started = time.perf_counter()
        better = cost(model, model.refine(grid, x, rate, count), x, rate)
        row(f"{count} steps", better.bits + better.worth, (time.perf_counter() - started) / (x[:, 0].numel() / 1e6))
    with torch.no_grad():
        sent = model.transmit_settled(x, level)
    square = (sent.x.clamp(0, 1) - x).square().sum((1, 2, 3))
    row("float", sent.bits + model.weight(level) * 255**2 / x.shape[1] * square)
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", metavar="SRC", help="folder or archive of pictures, which are none of a test set")
    parser.add_argument("--model", default=photo_codecs.OURS, help="embedded name or run folder [photo-codec]")
    parser.add_argument("--qualities", type=int, nargs="+", default=[10, 50, 90], help="[10 50 90]")
    parser.add_argument("--steps", type=int, nargs="*", default=STEPS[1:], help="of the search [those of the efforts]")
    parser.add_argument("--side", type=int, default=256, help="of the middles, in pixels [256]")
    parser.add_argument("--limit", type=int, help="only the first so many pictures")
    asked = parser.parse_args(arguments)
    model = photo_codecs.opened(asked.model)
    assert isinstance(model, PhotoCodec)
    found, fingerprint = photo_codecs.pictures(asked.source, asked.limit)
    x, rows, tell = middles(found, asked.side), [], progress_to_stderr("qualities")
    for number, rate in enumerate(asked.qualities, 1):
        rows += measured(model, x, rate, asked.steps)
        tell(number, len(asked.qualities))
    protocol = {"pictures": len(found), "fingerprint": fingerprint, "side": asked.side}
    finish("codec_encoder", protocol | {"model": photo_codecs.hash_of(model)}, rows)


if __name__ == "__main__":
    main()
