"""Single pictures, decoded with everything that makes files differ undone; `data.writing` writes them.

file ──► open ──► orientation, palette, CMYK, 16 bits ──► [H,W] or [H,W,C] uint8, uint16, float32      (read_picture)
                                                     └──► [H,W,1 or 3] uint8, over white               (decode)
[H,W] or [H,W,C] ──► to_batch ──► float32 [1,C,H,W] in [0, 1] ──► from_batch ──► the same kind
"""

from __future__ import annotations

import io
import os
import struct
import sys
import threading
import warnings
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from imprior.data.arrays import to_8_bits
from imprior.data.extras import NONE, Extras
from imprior.data.sixteen import has_16_bits, read_16_bits
from imprior.errors import DataError

Array = NDArray[Any]

# What Pillow may try; its other formats (EPS runs a program, for one) are no pictures to learn from.
FORMATS = ("PNG", "JPEG", "BMP", "DIB", "GIF", "WEBP", "TIFF", "PPM", "JPEG2000", "AVIF", "TGA", "QOI")
_ENDS = ("png", "jpg", "jpeg", "jpe", "jfif", "bmp", "dib", "gif", "webp", "tif", "tiff")
_RARE = ("ppm", "pgm", "pbm", "pnm", "jp2", "j2k", "avif", "tga", "qoi")
PICTURES = frozenset(f".{end}" for end in _ENDS + _RARE)
_RAW = "a camera's raw file: develop it to PNG, TIFF or JPEG first (darktable-cli, rawtherapee-cli)"
_HEIC = "HEIC can't be read: convert it to PNG or JPEG first (heif-convert, from libheif)"
UNREADABLE = {
    ".heic": _HEIC,
    ".heif": _HEIC,
    ".jxl": "JPEG XL can't be read: convert it to PNG first (djxl)",
} | dict.fromkeys([".dng", ".nef", ".cr2", ".cr3", ".arw", ".orf", ".rw2", ".raf", ".pef", ".srw"], _RAW)

# What Pillow raises on damaged files, over all its formats.
BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    struct.error,
    zlib.error,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
)
STRIP = 256  # rows
_opening = threading.Lock()


def read_picture(path: str | Path) -> Array:
    """A picture as it is stored: [H, W] (grey) or [H, W, C] (2: grey and alpha, 3: colour, 4: colour and alpha).

    Orientation is applied, palettes are looked up, CMYK becomes RGB (without its profile). uint8, or uint16 where the
    file holds 16 bits, in colour too; float32 where it holds floating numbers (TIFF, NPY). The first of several frames.

    Args:
        path: file, or "-" for standard input.

    Raises:
        DataError: missing, damaged, of an unknown kind or too large.
    """
    return _read(path, extras=False)[0]


def read_whole(path: str | Path, *, most_pixels: int | None = None) -> tuple[Array, Extras]:
    """A picture as `read_picture` gives it, and its EXIF and colour profile.

    Args:
        path: file, or "-" for standard input.
        most_pixels: larger pictures are refused; None leaves that to Pillow.

    Raises:
        DataError: as `read_picture`.
    """
    return _read(path, extras=True, most_pixels=most_pixels)


