"""What is in a data set, before anything is learned from it: counts, sizes, broken files, duplicates, balance.

open_source ──► every image of every part, one at a time ──► counts, hash of its pixels ──► Inspection
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from imprior.data.arrays import Array
from imprior.data.images import decode_exactly, split_alpha
from imprior.data.prepare import threaded
from imprior.data.source import FilePart, Part, open_source
from imprior.errors import DataError

SHOWN = 20  # groups of duplicates and sizes that a record lists


@dataclass(frozen=True)
class Contents:
    """What a part holds, broken images left out.

    Attributes:
        images: how many.
        classes: how many of each class, by name; empty without labels.
        sizes: how many of each (width, height), the most frequent first.
        kinds: how many grey, colour, with transparency, of more than 8 bits.
        low, high: darkest and brightest value, 1 being white.
    """

    images: int
    classes: dict[str, int]
    sizes: dict[tuple[int, int], int]
    kinds: dict[str, int]
    low: float
    high: float

    @property
    def balance(self) -> float | None:
        """Images of the rarest class for one of the most frequent: 1 is balanced; None without labels."""
        return min(self.classes.values()) / max(self.classes.values()) if self.classes else None

    def record(self) -> dict[str, Any]:
        """As JSON values."""
        areas = sorted(self.sizes, key=lambda size: (size[0] * size[1], size))
        return {
            "images": self.images,
            "classes": self.classes,
            "balance": self.balance,
            "sizes": {f"{w}x{h}": count for (w, h), count in list(self.sizes.items())[:SHOWN]},
            "different_sizes": len(self.sizes),
            "smallest": f"{areas[0][0]}x{areas[0][1]}" if areas else None,
            "largest": f"{areas[-1][0]}x{areas[-1][1]}" if areas else None,
            "kinds": self.kinds,
            "values": [self.low, self.high],
        }


@dataclass(frozen=True)
class Inspection:
    """What a source holds.

    Attributes:
        source: its name.
        parts: contents by split ("whole" where the source knows of no splits).
        broken: name and reason of each image that can't be read.
        duplicates: groups of (split, name) of images with equal pixels.
    """

    source: str
    parts: dict[str, Contents]
    broken: tuple[tuple[str, str], ...]
    duplicates: tuple[tuple[tuple[str, str], ...], ...]

    @property
    def images(self) -> int:
        """How many images can be read."""
        return sum(part.images for part in self.parts.values())

    @property
    def leaks(self) -> int:
        """How many groups of equal images lie in several splits: a test that holds training images flatters."""
        return sum(len({split for split, _ in group}) > 1 for group in self.duplicates)

    def record(self) -> dict[str, Any]:
        """As JSON values; of duplicates only some groups are listed."""
        return {
            "source": self.source,
            "images": self.images,
            "splits": {split: part.record() for split, part in self.parts.items()},
            "broken": [{"image": name, "why": why} for name, why in self.broken],
            "duplicates": {
                "images": sum(len(group) - 1 for group in self.duplicates),
                "across_splits": self.leaks,
                "groups": [[name for _, name in group] for group in self.duplicates[:SHOWN]],
            },
        }


def inspect(src: str | Path) -> Inspection:
    """Look through a source, decoding every image once.

    Raises:
        DataError: nothing there, or an array with values that are no pixels.
    """
    source = open_source(src)
    broken: list[tuple[str, str]] = []
    same: dict[bytes, list[tuple[str, str]]] = {}
    parts: dict[str, Contents] = {}
    for split, part in source.parts.items():
        sizes: Counter[tuple[int, int]] = Counter()
        kinds: Counter[str] = Counter()
        labels: Counter[int] = Counter()
        lows, highs = [1.0], [0.0]
        for title, look, label in _looks(part):
            if isinstance(look, DataError):
                broken.append((title, str(look).removeprefix(f"{title}: ")))
                continue
            sizes[look.size] += 1
            kinds[look.kind] += 1
            lows.append(look.low)
            highs.append(look.high)
            same.setdefault(look.digest, []).append((split, title))
            if label is not None:
                labels[label] += 1
        names = source.classes or tuple(str(label) for label in range(max(labels, default=-1) + 1))
        parts[split] = Contents(
            images=sum(sizes.values()),
            classes={name: labels[label] for label, name in enumerate(names)} if labels else {},
            sizes=dict(sizes.most_common()),
            kinds=dict(kinds.most_common()),
            low=min(lows) if sizes else 0.0,
            high=max(highs),
        )
    duplicates = tuple(tuple(group) for group in same.values() if len(group) > 1)
    return Inspection(source.name, parts, tuple(broken), duplicates)


@dataclass(frozen=True)
class _Look:
    size: tuple[int, int]
    kind: str
    low: float
    high: float
    digest: bytes


def _looks(part: Part) -> Iterator[tuple[str, _Look | DataError, int | None]]:
    """Name, what is seen, and label of each image."""
    if isinstance(part, FilePart):

        def work(item: tuple[int, bytes | DataError]) -> tuple[int, _Look | DataError]:
            i, data = item
            try:
                return i, data if isinstance(data, DataError) else _look(decode_exactly(data, part.title(i)))
            except DataError as error:
                return i, error

        for i, look in sorted(threaded(work, part.read(range(len(part.entries)))), key=lambda pair: pair[0]):
            yield part.title(i), look, None if part.labels is None else int(part.labels[i])
        return
    pixels, labels = part.read()
    for i, picture in enumerate(pixels):
        yield f"{part.name}, image {i}", _look(picture), None if labels is None else int(labels[i])


def _look(picture: Array) -> _Look:
    colour, alpha = split_alpha(picture)
    kind = "colour" if colour.ndim == 3 and colour.shape[2] == 3 else "grey"
    kind += " with transparency" if alpha is not None else ""
    kind += {np.dtype(np.uint8): "", np.dtype(np.uint16): ", 16 bits"}.get(picture.dtype, ", floating")
    top = float(np.iinfo(colour.dtype).max) if colour.dtype.kind == "u" else 1.0
    digest = hashlib.sha256(f"{picture.dtype} {picture.shape}".encode() + np.ascontiguousarray(picture).tobytes())
    size = (picture.shape[1], picture.shape[0])
    return _Look(size, kind, float(colour.min()) / top, float(colour.max()) / top, digest.digest())
