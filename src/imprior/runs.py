"""The run folder: everything of a training, in files that can't run code and are never half-written.

    run/recipe.json           everything that was asked for, typed, with its version
        weights.safetensors   what tasks use (moving averages where the recipe says so)
        resume/state.safetensors   what going on needs: raw weights, averages, optimisers; counters as its metadata
        log.jsonl             a line per report
        card.json             figures with their protocol, fingerprint of the data, time, hardware, versions
        preview.png, curves.png

Each file is written to a temporary name, flushed, then renamed. What must agree (weights, optimiser, counters) is one
file, so a kill at any moment leaves the previous state whole. An embedded model is a run folder without `resume/`.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imprior.errors import RunError

if TYPE_CHECKING:  # listing the runs of a machine must not cost the import of torch
    from torch import Tensor

EMBEDDED = Path(__file__).parent / "embedded"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file beside `path` that takes its place if the block succeeds, and vanishes if it doesn't.

    Raises:
        RunError: the place can't be written, or the disk is full.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=path.suffix, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        temporary.replace(path)
        temporary = None
    except OSError as error:
        raise RunError(f"can't write {path}: {error.strerror or error}") from None
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a whole text file, or nothing."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(path: Path, data: bytes) -> None:
    """Write a whole binary file, or nothing."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any] | None = None) -> None:
    """Write tensors as safetensors, with `metadata` (JSON values) in its header."""
    from safetensors.torch import save

    header = {"json": json.dumps(metadata)} if metadata is not None else None
    write_bytes(path, save({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, header))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and metadata of a safetensors file.

    Raises:
        RunError: no such file, or it is truncated or not safetensors.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise RunError(f"{path.parent}: no {path.name} there")
    try:
        with safe_open(path, "pt") as file:
            header = file.metadata() or {}
            return {key: file.get_tensor(key) for key in file.keys()}, json.loads(header.get("json", "{}"))  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise RunError(f"{path}: truncated or not a safetensors file ({error})") from None


@dataclass(frozen=True)
class Run:
    """A run folder on disk."""

    path: Path

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.name

    @property
    def state_file(self) -> Path:
        """What going on needs."""
        return self.path / "resume" / "state.safetensors"

    @property
    def weights_file(self) -> Path:
        """What tasks use."""
        return self.path / "weights.safetensors"

    def exists(self) -> bool:
        """Whether something was trained there."""
        return (self.path / "recipe.json").is_file()

    def read(self, name: str) -> dict[str, Any]:
        """A JSON file of the run ("recipe.json", "card.json").

        Raises:
            RunError: missing, or not JSON.
        """
        path = self.path / name
        if not path.is_file():
            raise RunError(f"{self.path} is no run folder: {name} is missing")
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, OSError) as error:
            raise RunError(f"{path}: damaged ({error})") from None
        if not isinstance(values, dict):
            raise RunError(f"{path}: damaged (not an object)")
        return values

    def write(self, name: str, values: Mapping[str, Any]) -> None:
        """Write a JSON file of the run."""
        write_text(self.path / name, json.dumps(values, indent=1) + "\n")

    def log(self) -> list[dict[str, Any]]:
        """The lines of log.jsonl."""
        path = self.path / "log.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []

    def append(self, line: Mapping[str, Any]) -> None:
        """Add a line to log.jsonl."""
        try:
            with open(self.path / "log.jsonl", "a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise RunError(f"can't write {self.path / 'log.jsonl'}: {error.strerror or error}") from None

    def truncate_log(self, images: int) -> None:
        """Drop the lines after `images`: those that a kill left beyond the state that is gone on from."""
        path = self.path / "log.jsonl"
        kept: list[str] = []
        for line in path.read_text().splitlines() if path.is_file() else []:
            try:
                if json.loads(line)["images"] <= images:
                    kept.append(line)
            except (ValueError, KeyError):
                continue  # the last line, cut by the kill
        write_text(path, "".join(line + "\n" for line in kept))


def embedded() -> dict[str, Run]:
    """The models that come with the package, by name."""
    return {p.parent.name: Run(p.parent) for p in sorted(EMBEDDED.glob("*/recipe.json"))}


def find(name: str | Path) -> Run:
    """The run folder at a path, or the embedded model of that name.

    Raises:
        RunError: neither; the nearest embedded name is given.
    """
    from imprior.errors import nearest

    models = embedded()
    if str(name) in models:
        return models[str(name)]
    run = Run(Path(name))
    if run.exists():
        return run
    if run.path.is_dir():
        raise RunError(f"{name} is no run folder: recipe.json is missing")
    raise RunError(f"no run folder and no embedded model '{name}'{nearest(str(name), models)}")
