"""What the scripts about photographs share: pictures, noise, PSNR as papers have it, and the peers.

Protocol: white noise is added in float to the 8-bit picture and not clipped; PSNR is taken after clipping and rounding
to 8 bits, over all numbers of a picture (in colour over red, green and blue), and averaged over pictures.
"""

import importlib.util
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from imprior import face
from imprior.data import prepare
from imprior.data.settings import Data
from imprior.metrics.psnr import psnr_db
from imprior.models.classical import BY_NAME
from imprior.randomness import generator

Picture = NDArray[np.float32]  # [H, W, C] on the [0, 1] scale, which noise may leave
Clean = Callable[[Picture, float | None], Picture]  # sigma on the 8-bit scale; None: to be estimated


@dataclass(frozen=True)
class Pictures:
    """A set of clean pictures, [H, W, C] in [0, 1], and the fingerprint of its pixels."""

    pictures: list[Picture]
    fingerprint: str


def load(source: str | Path, channels: int, *, limit: int | None = None, crop: int | None = None) -> Pictures:
    """Pictures of a folder or an archive in order of their names, of each its centre, at most `crop` pixels a side."""
    # Sizes may differ where crops are asked for; the pictures come whole all the same.
    found = prepare.load(source, Data(channels=channels, crop=8), "all")
    pictures = []
    for pixels in found.pixels[:limit]:
        picture = pixels.permute(1, 2, 0).numpy().astype(np.float32) / 255
        height, width = picture.shape[:2]
        high, wide = (min(side, crop or side) for side in (height, width))
        top, left = (height - high) // 2, (width - wide) // 2
        pictures.append(np.ascontiguousarray(picture[top : top + high, left : left + wide]))
    return Pictures(pictures, found.fingerprint)


def noisy(picture: Picture, sigma: float, *keys: int | str) -> Picture:
    """White noise of `sigma` (8-bit scale), a function of the keys (seed, set, place, …) alone."""
    noise = torch.randn(picture.shape, generator=generator(*keys)).numpy()
    return picture + np.float32(sigma / 255) * noise


def db(clean: Picture, found: Picture) -> float:
    """PSNR [dB] after clipping and rounding to 8 bits."""
    levels = [torch.from_numpy(np.rint(255 * np.clip(one, 0, 1)).astype(np.float64) / 255) for one in (clean, found)]
    return float(psnr_db(levels[0][None], levels[1][None]))


def mean(values: Sequence[float]) -> float:
    """Mean over pictures."""
    return float(np.mean(values))


def ours(model: Any) -> Clean:
    """What `imprior.denoise` does with a model, in float: nothing is rounded on the way out."""
    return lambda y, sigma: face.denoise(y, sigma, model=model).reshape(y.shape)


def peers(*names: str) -> dict[str, Clean]:
    """Denoisers to compare with: the classical ones by name, and BM3D where its package is installed.

    BM3D is the package bm3d (`pip install bm3d`), free for non-commercial use only, and no part of this project;
    without it its rows are left out.
    """
    found: dict[str, Clean] = {name.replace("-", " "): ours(BY_NAME[name]()) for name in names if name in BY_NAME}
    if "bm3d" in names:
        if importlib.util.find_spec("bm3d") is None:
            print("BM3D is left out: pip install bm3d", file=sys.stderr)
        else:
            found["BM3D"] = bm3d
    return found


def bm3d(y: Picture, sigma: float | None) -> Picture:
    """BM3D as its authors' package has it, with its default profile; colour in its opponent space."""
    import bm3d as package

    assert sigma is not None, "BM3D is told sigma"
    if y.shape[2] == 1:
        return np.asarray(package.bm3d(y[..., 0].astype(np.float64), sigma / 255), np.float32)[..., None]
    return np.asarray(package.bm3d_rgb(y.astype(np.float64), sigma / 255), np.float32)


def as_batch(picture: Picture) -> Tensor:
    """[H, W, C] -> [1, C, H, W]."""
    return torch.from_numpy(picture).permute(2, 0, 1)[None]
