"""What training on cameras' noise costs with white noise, and gains with cameras': two trainings that differ in this.

    python benchmarks/camera_training.py photos/ --colour CBSD68=cbsd68/ --camera val.tar --out runs/camera-training

Both go on from the same weights on as many images: one on what the recipe asks for, uneven noise and that of cameras
among the white, the other on even white noise alone. Then both are measured as photo_denoising.py and camera_noise.py
do, told sigma. A killed table goes on with the same --out.
"""

import argparse
from pathlib import Path
from typing import Any

import camera_noise
import numpy as np
import photo_denoising
import photos
from show import Kept, finish, progress_to_stderr

from imprior import fit, opening, recipes

TRAININGS = {"cameras among it": "photographic", "white noise alone": "gaussian"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", metavar="SRC", help="photographs to train on")
    parser.add_argument("settings", metavar="key=value", nargs="*", help="settings that both share")
    parser.add_argument("--init", default="photo-denoiser", help="embedded name or run folder to go on from")
    parser.add_argument("--images", type=int, default=20_000, help="of each training [20000]")
    parser.add_argument("--rate", type=float, default=1e-3, help="of the optimiser [0.001]")
    parser.add_argument("--colour", required=True, metavar="NAME=SRC", help="pictures to be measured in white noise")
    parser.add_argument("--camera", required=True, metavar="SRC", help="pictures to be measured in a camera's noise")
    parser.add_argument("--crop", type=int, default=256, help="at most so many pixels a side, of the latter [256]")
    parser.add_argument("--seed", type=int, default=0, help="of all noise [0]")
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    asked = parser.parse_intermixed_args()

    ((called, (_, found)),) = photo_denoising.sets([asked.colour], 3, None).items()
    scenes = photos.load(asked.camera, 3, crop=asked.crop)
    rows: list[dict[str, Any]] = []
    for name, kind in TRAININGS.items():
        settings = [f"images={asked.images}", f"optimiser.rate={asked.rate}", f"data.corruption.kind={kind}"]
        recipe = recipes.find("photo-denoiser").with_overrides([*settings, *asked.settings])
        run = fit.train(recipe, asked.source, asked.out / kind, init=asked.init, resume=True)
        clean = photos.ours(opening.model(str(run.path)).model)
        (measured,) = photo_denoising.told(called, found, {name: clean}, "", [15, 25, 50], asked.seed, Kept(None))
        row = {"trained_on": name} | {key: value for key, value in measured.items() if key.startswith("db ")}
        tell, values = progress_to_stderr(f"{name}, camera noise"), []
        for place, x in enumerate(scenes.pictures):
            y = camera_noise.taken(x, asked.seed, place)
            values.append(photos.db(x, clean(y, min(255 * float(np.sqrt(np.square(y - x).mean())), 75.0))))
            tell(place + 1, len(scenes.pictures))
        rows.append(row | {"camera_db": photos.mean(values)})
    protocol = {
        "from": asked.init,
        "images": asked.images,
        "rate": asked.rate,
        "settings": asked.settings,
        "white": {called: found.fingerprint},
        "cameras": scenes.fingerprint,
        "crop": asked.crop,
        "seed": asked.seed,
        "psnr": "clipped, rounded to 8 bits, all colours",
    }
    finish("camera_training", protocol, rows)


if __name__ == "__main__":
    main()
