"""From a source to `Images`: the part that is asked for, the held-out images taken out, one form for all.

open_source ──► part of the split ──► which images (held out, limit) ──► decode ──► channels, size, scales
                                          ──► [N,C,H,W] uint8 | float32 in memory ──► fingerprint ──► Images
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal, TypeVar, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from imprior.data import cache
from imprior.data.arrays import Array
from imprior.data.batches import Images
from imprior.data.forms import to_channels, to_scale, to_square
from imprior.data.images import decode
from imprior.data.settings import Data
from imprior.data.source import FilePart, Part, Source, open_source
from imprior.errors import DataError, MixedColoursError, nearest

Split = Literal["train", "validation", "test", "all"]
Broken = Literal["refuse", "skip"]
T = TypeVar("T")
R = TypeVar("R")


def splits(src: str | Path) -> tuple[str, ...]:
    """The parts that a source itself has: some of "train", "validation", "test", or only "whole".

    Raises:
        DataError: nothing there, or nothing that can be used.
    """
    return tuple(open_source(src).parts)


def load(src: str | Path, data: Data, split: Split, *, on_broken: Broken = "refuse") -> Images:
    """Decode and prepare the images of a split.

    Where the source has no validation part, `data.validation` of the training images are held out, the same ones at
    every call. The pixels of a part that isn't asked for are never read. Pictures are decoded by threads (Pillow lets
    go of the interpreter while it decodes) and kept on disk where that takes long (`data.cache`).

    Args:
        src: folder, file, archive, or the name of an embedded set.
        data: size, channels, crop and scales, validation, limit.
        split: "train", "validation", "test" (only where the source has such a part) or "all" (every part).
        on_broken: whether images that can't be decoded are refused, or left out with a warning that names them.

    Returns:
        Images whose pixels are one tensor, or a tuple where they differ in size and `data.crop` is set.

    Raises:
        DataError: no such source or split, or images that can't be used as asked.
    """
    if split not in get_args(Split):
        raise DataError(f"no split '{split}', only {', '.join(get_args(Split))}{nearest(split, get_args(Split))}")
    source = open_source(src)
    taken = [_take(part, how, data, on_broken) for part, how in _parts(source, data, split)]
    labels = None
    if all(one.labels is not None for one in taken):
        labels = np.concatenate([one.labels for one in taken if one.labels is not None])
    pixels = _together(taken, data, source.name)
    classes: tuple[str, ...] = ()
    if labels is not None:
        classes = source.classes or tuple(str(label) for label in range(int(labels.max()) + 1))
    return Images(
        pixels=torch.from_numpy(pixels) if isinstance(pixels, np.ndarray) else tuple(map(torch.from_numpy, pixels)),
        labels=None if labels is None else torch.from_numpy(labels),
        classes=classes,
        fingerprint=fingerprint([pixels] if isinstance(pixels, np.ndarray) else pixels, labels),
    )


def held_out(count: int, fraction: float) -> NDArray[np.bool_]:
    """Which of `count` images are kept for validation: [count], True for round(count · fraction) of them, 1 at least.

    Chosen by a fixed hash of the position (splitmix64), so the choice is the same on every machine and for ever, and
    does not depend on a random generator whose stream may change with its library.

    >>> held_out(10, 0.2).nonzero()[0].tolist() == held_out(10, 0.2).nonzero()[0].tolist(), held_out(10, 0.2).sum()
    (True, np.int64(2))
    """
    number = max(1, round(count * fraction)) if fraction > 0 and count > 1 else 0
    chosen = np.zeros(count, bool)
    chosen[np.argsort(mixed(count), kind="stable")[:number]] = True
    return chosen


def fingerprint(pixels: Iterable[Array], labels: Array | None) -> str:
    """Sixteen hex digits of a SHA-256 over every array's type, shape and pixels, and the labels."""
    digest = hashlib.sha256()
    for image in pixels:
        digest.update(f"{image.dtype.name} {image.shape} ".encode())
        digest.update(np.ascontiguousarray(image).data)
    if labels is not None:
        digest.update(np.ascontiguousarray(labels, np.int64).data)
    return digest.hexdigest()[:16]


