"""Prepared pictures on disk, so that a large source is decoded once: $XDG_CACHE_HOME/imprior/prepared/KEY.safetensors.

The key is a hash of the files' names, sizes and times of change, of the settings and of Pillow's version; a file is
written whole or not at all, a damaged one is made anew, and the oldest go when all together exceed `LIMIT`. The folder
can be deleted at any time.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch
from numpy.typing import NDArray

from imprior.errors import RunError
from imprior.runs import read_tensors, write_tensors

Array = NDArray[Any]
VERSION = 1  # of what is prepared how: raise it when the same settings give other pixels
WORTH = 16 * 2**20  # bytes of encoded files from which decoding takes seconds, and is kept
LIMIT = 10 * 2**30  # bytes of all that is kept


def folder() -> Path:
    """Where prepared pictures are kept."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "imprior" / "prepared"


def key(what: Any) -> str:
    """A name for what is prepared from these JSON values."""
    text = json.dumps([VERSION, PIL.__version__, what], sort_keys=True)
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:32]


def get(name: str) -> tuple[list[Array], list[int]] | None:
    """Pictures [h, w, C] uint8 under a key, and the position of each in its source; None where nothing is kept."""
    path = folder() / f"{name}.safetensors"
    if not path.is_file():
        return None
    try:
        tensors, _ = read_tensors(path)
        shapes, flat = tensors["shapes"].tolist(), tensors["pixels"].numpy()
        ends = np.cumsum([h * w * c for h, w, c in shapes]).tolist()
        pictures = [flat[end - h * w * c : end].reshape(h, w, c) for end, (h, w, c) in zip(ends, shapes, strict=True)]
        os.utime(path)  # used now: goes last
        return pictures, tensors["positions"].tolist()
    except (RunError, KeyError, ValueError, OSError) as error:
        warnings.warn(f"made anew, because it is damaged: {path} ({error})", stacklevel=2)
        return None


def put(name: str, pictures: Sequence[Array], positions: Sequence[int]) -> None:
    """Keep pictures; where the place can't be written, say so and go on."""
    flat = np.concatenate([picture.reshape(-1) for picture in pictures])
    try:
        tensors = {
            "pixels": torch.from_numpy(flat),
            "shapes": torch.tensor([picture.shape for picture in pictures], dtype=torch.int64),
            "positions": torch.tensor(positions, dtype=torch.int64),
        }
        write_tensors(folder() / f"{name}.safetensors", tensors)
        _forget(LIMIT)
    except (RunError, OSError) as error:
        warnings.warn(f"prepared pictures are not kept for the next time: {error}", stacklevel=2)


def _forget(limit: int) -> None:
    """Delete what was used longest ago until all is within the limit."""
    files = sorted(folder().glob("*.safetensors"), key=lambda path: path.stat().st_mtime, reverse=True)
    total = 0
    for path in files:
        total += path.stat().st_size
        if total > limit:
            path.unlink(missing_ok=True)
