"""Filling by plug-and-play beside biharmonic inpainting: random missing pixels and thin scratches.

    python benchmarks/filling.py val.tar

The centre of each photograph loses 50 % or 80 % of its pixels, or what some thin curved scratches cover, by a seed of
its own. PSNR after rounding to 8 bits, over ALL pixels of the picture and all colours, so the known ones (which every
method keeps) are counted too; mean over pictures. `missing_db` is the same over the missing pixels alone. "Start" is
what plug-and-play begins with: smooth surfaces, without the denoiser. Biharmonic inpainting is scikit-image's.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import photos
import torch
from numpy.typing import NDArray
from show import finish, progress_to_stderr, standard_error, versions

from imprior import opening
from imprior.randomness import generator
from imprior.tasks import fill

Mask = NDArray[np.bool_]  # [H, W], True where a pixel is missing


def scattered(share: float, height: int, width: int, rng: torch.Generator) -> Mask:
    """That share of the pixels, wherever."""
    return (torch.rand(height, width, generator=rng) < share).numpy()  # type: ignore[no-any-return]


def scratches(height: int, width: int, rng: torch.Generator, *, count: int = 8) -> Mask:
    """Curved lines across the picture, 1 to 4 pixels wide."""
    found = np.zeros((height, width), bool)
    along = torch.linspace(0, 1, 4 * (height + width))
    rows, columns = np.ogrid[:height, :width]
    for _ in range(count):
        ends = torch.rand(3, 2, generator=rng) * torch.tensor([height - 1.0, width - 1.0])  # of a Bézier curve
        radius = 0.5 + 1.5 * float(torch.rand((), generator=rng))
        weights = torch.stack([(1 - along) ** 2, 2 * along * (1 - along), along**2], 1)
        for row, column in (weights @ ends).tolist():
            top, left = max(int(row) - 3, 0), max(int(column) - 3, 0)
            near = (slice(top, top + 7), slice(left, left + 7))
            distance = (rows[near[0]] - row) ** 2 + (columns[:, near[1]] - column) ** 2
            found[near] |= distance <= radius**2
    return found


def biharmonic(picture: photos.Picture, missing: Mask) -> photos.Picture:
    from skimage.restoration import inpaint_biharmonic

    return np.asarray(inpaint_biharmonic(picture, missing, channel_axis=-1), np.float32)


def begun(picture: photos.Picture, missing: Mask) -> photos.Picture:
    known = torch.from_numpy(~missing)[None, None]
    return fill.start(photos.as_batch(picture), known)[0].permute(1, 2, 0).numpy()  # type: ignore[no-any-return]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", metavar="SRC", help="colour photographs")
    parser.add_argument("--model", default="photo-denoiser", help="embedded name or run folder")
    parser.add_argument("--crop", type=int, default=256, help="pixels a side, biharmonic inpainting being slow [256]")
    parser.add_argument("--limit", type=int, help="only so many pictures")
    parser.add_argument("--seed", type=int, default=0, help="of the masks [0]")
    asked = parser.parse_args()

    clean = photos.load(asked.source, 3, limit=asked.limit, crop=asked.crop)
    model = opening.model(asked.model).model
    methods: dict[str, Callable[[photos.Picture, Mask], photos.Picture]] = {
        asked.model: lambda y, missing: fill.fill_picture(model, y, torch.from_numpy(~missing)[None, None]),
        "biharmonic": biharmonic,
        "start": begun,
    }
    holes: dict[str, Callable[[int, int, torch.Generator], Mask]] = {
        "50 % missing": lambda h, w, rng: scattered(0.5, h, w, rng),
        "80 % missing": lambda h, w, rng: scattered(0.8, h, w, rng),
        "scratches": scratches,
    }
    rows: list[dict[str, Any]] = []
    for kind, draw in holes.items():
        found: dict[str, list[float]] = {name: [] for name in methods}
        alone: dict[str, list[float]] = {name: [] for name in methods}
        seconds = dict.fromkeys(methods, 0.0)
        share = []
        tell = progress_to_stderr(kind)
        for place, x in enumerate(clean.pictures):
            missing = draw(*x.shape[:2], generator(asked.seed, kind, place))
            share.append(float(missing.mean()))
            y = np.where(missing[..., None], np.float32(0), x)
            for name, method in methods.items():
                started = time.perf_counter()
                result = method(y, missing)
                seconds[name] += time.perf_counter() - started
                found[name].append(photos.db(x, result))
                alone[name].append(photos.db(x[missing], result[missing]))
            tell(place + 1, len(clean.pictures))
        for name, values in found.items():
            gain = torch.tensor(values) - torch.tensor(found["biharmonic"])
            rows.append({
                "holes": kind,
                "share": float(np.mean(share)),
                "method": name,
                "psnr_db": photos.mean(values),
                "standard_error": standard_error(torch.tensor(values)),
                "gain_db": float(gain.mean()),
                "gain_standard_error": standard_error(gain),
                "missing_db": photos.mean(alone[name]),
                "seconds_per_picture": seconds[name] / len(values),
            })  # fmt: skip
    protocol = {
        "pictures": len(clean.pictures),
        "fingerprint": clean.fingerprint,
        "crop": asked.crop,
        "seed": asked.seed,
        "psnr": "over all pixels, 8 bits, all colours",
        "gain_over": "biharmonic inpainting",
        "steps": fill.STEPS,
        "versions": versions("scikit-image"),
    }
    finish("filling", protocol, rows)


if __name__ == "__main__":
    main()
