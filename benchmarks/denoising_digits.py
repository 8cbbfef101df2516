"""Denoising models beside classical denoisers, on small grey images with white Gaussian noise.

    python benchmarks/denoising_digits.py MNIST_FOLDER --models mnist-dae mnist-dvae --name mnist
    python benchmarks/denoising_digits.py /usr/share/datasets/fashion-mnist --models fashion-dae --name fashion

The classical ones (non-local means, total variation, wavelets, BM3D) are told the true sigma, and their strength and
patch sizes are those that do best on noisy TRAINING images; the test set is seen once, at the end. Each image has its
own noise, made from the seed and its position, and not clipped. PSNR after clipping to [0, 1], SSIM likewise, both
averaged over images. BM3D is the package bm3d (`pip install bm3d`), free for non-commercial use only: it is no part of
this project, and without it its row is left out.

Reference: K. Dabov, A. Foi, V. Katkovnik, K. Egiazarian, "Image denoising by sparse 3-D transform-domain collaborative
filtering", 2007.
"""

import argparse
import itertools
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from show import finish, standard_error, versions
from torch import Tensor

from imprior import opening
from imprior.data import prepare
from imprior.data.settings import Data
from imprior.errors import DataError
from imprior.metrics.psnr import psnr_db
from imprior.metrics.ssim import ssim
from imprior.models.classical import NonLocalMeans, TotalVariation, Wavelets
from imprior.randomness import generator
from imprior.tasks import denoise

STRENGTHS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.15, 1.3, 1.5)


@dataclass(frozen=True)
class Method:
    """A denoiser with its settings: noisy [N, 1, H, W] and sigma on the [0, 1] scale -> clean."""

    settings: dict[str, Any]
    clean: Callable[[Tensor, float], Tensor]


def non_local_means() -> Iterator[Method]:
    for strength, patch, distance in itertools.product(STRENGTHS[:8], (3, 5, 7), (6, 12)):
        settings = {"strength": strength, "patch": patch, "distance": distance}
        yield Method(settings, NonLocalMeans(**settings).denoise)


def total_variation() -> Iterator[Method]:
    for strength in STRENGTHS:
        yield Method({"strength": strength}, TotalVariation(strength=strength).denoise)


def wavelets() -> Iterator[Method]:
    for strength, wavelet in itertools.product(STRENGTHS[4:], ("haar", "db2", "sym4")):
        settings = {"strength": strength, "wavelet": wavelet}
        yield Method(settings, Wavelets(**settings).denoise)


def bm3d() -> Iterator[Method]:
    """BM3D in its mode for white noise (`nf = 0`), with a block at every pixel.

    On digits this does better than the package's defaults (exact variances for coloured noise, every third pixel) by
    about half a dB, at a fortieth of their time. Blocks of 4x4 suit strokes, 8x8 is the default.
    """
    import bm3d as package

    for strength, block in itertools.product(STRENGTHS[6:], (4, 8)):

        def clean(y: Tensor, sigma: float, strength: float = strength, block: int = block) -> Tensor:
            profile = package.BM3DProfile()
            profile.nf, profile.step_ht, profile.step_wiener = 0, 1, 1
            profile.bs_ht = profile.bs_wiener = block
            profile.num_threads = 1  # with several, sums change their order from run to run
            cleaned = [package.bm3d(image[0].double().numpy(), strength * sigma, profile=profile) for image in y]
            return torch.stack([torch.from_numpy(c) for c in cleaned])[:, None].to(y)

        yield Method({"strength": strength, "block": block}, clean)


CLASSICAL = {
    "non-local means": non_local_means,
    "total variation": total_variation,
    "wavelets": wavelets,
    "BM3D": bm3d,
}


def noisy(x: Tensor, sigma: float, seed: int, purpose: str) -> Tensor:
    """Images with white noise, each with its own."""
    noise = [torch.randn(x.shape[1:], generator=generator(seed, purpose, place)) for place in range(len(x))]
    return x + sigma * torch.stack(noise)


def chosen(methods: Iterator[Method], x: Tensor, y: Tensor, sigma: float) -> Method:
    """The settings that do best on training images."""
    return max(methods, key=lambda method: psnr_db(x, method.clean(y, sigma)).mean().item())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", metavar="SRC", help="images with a training and a test part")
    parser.add_argument("--models", nargs="*", default=[], help="names of embedded models, or run folders")
    parser.add_argument("--name", required=True, help="of the data set: results go to denoising_NAME.json")
    parser.add_argument("--sigma", type=float, default=0.5, help="of the noise, on the [0, 1] scale [0.5]")
    parser.add_argument("--n", type=int, default=1000, help="test images, the first so many [1000]")
    parser.add_argument("--tune", type=int, default=100, help="training images that settings are chosen on [100]")
    parser.add_argument("--seed", type=int, default=0, help="of the noise [0]")
    asked = parser.parse_args()

    test = prepare.load(asked.source, Data(), "test")
    train = prepare.load(asked.source, Data(limit=asked.tune), "train")
    x, own = test.x(slice(0, asked.n)), train.x(slice(None))
    if x.shape[1] != 1:
        raise DataError("this benchmark is for grey images")
    y, own_noisy = noisy(x, asked.sigma, asked.seed, "test"), noisy(own, asked.sigma, asked.seed, "train")

    methods: dict[str, Method] = {"(noisy)": Method({}, lambda y, sigma: y)}
    for name, settings in CLASSICAL.items():
        try:
            methods[name] = chosen(settings(), own, own_noisy, asked.sigma)
        except ModuleNotFoundError as error:
            print(f"{name} is left out: {error} (pip install {error.name})", file=sys.stderr)
            continue
        print(f"{name}: {methods[name].settings}", file=sys.stderr)
    classical = [name for name in methods if name != "(noisy)"]
    for given in asked.models:
        model, name = opening.model(given).model, Path(given).name
        methods[name] = Method({}, lambda y, sigma, model=model: denoise.run(model, y, sigma=sigma))

    psnr: dict[str, Tensor] = {}
    rows = []
    for name, method in methods.items():
        started = time.perf_counter()
        cleaned = method.clean(y, asked.sigma)
        seconds = time.perf_counter() - started
        psnr[name] = psnr_db(x, cleaned)
        rows.append(
            {
                "method": name,
                "psnr_db": psnr[name].mean().item(),
                "standard_error": standard_error(psnr[name]),
                "ssim": ssim(x, cleaned).mean().item(),
                "ms_per_image": 1000 * seconds / len(x),
                "settings": method.settings,
            }
        )
    best = max(classical, key=lambda name: psnr[name].mean().item())
    for row in rows:
        gain = psnr[row["method"]] - psnr[best]
        row["gain_db"] = gain.mean().item()
        row["gain_standard_error"] = standard_error(gain)
    protocol = {
        "source": asked.name,
        "fingerprint": test.fingerprint,
        "n": len(x),
        "sigma": asked.sigma,
        "seed": asked.seed,
        "tuned_on": f"{len(own)} training images",
        "best_classical": best,
        "versions": versions("scikit-image", "PyWavelets", "bm3d"),
    }
    print(f"{asked.name}: {len(x)} test images, sigma {asked.sigma:g}; gain over {best}, the best classical one\n")
    finish(f"denoising_{asked.name}", protocol, rows)


if __name__ == "__main__":
    main()
