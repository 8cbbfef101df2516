"""Denoisers of photographs beside BM3D, non-local means, total variation and wavelets, on the sets that papers use.

    python benchmarks/photo_denoising.py --grey BSD68=bsd68/ Set12=set12/ --colour CBSD68=cbsd68/ Kodak=kodak/
    python benchmarks/photo_denoising.py … --noise-level        how well sigma is estimated

White noise of sigma 15, 25 and 50 on the 8-bit scale is added in float to the 8-bit picture and not clipped, to each
picture its own, made from seed, set and place. PSNR after clipping and rounding, over all pixels and colours, mean over
pictures. `db` is told sigma; `blind_db` estimates it from the noisy picture (as `imprior denoise` does without
--sigma). The peers run on the same noise, told sigma, with the settings they come with. --keep FILE has a line for each
picture that a peer has cleaned: BM3D takes an hour for these sets.
"""

import argparse
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import photos
import torch
from show import Kept, finish, progress_to_stderr, standard_error, versions

from imprior import opening
from imprior.models.classical import noise_level
from imprior.promises import DenoisesLocally
from imprior.tasks import tiles

LEVELS = tuple(range(0, 61, 5))  # of sigma, where its estimate is judged


def sets(named: list[str], channels: int, limit: int | None) -> dict[str, tuple[int, photos.Pictures]]:
    """NAME=SOURCE … -> the pictures of each."""
    return {
        name: (channels, photos.load(source, channels, limit=limit))
        for name, _, source in (one.partition("=") for one in named)
    }


def told(
    name: str,
    found: photos.Pictures,
    methods: dict[str, photos.Clean],
    blind: str,
    sigmas: list[float],
    seed: int,
    kept: Kept[list[float]],
) -> list[dict[str, Any]]:
    """A row for each method on one set; what peers did is kept, what `blind` does is not."""
    tell = progress_to_stderr(name)
    rows: dict[str, dict[str, Any]] = {}
    done, total = 0, len(sigmas) * len(methods) * len(found.pictures)
    for sigma in sigmas:
        y = [photos.noisy(x, sigma, seed, name, place) for place, x in enumerate(found.pictures)]
        for method, clean in methods.items():
            row = rows.setdefault(method, {"set": name, "method": method, "seconds": 0.0})
            values, unknown = [], []
            for place, (clean_picture, picture) in enumerate(zip(found.pictures, y, strict=True)):
                keep = Kept[list[float]](None) if method == blind else kept
                value, seconds = keep.of(
                    partial(cleaned, clean_picture, picture, clean, sigma),
                    *(found.fingerprint, name, seed, f"{sigma:g}", place, method),
                )
                values.append(value)
                row["seconds"] += seconds
                if method == blind:
                    unknown.append(photos.db(clean_picture, clean(picture, None)))
                tell(done := done + 1, total)
            row |= {f"db {sigma:g}": photos.mean(values)}
            row |= {f"standard_error {sigma:g}": standard_error(torch.tensor(values))}
            if unknown:
                row |= {f"blind_db {sigma:g}": photos.mean(unknown)}
    ordered = []
    for row in rows.values():  # seconds for a megapixel at the end of the row, over all sigmas
        megapixels = len(sigmas) * sum(x[..., 0].size for x in found.pictures) / 1e6
        ordered.append(row | {"seconds_per_megapixel": row.pop("seconds") / megapixels})
    return ordered


def cleaned(x: photos.Picture, y: photos.Picture, clean: photos.Clean, sigma: float) -> list[float]:
    """PSNR [dB] and the seconds that cleaning y took."""
    started = time.perf_counter()
    found = clean(y, sigma)
    seconds = time.perf_counter() - started
    return [photos.db(x, found), seconds]


