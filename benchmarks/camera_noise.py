"""Camera noise: our denoiser, blind and told, against non-local means and BM3D that are given the best sigma.

    python benchmarks/camera_noise.py val.tar
    python benchmarks/camera_noise.py val.tar --write camera-noise/      also keeps the test set as PNG files

The test set is made here: the centre of each clean picture through the synthetic camera of `imprior.data.camera`
(signal-dependent noise on a mosaic, demosaicing, tone curve, resizing, mostly JPEG), with a seed of its own, rounded to
8 bits. "Told" is the true standard deviation of y - x over the whole picture. "Best sigma" is, picture by picture, the
result nearest to the clean picture over sigmas that are multiples of the true one: a choice that nobody has outside of
a benchmark, which peers are given. PSNR after clipping and rounding, over all colours, mean over pictures. --keep FILE
has a line for each picture of a peer.
"""

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import photos
import torch
from show import Kept, finish, progress_to_stderr, standard_error, versions

from imprior import opening
from imprior.data.camera import camera
from imprior.data.writing import write_picture
from imprior.randomness import generator

FACTORS = (0.5, 0.7, 0.85, 1.0, 1.2, 1.5, 2.0)  # of the true sigma: what a peer's best is looked for among


def taken(picture: photos.Picture, seed: int, place: int) -> photos.Picture:
    """A picture as a camera would have taken it, in 8 bits."""
    y = camera(photos.as_batch(picture), generator(seed, "camera", place))[0].permute(1, 2, 0).numpy()
    return np.ascontiguousarray(np.rint(255 * y.clip(0, 1)) / 255, np.float32)


def best_of(x: photos.Picture, y: photos.Picture, clean: photos.Clean, sigma: float) -> float:
    """PSNR [dB] of the best result over sigmas about the true one, at most 75."""
    return max(photos.db(x, clean(y, min(factor * sigma, 75.0))) for factor in FACTORS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", metavar="SRC", help="clean colour photographs")
    parser.add_argument("--model", default="photo-denoiser", help="embedded name or run folder")
    parser.add_argument("--peers", nargs="*", default=["bm3d", "non-local-means"], help="which")
    parser.add_argument("--crop", type=int, default=512, help="at most so many pixels a side [512]")
    parser.add_argument("--limit", type=int, help="only so many pictures")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="what peers did, to go on from (.jsonl)")
    parser.add_argument("--seed", type=int, default=0, help="of the cameras [0]")
    parser.add_argument("--write", type=Path, metavar="DIR", help="keep clean and noisy pictures there")
    asked = parser.parse_args()

    clean = photos.load(asked.source, 3, limit=asked.limit, crop=asked.crop)
    ours, peers = photos.ours(opening.model(asked.model).model), photos.peers(*asked.peers)
    measured_by = versions("scikit-image", "bm3d")
    kept = Kept[float](asked.keep, measured_by)
    found: dict[str, list[float]] = {}
    sigmas: list[float] = []
    tell = progress_to_stderr("camera noise")
    for place, x in enumerate(clean.pictures):
        y = taken(x, asked.seed, place)
        sigma = 255 * float(np.sqrt(np.square(y - x).mean()))
        sigmas.append(sigma)
        results = {
            "(noisy)": photos.db(x, y),
            f"{asked.model}, blind": photos.db(x, ours(y, None)),
            f"{asked.model}, told": photos.db(x, ours(y, min(sigma, 75.0))),
            f"{asked.model}, best sigma": best_of(x, y, ours, sigma),
        }
        for name, peer in peers.items():
            results[f"{name}, best sigma"] = kept.of(
                partial(best_of, x, y, peer, sigma), clean.fingerprint, asked.crop, asked.seed, place, FACTORS, name
            )
        for name, value in results.items():
            found.setdefault(name, []).append(value)
        if asked.write is not None:
            for folder, picture in (("clean", x), ("noisy", y)):
                (asked.write / folder).mkdir(parents=True, exist_ok=True)
                write_picture(asked.write / folder / f"{place:02d}.png", picture)
        tell(place + 1, len(clean.pictures))

    best = max((f"{name}, best sigma" for name in peers), key=lambda n: np.mean(found[n]), default=None)
    rows: list[dict[str, Any]] = []
    for name, values in found.items():
        row = {"method": name, "psnr_db": photos.mean(values), "standard_error": standard_error(torch.tensor(values))}
        if best is not None:
            gain = torch.tensor(values) - torch.tensor(found[best])
            row |= {"gain_db": float(gain.mean()), "gain_standard_error": standard_error(gain)}
        rows.append(row)
    print(f"gain over {best}" if best else "no peers", file=sys.stderr)
    protocol = {
        "pictures": len(clean.pictures),
        "fingerprint": clean.fingerprint,
        "crop": asked.crop,
        "seed": asked.seed,
        "sigma_of_pictures": f"{min(sigmas):.1f} to {max(sigmas):.1f}, mean {np.mean(sigmas):.1f}",
        "best_sigma_among": ", ".join(f"{factor:g}" for factor in FACTORS) + " times the true one",
        "gain_over": best,
        "versions": measured_by,
    }
    finish("camera_noise", protocol, rows)


if __name__ == "__main__":
    main()
