"""Units that are never above zero: of each residual block of a photo model, whatever the picture, noise or quality.

    python benchmarks/dead_units.py val.tar --models photo-denoiser photo-codec

Counted at the activation inside each block, on the centres of the pictures. A plain ReLU that is dead learns no more
and computes nothing; a leaky one still passes a part of what is below zero.
"""

import argparse
from typing import Any

import photos
import torch
from show import finish
from torch import Tensor, nn

from imprior import opening
from imprior.models.codec import LEVELS, PhotoCodec
from imprior.nn.unet import Block


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", metavar="SRC", help="photographs")
    parser.add_argument("--models", nargs="+", default=["photo-denoiser", "photo-codec"], help="names or run folders")
    parser.add_argument("--crop", type=int, default=256, help="at most so many pixels a side [256]")
    parser.add_argument("--limit", type=int, help="only so many pictures")
    asked = parser.parse_args()

    rows: list[dict[str, Any]] = []
    for name in asked.models:
        model: Any = opening.model(name).model
        found = photos.load(asked.source, model.shape[0], crop=asked.crop, limit=asked.limit)
        blocks = {called: block for called, block in model.named_modules() if isinstance(block, Block)}
        seen = {called: torch.zeros(block.first.out_channels, dtype=torch.bool) for called, block in blocks.items()}

        def look(called: str, seen: dict[str, Tensor] = seen) -> Any:
            def hook(_: nn.Module, __: Any, inner: Tensor) -> None:
                seen[called] |= (inner > 0).any(0).flatten(1).any(1)

            return hook

        for called, block in blocks.items():
            block.first.register_forward_hook(look(called))
        with torch.no_grad():
            for place, x in enumerate(found.pictures):
                if isinstance(model, PhotoCodec):
                    for level in (0.0, (LEVELS - 1) / 2, LEVELS - 1.0):
                        model.transmit(photos.as_batch(x), torch.full((1,), level), None)
                else:
                    for sigma in (2.0, 15.0, 50.0):
                        model.denoise(photos.as_batch(photos.noisy(x, sigma, 0, place)), sigma / 255)
        rows += [
            {"model": name, "block": called, "units": len(alive), "dead": int((~alive).sum())}
            | {"slope": blocks[called].slope}
            for called, alive in seen.items()
        ]
    finish("dead_units", {"fingerprint": found.fingerprint, "pictures": len(found.pictures), "crop": asked.crop}, rows)


if __name__ == "__main__":
    main()
