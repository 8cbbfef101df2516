"""Where picture files lie: a folder, a tar or a zip, each read the same way and never unpacked to disk.

path ──► Folder | Tar | Zip ──► sizes {name: bytes}, stamp ──► read(names) ──► (name, bytes), …
"""

from __future__ import annotations

import hashlib
import os
import tarfile
import zipfile
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from imprior.data.images import PICTURES, UNREADABLE
from imprior.errors import DataError

LARGEST = 2**30  # bytes of one encoded picture; more is a mistake or an attack on memory
DAMAGED = (OSError, EOFError, zlib.error, tarfile.TarError, zipfile.BadZipFile, RuntimeError, NotImplementedError)
Read = Iterator[tuple[str, "bytes | DataError"]]


class Store(Protocol):
    """Named picture files in one place."""

    @property
    def path(self) -> Path:
        """The place."""
        ...

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes of each picture, by its name there (parts joined by "/")."""
        ...

    @property
    def stamp(self) -> str:
        """Changes when a picture does (by names, sizes and times of change)."""
        ...

    def read(self, names: Collection[str]) -> Read:
        """(name, bytes) of each named picture in the fastest order; its error instead where one can't be read."""
        ...


@dataclass(frozen=True)
class Folder:
    """Pictures in a folder and the folders in it; hidden ones are passed over."""

    path: Path
    sizes: dict[str, int]
    stamp: str

    @classmethod
    def of(cls, path: Path, only: str | None = None) -> Folder:
        """All pictures under `path`, or `only` the one of that name.

        Raises:
            DataError: the folder can't be read.
        """
        found: dict[str, int] = {}
        stamp = hashlib.sha256()
        for name in _walk(path) if only is None else [only]:
            status = (path / name).stat()
            found[name] = status.st_size
            stamp.update(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\0".encode(errors="surrogateescape"))
        return cls(path, found, stamp.hexdigest())

    def read(self, names: Collection[str]) -> Read:
        """The files, one by one."""
        for name in names:
            try:
                if self.sizes[name] > LARGEST:
                    raise OSError("larger than 1 GiB")
                yield name, (self.path / name).read_bytes()
            except OSError as error:
                yield name, DataError(f"{self.path / name}: can't be read ({error.strerror or error})")


@dataclass(frozen=True)
class Tar:
    """Pictures in a tar file, packed (gzip, bzip2, xz) or not."""

    path: Path
    sizes: dict[str, int]
    stamp: str

    @classmethod
    def of(cls, path: Path) -> Tar:
        """List a tar file.

        Raises:
            DataError: it is damaged or truncated.
        """
        try:
            with tarfile.open(path) as tar:
                return cls(path, {m.name: m.size for m in tar if m.isfile() and is_picture(m.name)}, _stamp(path))
        except DAMAGED as error:
            raise DataError(f"{path}: truncated or damaged tar file ({error})") from None

    def read(self, names: Collection[str]) -> Read:
        """The members in the order of the file, since a packed one can only be read forward."""
        missing = set(names)
        try:
            with tarfile.open(self.path) as tar:
                for member in tar:
                    if member.name in missing and member.isfile():
                        missing.remove(member.name)
                        yield member.name, _whole(tar.extractfile(member), member.size, f"{self.path}/{member.name}")
        except DAMAGED as error:
            raise DataError(f"{self.path}: truncated or damaged tar file ({error})") from None


@dataclass(frozen=True)
class Zip:
    """Pictures in a zip file."""

    path: Path
    sizes: dict[str, int]
    stamp: str

    @classmethod
    def of(cls, path: Path) -> Zip:
        """List a zip file.

        Raises:
            DataError: it is damaged or truncated.
        """
        try:
            with zipfile.ZipFile(path) as archive:
                sizes = {m.filename: m.file_size for m in archive.infolist() if is_picture(m.filename)}
                return cls(path, sizes, _stamp(path))
        except DAMAGED as error:
            raise DataError(f"{path}: truncated or damaged zip file ({error})") from None

    def read(self, names: Collection[str]) -> Read:
        """The members, each checked against its CRC."""
        with zipfile.ZipFile(self.path) as archive:
            for name in names:
                try:
                    with archive.open(name) as file:
                        yield name, _whole(file, self.sizes[name], f"{self.path}/{name}")
                except DAMAGED as error:
                    yield name, DataError(f"{self.path}/{name}: damaged or encrypted ({error})")


def is_archive(path: Path) -> bool:
    """Whether a file is a tar or a zip, by its content (a truncated one counts by its name)."""
    named = path.name.lower().endswith((".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".zip"))
    return named or zipfile.is_zipfile(path) or tarfile.is_tarfile(path)


def open_archive(path: Path) -> Tar | Zip:
    """List a tar or zip file.

    Raises:
        DataError: it is neither, or damaged.
    """
    zipped = zipfile.is_zipfile(path) or path.suffix.lower() == ".zip"
    return Zip.of(path) if zipped else Tar.of(path)


def is_picture(name: str) -> bool:
    """Whether a name ends like a picture's, hidden files and macOS' shadow files (._x.png) left out.

    >>> is_picture("cats/1.JPG"), is_picture("cats/._1.jpg"), is_picture("labels.csv")
    (True, False, False)
    """
    parts = name.split("/")
    hidden = any((part.startswith(".") and part not in (".", "..")) or part == "__MACOSX" for part in parts)
    return not hidden and os.path.splitext(parts[-1])[1].lower() in PICTURES | UNREADABLE.keys()


def _walk(path: Path) -> list[str]:
    """Names of all pictures under a folder; links to folders are followed, each real folder once."""
    names: list[str] = []
    seen: set[str] = set()

    def refuse(error: OSError) -> None:
        raise DataError(f"{error.filename}: can't be read ({error.strerror})")

    for root, folders, files in os.walk(path, onerror=refuse, followlinks=True):
        real = os.path.realpath(root)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        inside = Path(root).relative_to(path).as_posix()
        names += [name if inside == "." else f"{inside}/{name}" for name in sorted(files)]
    return [name for name in names if is_picture(name)]


def _stamp(path: Path) -> str:
    status = path.stat()
    return f"{path.resolve()} {status.st_size} {status.st_mtime_ns}"


def _whole(file: IO[bytes] | None, size: int, name: str) -> bytes | DataError:
    if file is None or size > LARGEST:
        return DataError(f"{name}: can't be read (a link, or larger than 1 GiB)")
    return file.read()