def decode(data: bytes, name: str) -> Array:
    """An encoded picture as uint8 [H, W, 1] (grey) or [H, W, 3] (colour), for learning from.

    Transparent pictures are laid over white; 16 bits are reduced to 8.

    Raises:
        DataError: damaged, of an unknown kind, or too large; one line with the name.
    """
    pixels = decode_exactly(data, name)
    if pixels.dtype.kind == "f":
        if not np.isfinite(pixels).all() or pixels.min() < 0 or pixels.max() > 1:
            raise DataError(f"{name}: floating numbers outside [0, 1]")
        pixels = np.rint(pixels * 255).astype(np.uint8)
    if pixels.dtype == np.uint16:
        pixels = to_8_bits(pixels)
    if pixels.ndim == 2:
        return pixels[..., None]
    colour, alpha = split_alpha(pixels)
    if alpha is None:
        return colour
    weight = alpha[..., None].astype(np.uint32)
    colour = colour if colour.ndim == 3 else colour[..., None]
    return ((colour * weight + 255 * (255 - weight) + 127) // 255).astype(np.uint8)


def decode_exactly(data: bytes, name: str) -> Array:
    """[H, W] or [H, W, C] of an encoded picture, orientation applied, nothing lost (see `read_picture`).

    Raises:
        DataError: damaged, of an unknown kind, or too large; one line with the name.
    """
    return _decoded(io.BytesIO(data), name, extras=False)[0]


def split_alpha(array: Array) -> tuple[Array, Array | None]:
    """A picture without its transparency [H, W] or [H, W, 3], and the transparency [H, W] if it has one."""
    if array.ndim == 3 and array.shape[2] in (2, 4):
        colour = array[..., :-1]
        return colour[..., 0] if colour.shape[2] == 1 else colour, array[..., -1]
    return array, None


def check_picture(array: Array) -> None:
    """Refuse what is no picture [H, W], [H, W, 1] or [H, W, 3] of levels or floating numbers.

    Raises:
        DataError: another shape or type; transparency is to be split off first (`split_alpha`).
    """
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3)) or array.size == 0:
        raise DataError(f"a picture is [H, W] or [H, W, 3], not {array.shape}")
    if array.dtype not in (np.uint8, np.uint16) and array.dtype.kind != "f":
        raise DataError(f"pixels are uint8, uint16 or floating numbers, not {array.dtype}")


def to_batch(array: Array) -> Tensor:
    """A picture [H, W], [H, W, 1] or [H, W, 3] as a batch float32 [1, C, H, W]; a level k of n bits is k / (2^n - 1).

    Floating pictures pass as they are: noise may leave [0, 1].

    Raises:
        DataError: as `check_picture`, or NaN.
    """
    check_picture(array)
    planes = array[..., None] if array.ndim == 2 else array
    if planes.dtype.kind == "f" and not np.isfinite(planes).all():
        raise DataError("the picture has NaN or infinite values")
    top = {np.dtype(np.uint8): 255, np.dtype(np.uint16): 65535}.get(planes.dtype, 1)
    return torch.from_numpy(np.ascontiguousarray(planes.transpose(2, 0, 1), np.float32)).unsqueeze(0) / top


def from_batch(x: Tensor, dtype: np.dtype[Any] | type = np.uint8) -> Array:
    """A batch of one, [1, C, H, W] (or [C, H, W]), as a picture: [H, W] if grey, [H, W, 3] in colour.

    Integers are cut to [0, 1] and rounded; floating numbers pass as they are.
    """
    planes = x.detach().float().cpu().numpy()
    planes = planes[0] if planes.ndim == 4 and len(planes) == 1 else planes
    assert planes.ndim == 3, f"one image, not {tuple(x.shape)}"
    array = planes[0] if len(planes) == 1 else planes.transpose(1, 2, 0)
    if np.dtype(dtype).kind != "f":
        array = np.rint(np.clip(array, 0, 1) * np.iinfo(np.dtype(dtype)).max)
    return np.ascontiguousarray(array, dtype)


def _read(path: str | Path, *, extras: bool, most_pixels: int | None = None) -> tuple[Array, Extras]:
    if str(path) == "-":
        given = io.BytesIO(sys.stdin.buffer.read())
        return _decoded(given, "standard input", extras=extras, most_pixels=most_pixels)
    path = Path(path)
    try:
        if path.suffix == ".npy":
            return _npy_picture(path), NONE
        with path.open("rb") as file:
            return _decoded(file, str(path), extras=extras, most_pixels=most_pixels)
    except OSError as error:
        raise DataError(f"{path}: {'no such picture' if not path.exists() else error.strerror or error}") from None


