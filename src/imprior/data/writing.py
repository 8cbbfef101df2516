"""Pictures written whole or not at all, by suffix, with the EXIF and the colour profile that they came with.

[H,W] or [H,W,C] uint8, uint16, floating ──► storable ──► Pillow | 16-bit colour of our own | NPY ──► file, bytes
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imprior.data.extras import NONE, Extras
from imprior.data.sixteen import save_png16, save_tiff16
from imprior.errors import DataError
from imprior.runs import replacing

Array = NDArray[Any]

WRITES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF"}
_JPEG_EXIF = 65_533  # bytes that its marker has room for


class _Pythons(io.FileIO):
    """A file that Pillow writes to through Python, whose errors name their cause (a full disk); its own don't."""

    def fileno(self) -> int:
        raise io.UnsupportedOperation("written through Python")


def write_picture(path: str | Path, array: Array, *, quality: int = 95, extras: Extras = NONE) -> None:
    """Write a picture, whole or not at all; the suffix says how. "-" writes PNG to standard output.

    uint8 and uint16 (PNG, TIFF) are stored as they are; floating numbers are cut to [0, 1] and rounded to 8 bits, but
    NPY keeps them. JPEG keeps its colours in full resolution (4:4:4), WebP is written lossless.

    Args:
        path: file, or "-".
        array: [H, W] or [H, W, C].
        quality: of JPEG, 1 to 100.
        extras: EXIF and colour profile to write with it.

    Raises:
        DataError: a suffix or an array that can't be written so.
        RunError: the place can't be written, or the disk is full.
    """
    if str(path) == "-":
        sys.stdout.buffer.write(encode(array, ".png", quality=quality, extras=extras))
        sys.stdout.buffer.flush()
        return
    check(path, array, extras)
    with replacing(Path(path)) as temporary, io.BufferedWriter(_Pythons(temporary, "wb")) as file:
        _save(file, array, Path(path).suffix.lower(), quality, extras)


def check(path: str | Path, array: Array, extras: Extras = NONE) -> None:
    """Refuse what `write_picture` would refuse, before any work is done for it: an array of the result's kind will do.

    Raises:
        DataError: a suffix or an array that can't be written so.
    """
    try:
        _check(array, ".png" if str(path) == "-" else Path(path).suffix.lower(), extras)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def encode(array: Array, suffix: str, *, quality: int = 95, extras: Extras = NONE) -> bytes:
    """The bytes of a picture file of that suffix (".png"); see `write_picture`.

    Raises:
        DataError: a suffix or an array that can't be written so.
    """
    _check(array, suffix, extras)
    out = io.BytesIO()
    _save(out, array, suffix, quality, extras)
    return out.getvalue()


def _check(array: Array, suffix: str, extras: Extras) -> None:
    if suffix == ".npy":
        return
    if suffix not in WRITES:
        raise DataError(f"pictures are written as {', '.join([*WRITES, '.npy'])}, not as '{suffix}'")
    if array.ndim not in (2, 3) or (array.ndim == 3 and not 1 <= array.shape[2] <= 4) or array.size == 0:
        raise DataError(f"an array of shape {array.shape} is no picture")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise DataError("NaN or infinite values can't be written as a picture")
    if array.dtype not in (np.uint8, np.uint16) and array.dtype.kind != "f":
        raise DataError(f"pixels are uint8, uint16 or floating numbers, not {array.dtype}")
    kind, channels = WRITES[suffix], 1 if array.ndim == 2 else array.shape[2]
    if array.dtype == np.uint16 and (kind not in ("PNG", "TIFF") or (kind == "TIFF" and channels == 2)):
        raise DataError(f"16-bit {'grey' if channels < 3 else 'colour'} can't be written as '{suffix}'; use .png")
    if kind == "JPEG" and channels in (2, 4):
        raise DataError(f"{kind} can't hold transparency; use .png")
    if kind == "JPEG" and len(extras.exif) > _JPEG_EXIF:
        raise DataError(f"{kind} can't hold {len(extras.exif):,} bytes of EXIF; use .png")


def _save(out: IO[bytes], array: Array, suffix: str, quality: int, extras: Extras) -> None:
    """Write what `_check` has let pass."""
    if suffix == ".npy":
        np.save(out, array)
        return
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.dtype.kind == "f":
        array = np.rint(np.clip(array, 0, 1) * 255).astype(np.uint8)
    kind = WRITES[suffix]
    grey = kind != "WEBP" and (array.ndim == 2 or array.shape[2] == 2)  # WebP has no grey
    profile = extras.profile_for(grey=grey)
    if array.dtype == np.uint16 and array.ndim == 3:
        (save_png16 if kind == "PNG" else save_tiff16)(out, array, exif=extras.exif, profile=profile)
        return
    jpeg, webp = {"quality": quality, "subsampling": 0}, {"lossless": True, "exact": True}
    settings: dict[str, dict[str, Any]] = {"JPEG": jpeg, "WEBP": webp}
    kept = {name: value for name, value in (("exif", extras.exif), ("icc_profile", profile)) if value}
    Image.fromarray(np.ascontiguousarray(array)).save(out, kind, **settings.get(kind, {}), **kept)