def threaded(work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """`work` on each item by as many threads as there are cores, results in order, few items in flight at a time."""
    workers = min(16, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    rest = iter(items)
    with ThreadPoolExecutor(workers) as pool:
        waiting: list[Future[R]] = [pool.submit(work, item) for item in islice(rest, 4 * workers)]
        while waiting:
            yield waiting.pop(0).result()
            waiting += [pool.submit(work, item) for item in islice(rest, 1)]


def _parts(source: Source, data: Data, split: str) -> list[tuple[Part, str]]:
    """The parts to read for a split, and which images of each: "all", "limited", "kept" or "held" (out)."""
    parts = source.parts
    if split == "all":
        return [(part, "all") for part in parts.values()]
    if split == "test":
        if "test" not in parts:
            raise DataError(f"{source.name}: no test part there (found: {', '.join(parts)}); ask for split 'all'")
        return [(parts["test"], "all")]
    if split == "validation" and "validation" in parts:
        return [(parts["validation"], "all")]
    base = parts.get("train", parts.get("whole"))
    if base is None:
        raise DataError(f"{source.name}: no training part there (found: {', '.join(parts)})")
    if "validation" in parts:
        return [(base, "limited")]
    return [(base, "held" if split == "validation" else "kept")]


def _chosen(count: int, how: str, data: Data, name: str) -> NDArray[np.int64]:
    """Positions of the images to take from a part of `count`."""
    chosen = np.arange(count)
    if how in ("kept", "held"):
        chosen = chosen[held_out(count, data.validation) == (how == "held")]
    if len(chosen) == 0:
        raise DataError(f"{name}: {count} images with data.validation={data.validation:g} leave none to hold out")
    if how in ("kept", "limited") and data.limit is not None:
        # not the first ones: files are often sorted by class
        chosen = np.sort(chosen[np.argsort(mixed(count)[chosen], kind="stable")[: data.limit]])
    return chosen


@dataclass(frozen=True)
class _Taken:
    """Prepared pictures [h, w, C] of a part: one array [n, h, w, C] where it was one, their labels and their names."""

    pictures: Array | list[Array]
    labels: Array | None
    title: Callable[[int], str]


def _take(part: Part, how: str, data: Data, on_broken: Broken) -> _Taken:
    if isinstance(part, FilePart):
        chosen = _chosen(len(part.entries), how, data, part.name)
        pictures, origin = _decoded(part, chosen.tolist(), data, on_broken)
        return _Taken(pictures, None if part.labels is None else part.labels[origin], lambda i: part.title(origin[i]))
    pixels, labels = part.read()
    chosen = _chosen(len(pixels), how, data, part.name)
    height, width = pixels.shape[1:3]
    sized = data.size is None or height == width == data.size
    if sized and (data.crop is None or (data.crop <= min(height, width) and data.scales == (1.0,))):
        stack = to_channels(pixels[chosen], data.channels)  # all at once: nothing is left to do one by one
        return _Taken(stack, None if labels is None else labels[chosen], lambda i: part.name)
    forms = list(threaded(lambda i: _form(pixels[i], data, f"{part.name}, image {i}"), chosen.tolist()))
    where = np.repeat(chosen, [len(form) for form in forms])
    one_by_one = [picture for form in forms for picture in form]
    return _Taken(one_by_one, None if labels is None else labels[where], lambda i: f"{part.name}, image {where[i]}")


def _decoded(part: FilePart, chosen: list[int], data: Data, on_broken: Broken) -> tuple[list[Array], list[int]]:
    """Prepared pictures of the chosen files, and the position of each (several of one file, at several scales)."""
    stores = {id(store): store for store, _ in part.entries}.values()
    files = [(str(part.entries[i][0].path), part.entries[i][1]) for i in chosen]
    settings = [data.size, data.channels, data.crop, data.scales, on_broken]
    name = cache.key([settings, sorted(store.stamp for store in stores), files])
    worth = sum(part.entries[i][0].sizes[part.entries[i][1]] for i in chosen) >= cache.WORTH
    kept = cache.get(name) if worth else None
    if kept is not None:
        _refuse_broken([DataError(part.title(i)) for i in sorted(set(chosen) - set(kept[1]))], len(chosen), on_broken)
        return kept

    def work(item: tuple[int, bytes | DataError]) -> tuple[int, list[Array] | DataError]:
        i, encoded = item
        try:
            if isinstance(encoded, DataError):
                return i, encoded
            picture = decode(encoded, part.title(i))
        except DataError as error:
            return i, error
        return i, _form(picture, data, part.title(i))

    forms = dict(threaded(work, part.read(chosen)))
    broken = [form for _, form in sorted(forms.items()) if isinstance(form, DataError)]
    _refuse_broken(broken, len(chosen), on_broken)
    made = [(i, picture) for i in chosen if not isinstance(form := forms[i], DataError) for picture in form]
    if not made:
        raise DataError(f"{part.name}: no image left that can be read")
    pictures, where = [picture for _, picture in made], [i for i, _ in made]
    if worth:
        cache.put(name, pictures, where)
    return pictures, where


def _refuse_broken(broken: list[DataError], count: int, on_broken: Broken) -> None:
    if not broken:
        return
    named = "; ".join(str(error) for error in broken[:5]) + (f"; and {len(broken) - 5} more" if len(broken) > 5 else "")
    if on_broken == "refuse":
        raise DataError(f'{len(broken)} of {count} images can\'t be read: {named} (on-broken: "skip" leaves them out)')
    warnings.warn(f"left out {len(broken)} of {count} images: {named}", stacklevel=2)


def _form(picture: Array, data: Data, name: str) -> list[Array]:
    """One picture [h, w, C] in the form that the settings ask for; at several scales, several."""
    picture = to_channels(picture, data.channels)
    if data.size is not None:
        picture = to_square(picture, data.size)
    if data.crop is None:
        return [picture]
    scaled = [to_scale(picture, scale) for scale in data.scales]
    fitting = [one for one in scaled if min(one.shape[:2]) >= data.crop]
    if not fitting:
        height, width = picture.shape[:2]
        raise DataError(
            f"{name}: {width}x{height} is too small for data.crop={data.crop}; leave it out, or set data.size"
        )
    return fitting


def _together(taken: list[_Taken], data: Data, name: str) -> Array | list[Array]:
    """All pictures as one array [N, C, H, W], or as a list of [C, h, w] where sizes differ and crops are taken."""
    example: dict[tuple[int, ...], str] = {}  # of each shape, one image's name
    for one in taken:
        shapes = [one.pictures.shape[1:]] if isinstance(one.pictures, np.ndarray) else [p.shape for p in one.pictures]
        for i, shape in enumerate(shapes):
            example.setdefault(shape, one.title(i).removeprefix(f"{name}/"))
    if len({channels for _, _, channels in example}) > 1:
        grey, colour = (next(title for shape, title in example.items() if shape[2] == c) for c in (1, 3))
        raise MixedColoursError(f"{name}: grey and colour images ({grey}; {colour}): train with data.channels=1 or 3")
    if len(example) > 1 and data.crop is None:
        (first, a), (second, b) = list(example.items())[:2]
        sizes = f"{a} is {first[1]}x{first[0]}, {b} {second[1]}x{second[0]}"
        raise DataError(
            f"{name}: images of {len(example)} sizes ({sizes}): bring them to one, or train with data.size=… or "
            "data.crop=…"
        )
    if len(example) > 1:
        return [picture.transpose(2, 0, 1).copy() for one in taken for picture in one.pictures]
    (height, width, channels), kinds = next(iter(example)), {one.pictures[0].dtype for one in taken}
    if len(kinds) > 1:
        raise DataError(f"{name}: parts of different types, {' and '.join(sorted(str(kind) for kind in kinds))}")
    pixels = np.empty((sum(len(one.pictures) for one in taken), channels, height, width), kinds.pop())
    i = 0
    for one in taken:
        for block in [one.pictures] if isinstance(one.pictures, np.ndarray) else [p[None] for p in one.pictures]:
            pixels[i : i + len(block)] = block.transpose(0, 3, 1, 2)
            i += len(block)
    return pixels


def mixed(count: int) -> NDArray[np.uint64]:
    """splitmix64 of 0 … count - 1 (Steele, Lea and Flood, Fast splittable pseudorandom number generators, 2014)."""
    with np.errstate(over="ignore"):
        z = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))
