"""What stands behind a name or a path: parts (train, validation, test, or one whole) that are read only when asked for.

    SRC ──► open_source ──► Source.parts ──► ArrayPart.read()           ──► pixels, labels
                            (names, counts)  FilePart.read(which)       ──► bytes of each picture

A source is an IDX file or the folder of the four files that MNIST and its kin come as, an NPY or NPZ file, a picture, a
folder of pictures, a tar or zip of such a folder, a folder of such archives, or the name of an embedded set. Among
pictures, folders named train, val, test are parts; within a part, two folders or more are classes, if no picture lies
outside them.
Nothing is ever unpacked to disk and no pickle is ever read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from imprior.data.arrays import IDX_NAME, ORDER, SPLITS, Array, ArrayPart, idx_parts, numpy_parts, unpacked
from imprior.data.files import Folder, Store, is_archive, is_picture, open_archive
from imprior.errors import DataError, nearest
from imprior.runs import EMBEDDED

EMBEDDED_SETS = ("digits", "photos")
OTHER_KINDS = (".7z", ".rar", ".zst", ".tzst", ".lz4", ".parquet", ".h5", ".hdf5", ".mat", ".pkl", ".pickle", ".pt")


@dataclass(frozen=True)
class FilePart:
    """A part that is made of picture files.

    Attributes:
        name: where it is, for messages.
        entries: store and name there of each picture, in natural order (2 before 10).
        labels: int64 [N], or None.
    """

    name: str
    entries: tuple[tuple[Store, str], ...]
    labels: Array | None

    def title(self, i: int) -> str:
        """What a person calls picture i."""
        store, name = self.entries[i]
        return f"{store.path}/{name}"

    def read(self, which: Sequence[int]) -> Iterator[tuple[int, bytes | DataError]]:
        """(i, bytes) of each picture asked for, in the fastest order; its error where one can't be read."""
        for store in {id(self.entries[i][0]): self.entries[i][0] for i in which}.values():
            place = {self.entries[i][1]: i for i in which if self.entries[i][0] is store}
            for name, data in store.read(place):
                yield place[name], data


Part = ArrayPart | FilePart


@dataclass(frozen=True)
class Source:
    """Parts by split: "train", "validation", "test", or "whole" where the source knows of no splits."""

    name: str
    parts: dict[str, Part]
    classes: tuple[str, ...] = ()


def open_source(src: str | Path) -> Source:
    """Find out what `src` is and which parts it has, without reading pixels.

    Args:
        src: a path, or the name of an embedded set (a folder of that name is meant by "./digits").

    Raises:
        DataError: nothing there, or nothing that can be used.
    """
    if src in EMBEDDED_SETS:
        return replace(open_source(EMBEDDED / "data" / src), name=str(src))
    path = Path(src)
    try:
        if not path.exists():
            hint = nearest(str(src), EMBEDDED_SETS) or f"; embedded sets: {', '.join(EMBEDDED_SETS)}"
            raise DataError(f"{path}: no such file or folder{hint}")
        return _open_folder(path) if path.is_dir() else _open_file(path)
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror or error})") from None


def _open_folder(path: Path) -> Source:
    top = sorted(path.iterdir())
    if any(IDX_NAME.match(entry.name) for entry in top):
        return Source(str(path), dict(idx_parts(path)))
    folder = Folder.of(path)
    if folder.sizes:
        return _arrange(str(path), [(folder, None)])
    archives = [entry for entry in top if entry.is_file() and is_archive(entry)]
    if archives:
        return _arrange(str(path), [(open_archive(entry), _named_split(entry.name)) for entry in archives])
    arrays = [entry for entry in top if entry.suffix in (".npy", ".npz")]
    if arrays:
        raise DataError(f"{path}: no images there, but arrays; name the file: {arrays[0]}")
    raise DataError(f"{path}: no images there" + (f", only such as {top[0].name}" if top else ", the folder is empty"))