def levels(name: str, found: photos.Pictures, model: Any, called: str, seed: int) -> list[dict[str, Any]]:
    """Mean absolute error of estimated sigmas over `LEVELS`, a row for each estimator."""
    from skimage.restoration import estimate_sigma

    def own(y: photos.Picture) -> float:
        sigma = tiles.estimate(model, y if y.shape[2] > 1 else y[..., 0])
        return sigma if isinstance(sigma, float) else float(sigma.square().mean().sqrt())

    estimators = {
        "wavelets (scikit-image)": lambda y: float(estimate_sigma(y, channel_axis=-1, average_sigmas=True)),
        "Haar details": lambda y: noise_level(photos.as_batch(y)[0]),
    }
    if isinstance(model, DenoisesLocally):
        estimators = {called: own} | estimators
    errors: dict[str, dict[int, list[float]]] = {name: {sigma: [] for sigma in LEVELS} for name in estimators}
    tell = progress_to_stderr(f"{name}, noise level")
    for place, x in enumerate(found.pictures):
        for sigma in LEVELS:
            y = photos.noisy(x, sigma, seed, name, place)
            for estimator, estimate in estimators.items():
                errors[estimator][sigma].append(abs(255 * estimate(y) - sigma))
        tell(place + 1, len(found.pictures))
    return [
        {"set": name, "estimator": estimator, "mean_absolute_error": float(np.mean(list(each.values())))}
        | {f"at {sigma}": photos.mean(values) for sigma, values in each.items() if sigma in (0, 5, 15, 25, 50)}
        for estimator, each in errors.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--grey", nargs="*", default=[], metavar="NAME=SRC", help="sets of grey pictures")
    parser.add_argument("--colour", nargs="*", default=[], metavar="NAME=SRC", help="sets of colour pictures")
    parser.add_argument("--grey-model", default="photo-denoiser-grey", help="embedded name or run folder")
    parser.add_argument("--colour-model", default="photo-denoiser", help="embedded name or run folder")
    parser.add_argument("--sigmas", nargs="+", type=float, default=[15, 25, 50], help="8-bit scale [15 25 50]")
    parser.add_argument("--peers", nargs="*", default=["bm3d", *photos.BY_NAME], help="which [all]")
    parser.add_argument("--bm3d-on", nargs="*", metavar="NAME", help="sets that BM3D has time for [all]")
    parser.add_argument("--noise-level", action="store_true", help="judge the estimates of sigma instead")
    parser.add_argument("--limit", type=int, help="only so many pictures of each set")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="what peers did, to go on from (.jsonl)")
    parser.add_argument("--seed", type=int, default=0, help="of the noise [0]")
    asked = parser.parse_args()
    if not asked.grey and not asked.colour:
        parser.error("name sets of pictures: --grey NAME=SRC … --colour NAME=SRC …")

    every = sets(asked.grey, 1, asked.limit) | sets(asked.colour, 3, asked.limit)
    names = {1: asked.grey_model, 3: asked.colour_model}
    models = {channels: opening.model(names[channels]).model for channels, _ in every.values()}
    peers = photos.peers(*asked.peers)
    rows: list[dict[str, Any]] = []
    measured_by = versions("scikit-image", "PyWavelets", "bm3d")
    kept = Kept[list[float]](asked.keep, measured_by)
    for name, (channels, found) in every.items():
        if asked.noise_level:
            rows += levels(name, found, models[channels], names[channels], asked.seed)
        else:
            slow = {"BM3D"} if asked.bm3d_on is not None and name not in asked.bm3d_on else set()
            chosen = {method: clean for method, clean in peers.items() if method not in slow}
            methods = {names[channels]: photos.ours(models[channels])} | chosen
            rows += told(name, found, methods, names[channels], asked.sigmas, asked.seed, kept)
        print(name, file=sys.stderr)
    protocol = {
        "pictures": {name: len(found.pictures) for name, (_, found) in every.items()},
        "fingerprints": {name: found.fingerprint for name, (_, found) in every.items()},
        "noise": "white, added in float to 8 bits, not clipped",
        "seed": asked.seed,
        "versions": measured_by,
    }
    if asked.noise_level:
        finish(
            "noise_level", protocol | {"sigmas": f"{LEVELS[0]} to {LEVELS[-1]} in steps of 5", "scale": "8-bit"}, rows
        )
    else:
        finish("photo_denoising", protocol | {"psnr": "clipped, rounded to 8 bits, all colours"}, rows)


if __name__ == "__main__":
    main()