def _decoded(file: IO[bytes], name: str, *, extras: bool, most_pixels: int | None = None) -> tuple[Array, Extras]:
    image = _open(file, name, most_pixels)
    try:
        if has_16_bits(image):
            array = read_16_bits(file, image, name)
            return array, Extras.of(image) if extras else NONE
        image.load()
        kept = Extras.of(image) if extras else NONE
        ImageOps.exif_transpose(image, in_place=True)
        return _pixels(_plain(image)), kept
    except (Image.DecompressionBombError, MemoryError):
        raise DataError(f"{name}: too large for the memory") from None
    except BROKEN as error:
        raise DataError(f"{name}: truncated or damaged ({error})") from None


def _plain(image: Image.Image) -> Image.Image:
    """Grey or colour, with transparency or without: palettes looked up, CMYK and its like turned into RGB."""
    if image.mode in ("P", "PA", "1", "RGB", "L") and (image.mode == "PA" or "transparency" in image.info):
        return image.convert("LA" if image.mode in ("1", "L") else "RGBA")
    if image.mode == "P":
        return image.convert("RGB" if _coloured(image) else "L")
    if image.mode not in ("L", "LA", "RGB", "RGBA", "F"):
        return image.convert({"1": "L", "La": "LA", "RGBa": "RGBA"}.get(image.mode, "RGB"))
    return image


def _pixels(image: Image.Image) -> Array:
    """The pixels, copied strip by strip: NumPy would ask Pillow for all of them as bytes, twice as much at once."""
    corner = np.asarray(image.crop((0, 0, 1, 1)))
    array: Array = np.empty((image.height, image.width, *corner.shape[2:]), corner.dtype)
    for top in range(0, image.height, STRIP):
        bottom = min(top + STRIP, image.height)
        array[top:bottom] = np.asarray(image.crop((0, top, image.width, bottom)))
    return array


def _open(file: IO[bytes], name: str, most_pixels: int | None) -> Image.Image:
    """A picture whose header is read, and whose size is bearable."""
    start = file.read(512)
    file.seek(0)
    hint = UNREADABLE.get(os.path.splitext(name)[1].lower())
    if hint or start[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftypmsf1", b"ftyphevc"):
        raise DataError(f"{name}: {hint or _HEIC}")
    try:
        # The filter is the process's, so one at a time. Pillow warns of what it does not refuse, from half as much on.
        with _opening, warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            usual = Image.MAX_IMAGE_PIXELS
            limit = most_pixels or 2 * (usual or 0)
            try:
                Image.MAX_IMAGE_PIXELS = usual if most_pixels is None else -(-most_pixels // 2)
                return Image.open(file, formats=FORMATS)
            finally:
                Image.MAX_IMAGE_PIXELS = usual
    except Image.DecompressionBombError:
        raise DataError(f"{name}: over {limit:,} pixels, which may be a decompression bomb") from None
    except UnidentifiedImageError:
        raise DataError(f"{name}: {'an empty file' if not start else 'not a picture' + _seems(start)}") from None
    except BROKEN as error:
        raise DataError(f"{name}: damaged ({error})") from None


def _seems(start: bytes) -> str:
    """What a file that is no picture seems to be."""
    text = not (set(start) - set(range(32, 127)) - set(b"\t\r\n"))
    return " but text" if text else " that can be read"


def _coloured(image: Image.Image) -> bool:
    """Whether a palette has an entry that isn't grey."""
    palette = image.getpalette("RGB")
    entries = np.array(palette, np.uint8).reshape(-1, 3)
    return bool((entries != entries[:, :1]).any())


def _npy_picture(path: Path) -> Array:
    try:
        array: Array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise DataError(f"{path}: not a NumPy array of numbers, or damaged ({error})") from None
    if array.ndim not in (2, 3) or (array.ndim == 3 and not 1 <= array.shape[2] <= 4):
        raise DataError(f"{path}: an array of shape {array.shape} is no picture: [H, W] or [H, W, C]")
    return array
