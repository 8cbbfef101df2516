"""Sources that are arrays: IDX, NPY and NPZ files, gzip or xz packed or not, as parts that are read when asked for.

file ──► read_idx | numpy ──► as_pixels ──► [N, H, W, C] uint8, or float32 in [0, 1]
                          └─► as_labels ──► [N] int64
"""

from __future__ import annotations

import gzip
import lzma
import math
import re
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imprior.errors import DataError

Array = NDArray[Any]

ORDER = ("train", "validation", "test", "whole")
SPLITS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
    "t10k": "test",  # the name of MNIST's test part
}

# IDX: two zero bytes, the type of the numbers, the number of axes, then each axis' length (big-endian).
# http://yann.lecun.com/exdb/mnist (description at the end of that page)
IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
IDX_NAME = re.compile(r"^(?P<stem>.*?)-?(?P<what>images|labels)[-.]idx[13]-ubyte(\.gz|\.xz)?$")

PIXEL_KEYS = ("images", "image", "x", "data", "pixels", "arr_0", "")
LABEL_KEYS = ("labels", "label", "y", "targets", "target", "arr_1")
MOST_CLASSES = 65536  # beyond, they are no class numbers


@dataclass(frozen=True)
class ArrayPart:
    """A part that is stored as one array.

    Attributes:
        name: where it is, for messages.
        read: gives the pixels, [N, H, W, C], uint8 or float32 in [0, 1], and int64 labels [N] or None.
    """

    name: str
    read: Callable[[], tuple[Array, Array | None]]


def unpacked(path: Path) -> bytes:
    """The bytes of a file, without the gzip or xz around them.

    Raises:
        DataError: it can't be read, or is truncated.
    """
    try:
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
            return gzip.decompress(data)
        return lzma.decompress(data) if data[:6] == b"\xfd7zXZ\0" else data
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise DataError(f"{path}: can't be read, or is a truncated archive ({error})") from None


def read_idx(path: Path) -> Array:
    """The array in an IDX file, packed or not.

    Raises:
        DataError: not IDX (the magic number is wrong), truncated, or longer than it says.
    """
    data = unpacked(path)
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in IDX_TYPES or not 1 <= data[3] <= 4:
        raise DataError(f"{path}: not an IDX file (wrong magic number {data[:4].hex() or 'in an empty file'})")
    kind, axes = np.dtype(IDX_TYPES[data[2]]), data[3]
    shape = tuple(int.from_bytes(data[4 + 4 * a : 8 + 4 * a], "big") for a in range(axes))
    need = 4 + 4 * axes + kind.itemsize * math.prod(shape)
    if len(data) != need:
        raise DataError(f"{path}: {len(data):,} bytes where its header asks for {need:,}; the file is damaged")
    return np.frombuffer(data, kind, offset=4 + 4 * axes).reshape(shape).astype(kind.newbyteorder("="), copy=False)


def idx_parts(path: Path) -> dict[str, ArrayPart]:
    """Parts of a folder of IDX files, or of one file of images.

    Raises:
        DataError: two files for one part, or labels only.
    """
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    parts: dict[str, ArrayPart] = {}
    for file in files:
        match = IDX_NAME.match(file.name)
        if path.is_dir() and not (match and match["what"] == "images"):
            continue
        split = SPLITS.get(match["stem"].lower().split("-")[-1], "whole") if match and path.is_dir() else "whole"
        if split in parts:
            raise DataError(f"{path}: two IDX files for the {split} images; name the file instead of the folder")
        parts[split] = _idx_part(file, _labels_of(file))
    if not parts:
        raise DataError(f"{path}: IDX labels but no IDX images there")
    return {split: parts[split] for split in ORDER if split in parts}


def numpy_parts(path: Path) -> dict[str, ArrayPart]:
    """Parts of an NPY file (one array of images) or an NPZ file (arrays by name: `x_train`, `test_labels`, …).

    Raises:
        DataError: not such a file, or no array in it that is named like images.
    """
    if path.suffix != ".npz" and not zipfile.is_zipfile(path):
        return {"whole": ArrayPart(str(path), lambda: (as_pixels(_npy(path), str(path)), None))}
    pixels: dict[str, str] = {}
    labels: dict[str, str] = {}
    names = _npz(path, None)
    for name in names:
        split, word = _words(name)
        found = pixels if word in PIXEL_KEYS or len(names) == 1 else labels if word in LABEL_KEYS else None
        if found is not None and split in found:
            raise DataError(f"{path}: both '{found[split]}' and '{name}' could be the {split} images or labels")
        if found is not None:
            found[split] = name
    if not pixels:
        raise DataError(
            f"{path}: no array named like images (images, x, x_train, …) among {', '.join(names) or 'none'}"
        )
    if "whole" in pixels and len(pixels) > 1:  # images, test_images: what has no split in its name is for training
        if "train" in pixels:
            raise DataError(f"{path}: both '{pixels['whole']}' and '{pixels['train']}' could be the training images")
        pixels["train"] = pixels.pop("whole")
        labels = {"train" if split == "whole" else split: name for split, name in labels.items()}
    return {split: _npz_part(path, pixels[split], labels.get(split)) for split in ORDER if split in pixels}


