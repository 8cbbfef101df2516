"""What stands behind a name or a path: parts (train, validation, test, or one whole) that are read only when asked for.

    SRC ──► open_source ──► Source.parts ──► part.read()                      "train" ──► pixels, labels
                            (names, counts)  (opens this part's files, no other's)

A source is an IDX file or the folder of the four files that MNIST and its kin come as (gzip or not), an NPY or NPZ
array, a folder of pictures (folders named after splits, folders named after classes), or a tar or zip of such a folder.
Nothing is ever unpacked to disk and no pickle is ever read.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imprior.errors import DataError

Array = NDArray[Any]

# IDX: two zero bytes, the type of the numbers, the number of axes, then each axis' length (big-endian).
# http://yann.lecun.com/exdb/mnist (description at the end of that page)
IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
IDX_NAME = re.compile(r"^(?P<stem>.*?)-?(?P<what>images|labels)[-.]idx(?P<axes>[13])-ubyte(\.gz)?$")
ORDER = ("train", "validation", "test", "whole")
IDX_SPLITS = {"train": "train", "t10k": "test", "test": "test", "val": "validation", "validation": "validation"}


@dataclass(frozen=True)
class ArrayPart:
    """A part that is stored as one array.

    Attributes:
        name: where it is, for messages.
        read: gives the pixels, [N, H, W], [N, H, W, C] or [N, D], uint8 or floating, and int64 labels [N] or None.
    """

    name: str
    read: Callable[[], tuple[Array, Array | None]]


@dataclass(frozen=True)
class Source:
    """Parts by split: "train", "validation", "test", or "whole" where the source knows of no splits."""

    name: str
    parts: dict[str, ArrayPart]
    classes: tuple[str, ...] = ()


def open_source(src: str | Path) -> Source:
    """Find out what `src` is and which parts it has, without reading pixels.

    Raises:
        DataError: nothing there, or nothing that can be used.
    """
    path = Path(src)
    if path.is_dir():
        files = {p.name: p for p in sorted(path.iterdir())}
        if any(IDX_NAME.match(name) for name in files):
            return _idx_folder(path, files)
        raise DataError(f"{path}: no images there")
    if not path.exists():
        raise DataError(f"{path}: no such file or folder")
    return Source(str(path), {"whole": _idx_part(path, _labels_of(path))})


def read_idx(path: Path) -> Array:
    """The array in an IDX file, gzip or not.

    Raises:
        DataError: not IDX (the magic number is wrong), truncated, or longer than it says.
    """
    try:
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: truncated or damaged gzip file ({error})") from None
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in IDX_TYPES or not 1 <= data[3] <= 4:
        raise DataError(f"{path}: not an IDX file (wrong magic number {data[:4].hex()})")
    kind, axes = np.dtype(IDX_TYPES[data[2]]), data[3]
    shape = tuple(int.from_bytes(data[4 + 4 * a : 8 + 4 * a], "big") for a in range(axes))
    need = 4 + 4 * axes + kind.itemsize * int(np.prod(shape, dtype=np.int64))
    if len(data) != need:
        raise DataError(f"{path}: {len(data):,} bytes where its header asks for {need:,}; the file is damaged")
    return np.frombuffer(data, kind, offset=4 + 4 * axes).reshape(shape).astype(kind.newbyteorder("="), copy=False)


def _idx_folder(path: Path, files: dict[str, Path]) -> Source:
    parts: dict[str, ArrayPart] = {}
    for name, file in files.items():
        match = IDX_NAME.match(name)
        if not match or match["what"] != "images":
            continue
        split = IDX_SPLITS.get(match["stem"].lower(), "whole")
        if split in parts:
            raise DataError(f"{path}: two IDX files for the {split} images; name the file instead of the folder")
        parts[split] = _idx_part(file, _labels_of(file))
    if not parts:
        raise DataError(f"{path}: IDX labels but no IDX images there")
    return Source(str(path), {split: parts[split] for split in ORDER if split in parts})


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


def _idx_part(images: Path, labels: Path | None) -> ArrayPart:
    def read() -> tuple[Array, Array | None]:
        return read_idx(images), None if labels is None else read_idx(labels).astype(np.int64)

    return ArrayPart(str(images), read)
