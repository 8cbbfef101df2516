"""What the scripts about the photo codec share: pictures, the codecs with settings worth measuring, PSNR.

A codec is measured by the bytes of whole files, read back. PSNR is over all numbers of a picture (red, green and blue),
averaged over pictures.
"""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

import numpy as np
import photos
import torch
from numpy.typing import NDArray
from PIL import Image, features
from show import versions

from imprior.coding import classical
from imprior.coding.classical import Codec, Quality
from imprior.coding.container import weights_hash
from imprior.data.images import to_batch
from imprior.errors import RunError
from imprior.face import compressing
from imprior.metrics.psnr import psnr_db
from imprior.promises import CodesTiles
from imprior.tasks import photo_file

Levels = NDArray[np.uint8]  # [H, W, 3]
OURS = compressing.CODEC

EVERY_FIVE: tuple[Quality, ...] = tuple(range(5, 96, 5))
SETTINGS: dict[str, tuple[Quality, ...]] = {  # which reach from about 27 to 39 dB on photographs, and further
    "imprior": tuple(range(0, 101, 5)),
    "jpeg": EVERY_FIVE,
    "jpeg-444": EVERY_FIVE,
    "jpeg2000": tuple(range(26, 43, 2)),
    "webp": (0, *EVERY_FIVE),
    "avif": tuple(range(20, 96, 5)),
    "avif-slow": tuple(range(16, 81, 16)),  # few: it is slow
    "jxl": (15, 10, 7, 5, 3.5, 2.5, 1.8, 1.2, 0.8, 0.5, 0.3),
}


def opened(name: str, device: str = "cpu") -> CodesTiles:
    """The codec of that name or run folder; ends the script where there is none."""
    try:
        model = compressing.codec(None if name == OURS else name)
    except RunError as error:
        raise SystemExit(str(error)) from None
    if isinstance(model, torch.nn.Module):
        model.to(device)
    return model


def hash_of(model: CodesTiles) -> str:
    """What a file of this codec says of its decoder."""
    return weights_hash(model.decoder).hex()


def pictures(source: str, limit: int | None = None, crop: int | None = None) -> tuple[list[Levels], str]:
    """The colour pictures of a folder or an archive in order of their names, and the fingerprint of all."""
    found = photos.load(source, 3, limit=limit, crop=crop)
    return [np.rint(255 * picture).astype(np.uint8) for picture in found.pictures], found.fingerprint


def ours(model: CodesTiles, effort: int = 0, settings: Sequence[Quality] = ()) -> Codec:
    """The photo codec as one beside the others."""

    def write(picture: Levels, quality: Quality) -> bytes:
        assert quality is not None
        return photo_file.encode(model, picture, photo_file.Target(int(quality)), effort=effort).data

    name = f"imprior, effort {effort}" if effort else "imprior"
    return replace(
        photo_file.as_codec(model), name=name, qualities=tuple(settings) or SETTINGS["imprior"], writer=write
    )


def peers(*names: str) -> list[Codec]:
    """The codecs of those names that are installed, with the settings that are measured here."""
    there = [name for name in names if name != "jxl" or find_spec("imagecodecs")]
    return [replace(classical.codec(name), qualities=SETTINGS[name]) for name in there]


def avif(threads: int = 1, **how: Any) -> Codec:
    """Pillow's AVIF as it is by default, but for the number of threads and what else is said."""

    def write(picture: Levels, quality: Quality) -> bytes:
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "AVIF", quality=quality, max_threads=threads, **how)
        return file.getvalue()

    return replace(classical.codec("avif"), qualities=SETTINGS["avif"], writer=write)


def thinned(settings: Sequence[Quality], most: int | None) -> tuple[Quality, ...]:
    """At most so many settings, evenly spread, both ends among them."""
    if most is None or most >= len(settings):
        return tuple(settings)
    return tuple(settings[round(i)] for i in np.linspace(0, len(settings) - 1, most))


def db(wanted: Levels, found: Levels) -> float:
    """PSNR; of equal pictures as if one level of one pixel were off by one, so that means stay finite."""
    return min(float(psnr_db(to_batch(wanted), to_batch(found))), 10 * math.log10(255**2 * wanted.size))


@dataclass(frozen=True)
class Found:
    """The file of a picture, and what comes back of it."""

    bytes: int
    db: float
    picture: Levels


def coded(codec: Codec, picture: Levels, quality: Quality) -> Found:
    """A picture [H, W] or [H, W, 3] as a file, read back."""
    data = codec.encode(picture, quality)
    back = codec.decode(data, 1 if picture.ndim == 2 else 3)
    return Found(len(data), db(picture, back), back)


def best_within(codec: Codec, picture: Levels, most: int) -> Found | None:
    """Its best file of at most so many bytes; None where the smallest has more."""
    low, high, best = 0, len(codec.qualities) - 1, None
    while low <= high:
        middle = (low + high) // 2
        found = coded(codec, picture, codec.qualities[middle])
        if found.bytes <= most:
            best, low = found, middle + 1
        else:
            high = middle - 1
    return best


def libraries() -> dict[str, Any]:
    """Versions of what codes."""
    inside = {name: features.version(name) for name in ("libjpeg_turbo", "jpg_2000", "webp", "avif")}
    return versions("pillow", "imagecodecs", "constriction") | inside