def _open_file(path: Path) -> Source:
    suffix = path.suffix.lower()
    if IDX_NAME.match(path.name):
        return Source(str(path), dict(idx_parts(path)))
    if suffix in OTHER_KINDS:
        raise DataError(f"{path}: {suffix} files can't be read; give a folder, tar, zip, NPY, NPZ or IDX")
    if suffix in (".npy", ".npz"):
        return Source(str(path), dict(numpy_parts(path)))
    if is_picture(path.name):
        return _arrange(str(path), [(Folder.of(path.parent, only=path.name), None)])
    if is_archive(path):
        return _arrange(str(path), [(open_archive(path), None)], strip=True)
    if unpacked(path)[:2] == b"\0\0":
        return Source(str(path), dict(idx_parts(path)))
    raise DataError(f"{path}: neither a picture nor a tar, zip, NPY, NPZ or IDX file")


def _arrange(name: str, stores: list[tuple[Store, str | None]], strip: bool = False) -> Source:
    """Sort pictures into splits and classes by the folders they lie in.

    Args:
        name: of the source.
        stores: places, each with the split that its own name tells.
        strip: whether one folder around everything is looked through, as archives tend to have one.
    """
    found: dict[str, list[tuple[list[str], Store, str]]] = {}
    for store, split in stores:
        rows = [(member.removeprefix("./").split("/"), member) for member in store.sizes]
        while strip and rows and len({folders[0] for folders, _ in rows}) == 1 and _splits_below(rows):
            rows = [(folders[1:], member) for folders, member in rows]
        by_folder = split is None and any(len(folders) > 1 and folders[0].lower() in SPLITS for folders, _ in rows)
        for folders, member in rows:
            if by_folder and (len(folders) == 1 or folders[0].lower() not in SPLITS):
                raise DataError(
                    f"{name}: has folders named after splits (train, test, …), but {member} is outside them"
                )
            where = SPLITS[folders[0].lower()] if by_folder else split or "whole"
            found.setdefault(where, []).append((folders[1:] if by_folder else folders, store, member))
    if not found:
        raise DataError(f"{name}: no images in it")
    if "whole" in found and len(found) > 1:
        raise DataError(f"{name}: some archives are named after a split (train, test, …), others are not")
    classes = {folders[0] for part in found.values() if _labelled(part) for folders, _, _ in part}
    names = tuple(sorted(classes, key=natural)) if len(classes) > 1 else ()
    return Source(name, {split: _part(name, split, found[split], names) for split in ORDER if split in found}, names)


def _part(name: str, split: str, rows: list[tuple[list[str], Store, str]], classes: tuple[str, ...]) -> FilePart:
    rows = sorted(rows, key=lambda row: [natural(folder) for folder in row[0]])
    label = {name: i for i, name in enumerate(classes)}
    labels = np.array([label[row[0][0]] for row in rows], np.int64) if classes and _labelled(rows) else None
    return FilePart(name if split == "whole" else f"{name} ({split})", tuple((s, m) for _, s, m in rows), labels)


def _labelled(rows: list[tuple[list[str], Store, str]]) -> bool:
    return all(len(folders) > 1 for folders, _, _ in rows)


def _splits_below(rows: list[tuple[list[str], str]]) -> bool:
    """Whether everything lies in one folder that is no split itself and has folders below it."""
    return rows[0][0][0].lower() not in SPLITS and all(len(folders) > 2 for folders, _ in rows)


def _named_split(archive: str) -> str | None:
    """The split that an archive's name tells: "train-0.tar" -> "train"."""
    return SPLITS.get(re.split(r"[-_.0-9]", archive.lower())[0])


def natural(text: str) -> tuple[tuple[int, int, str], ...]:
    """A sort key by which numbers in names count as numbers.

    >>> sorted(["10.png", "9.png", "a.png"], key=natural)
    ['9.png', '10.png', 'a.png']
    """
    pieces = re.split(r"([0-9]+)", text)
    return tuple((0, int(p), p) if p[:1].isascii() and p[:1].isdigit() else (1, 0, p) for p in pieces if p)