def as_pixels(array: Array, name: str) -> Array:
    """Any array of images as [N, H, W, C], uint8 or float32 in [0, 1].

    [N, D] becomes square grey images where D is a square, else images of one row. Arrays of 16 bits are reduced to 8;
    integer arrays of nothing but 0 and 1 are binary images: 1 is white.

    Raises:
        DataError: another number of axes or channels, or values that aren't uint8 levels or in [0, 1].
    """
    if array.ndim == 2:
        side = math.isqrt(array.shape[1])
        array = array.reshape(len(array), *((side, side) if side * side == array.shape[1] else (1, array.shape[1])), 1)
    elif array.ndim == 3:
        if array.shape[2] in (3, 4) and array.shape[1] > 4:
            raise DataError(f"{name}: shape {array.shape} is one colour image; a set of them is [N, H, W, C]")
        array = array[..., None]
    elif array.ndim == 4 and array.shape[3] not in (1, 3) and array.shape[1] in (1, 3):
        array = array.transpose(0, 2, 3, 1)
    if array.ndim != 4 or array.shape[3] not in (1, 3):
        raise DataError(f"{name}: shape {array.shape} is no set of images: [N, D], [N, H, W] or [N, H, W, 1 or 3]")
    if 0 in array.shape:
        raise DataError(f"{name}: no images in it (shape {array.shape})")
    return _as_levels(array, name)


def as_labels(array: Array, count: int, name: str) -> Array:
    """Labels as int64 [N]; [N, 1] passes.

    Raises:
        DataError: another number than there are images, or not class numbers from 0.
    """
    labels = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
    if labels.ndim != 1 or labels.dtype.kind not in "iufb":
        raise DataError(f"{name}: labels are one class number an image, not {array.dtype} of shape {array.shape}")
    if len(labels) != count:
        raise DataError(f"{name}: {count:,} images but {len(labels):,} labels")
    with np.errstate(invalid="ignore"):  # NaN becomes some number, and then differs
        whole = labels.astype(np.int64)
    if not np.array_equal(whole, labels) or whole.min() < 0 or whole.max() >= MOST_CLASSES:
        raise DataError(f"{name}: labels are whole class numbers from 0, not {labels.min()} to {labels.max()}")
    return whole


def _as_levels(array: Array, name: str) -> Array:
    if array.dtype.kind == "f":
        bad = ~np.isfinite(array).all(axis=(1, 2, 3))
        if bad.any():
            first = int(bad.argmax())
            raise DataError(f"{name}: NaN or infinite values in {int(bad.sum()):,} images, first in number {first}")
    elif array.dtype.kind not in "iub":
        raise DataError(f"{name}: values of type {array.dtype} are no pixels")
    low, high = array.min(), array.max()
    if array.dtype.kind == "f":
        if low < 0 or high > 1:
            raise DataError(f"{name}: values from {low:g} to {high:g}; give uint8 levels, or numbers in [0, 1]")
        return array.astype(np.float32)
    if array.dtype == np.bool_ or (low >= 0 and high == 1):
        return array.astype(np.uint8) * np.uint8(255)
    if array.dtype == np.uint16:
        return to_8_bits(array)
    if low < 0 or high > 255:
        raise DataError(f"{name}: values from {low} to {high}; give uint8 levels, or numbers in [0, 1]")
    return array.astype(np.uint8, copy=False)


def to_8_bits(array: Array) -> Array:
    """uint16 levels k of 65535 as the nearest uint8 levels of 255 (65535 = 255 · 257)."""
    return ((array.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _idx_part(images: Path, labels: Path | None) -> ArrayPart:
    def read() -> tuple[Array, Array | None]:
        pixels = as_pixels(read_idx(images), str(images))
        return pixels, None if labels is None else as_labels(read_idx(labels), len(pixels), str(labels))

    return ArrayPart(str(images), read)


def _labels_of(images: Path) -> Path | None:
    """The labels file beside an IDX file of images."""
    match = IDX_NAME.match(images.name)
    if not match:
        return None
    for file in sorted(images.parent.iterdir()):
        other = IDX_NAME.match(file.name)
        if other and other["what"] == "labels" and other["stem"] == match["stem"]:
            return file
    return None


def _words(name: str) -> tuple[str, str]:
    """The split and the rest in the name of an array: "x_train" -> ("train", "x"), "arr_0" -> ("whole", "arr_0")."""
    words = name.lower().split("_")
    named = [word for word in words if word in SPLITS]
    if not named:
        return "whole", "_".join(words)
    words.remove(named[0])
    return SPLITS[named[0]], "_".join(words)


def _npz_part(path: Path, pixels: str, labels: str | None) -> ArrayPart:
    def read() -> tuple[Array, Array | None]:
        found = _npz(path, [pixels] if labels is None else [pixels, labels])
        images = as_pixels(found[pixels], f"{path}: {pixels}")
        return images, None if labels is None else as_labels(found[labels], len(images), f"{path}: {labels}")

    return ArrayPart(f"{path}: {pixels}", read)


def _npy(path: Path) -> Array:
    try:
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: {_why(error)}") from None


def _npz(path: Path, names: list[str] | None) -> dict[str, Array]:
    """The named arrays, or (None) empty arrays under all names."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: np.empty(0) for name in file.files} if names is None else {n: file[n] for n in names}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path}: {_why(error)}") from None


def _why(error: Exception) -> str:
    if "pickle" in str(error) or "Python objects" in str(error):
        return "holds pickled objects, which are never loaded (they can run code); save plain arrays of numbers"
    return f"not a NumPy file, or damaged ({error})"
