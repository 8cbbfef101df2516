"""From a source to `Images`: the part that is asked for, the held-out images taken out, one form for all.

open_source ──► part of the split ──► which images (held out, limit) ──► pixels [N,C,H,W] ──► fingerprint ──► Images
"""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from imprior.data.batches import Images
from imprior.data.settings import Data
from imprior.data.source import ArrayPart, Source, open_source
from imprior.errors import DataError, nearest

Array = NDArray[Any]
Split = Literal["train", "validation", "test", "all"]


def splits(src: str | Path) -> tuple[str, ...]:
    """The parts that a source itself has: some of "train", "validation", "test", or only "whole".

    Raises:
        DataError: nothing there, or nothing that can be used.
    """
    return tuple(open_source(src).parts)


def load(src: str | Path, data: Data, split: Split, *, on_broken: Literal["refuse", "skip"] = "refuse") -> Images:
    """Decode and prepare the images of a split.

    Where the source has no validation part, `data.validation` of the training images are held out, the same ones at
    every call. The files of a part that isn't asked for are never opened.

    Args:
        src: folder, file, archive, or the name of an embedded set.
        data: size, channels, crop, validation, limit.
        split: "train", "validation", "test" (only where the source has such a part) or "all" (every part).
        on_broken: whether images that can't be decoded are refused or left out.

    Raises:
        DataError: no such source or split, or images that can't be used as asked.
    """
    if split not in get_args(Split):
        raise DataError(
            f"no split '{split}': there are train, validation, test and all{nearest(split, get_args(Split))}"
        )
    source = open_source(src)
    pixels, labels = zip(*(_read(part, how, data) for part, how in _parts(source, data, split)), strict=True)
    stacked = np.concatenate(pixels)
    joined = None if any(part is None for part in labels) else np.concatenate(labels)
    classes = source.classes
    if joined is not None and not classes:
        classes = tuple(str(label) for label in range(int(joined.max()) + 1))
    return Images(
        pixels=torch.from_numpy(stacked),
        labels=None if joined is None else torch.from_numpy(joined),
        classes=classes,
        fingerprint=fingerprint([stacked], joined),
    )


def held_out(count: int, fraction: float) -> NDArray[np.bool_]:
    """Which of `count` images are kept for validation: [count], True for round(count · fraction) of them.

    Chosen by a fixed hash of the position (splitmix64), so the choice is the same on every machine and for ever, and
    does not depend on a random generator whose stream may change with its library.
    """
    chosen = np.zeros(count, bool)
    chosen[np.argsort(_mixed(count), kind="stable")[: round(count * fraction)]] = True
    return chosen


def fingerprint(pixels: list[Array], labels: Array | None) -> str:
    """Sixteen hex digits of a SHA-256 over every image's shape and pixels, and the labels."""
    digest = hashlib.sha256()
    for image in pixels:
        digest.update(f"{image.dtype.name} {image.shape} ".encode())
        digest.update(np.ascontiguousarray(image).data)
    if labels is not None:
        digest.update(np.ascontiguousarray(labels, np.int64).data)
    return digest.hexdigest()[:16]


def _parts(source: Source, data: Data, split: str) -> list[tuple[ArrayPart, str]]:
    """The parts to read for a split, each with "all", "kept" or "held" images of it."""
    parts = source.parts
    if split == "all":
        return [(part, "all") for part in parts.values()]
    if split == "test":
        if "test" not in parts:
            raise DataError(f"{source.name}: no test part there (found: {', '.join(parts)}); ask for split 'all'")
        return [(parts["test"], "all")]
    base = parts.get("train", parts.get("whole"))
    if split == "validation" and "validation" in parts:
        return [(parts["validation"], "all")]
    if base is None:
        raise DataError(f"{source.name}: no training part there (found: {', '.join(parts)})")
    if "validation" in parts:
        return [(base, "limited")]
    return [(base, "held" if split == "validation" else "kept")]


def _read(part: ArrayPart, how: str, data: Data) -> tuple[Array, Array | None]:
    """Prepared pixels [n, C, H, W] and labels of the chosen images of a part."""
    pixels, labels = part.read()
    if len(pixels) == 0:
        raise DataError(f"{part.name}: no images in it")
    if labels is not None and len(labels) != len(pixels):
        raise DataError(f"{part.name}: {len(pixels):,} images but {len(labels):,} labels")
    chosen = np.arange(len(pixels))
    if how in ("kept", "held"):
        chosen = chosen[held_out(len(pixels), data.validation) == (how == "held")]
    if how in ("kept", "limited") and data.limit is not None:
        chosen = np.sort(chosen[np.argsort(_mixed(len(pixels))[chosen], kind="stable")[: data.limit]])
    if len(chosen) == 0:
        raise DataError(f"{part.name}: no images held out for validation; give data.validation a larger fraction")
    return _planes(pixels)[chosen], None if labels is None else labels[chosen]


def _planes(pixels: Array) -> Array:
    """[N, D], [N, H, W], [N, H, W, C] or [N, C, H, W] -> [N, C, H, W]."""
    if pixels.ndim == 2:
        side = math.isqrt(pixels.shape[1])
        shape = (side, side) if side * side == pixels.shape[1] else (1, pixels.shape[1])
        return pixels.reshape(len(pixels), 1, *shape)
    if pixels.ndim == 3:
        return pixels[:, None]
    return pixels if pixels.shape[1] in (1, 3) and pixels.shape[3] not in (1, 3) else pixels.transpose(0, 3, 1, 2)


def _mixed(count: int) -> NDArray[np.uint64]:
    """splitmix64 of 0 … count - 1 (Steele, Lea and Flood, Fast splittable pseudorandom number generators, 2014)."""
    with np.errstate(over="ignore"):
        z = (np.arange(1, count + 1, dtype=np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))
