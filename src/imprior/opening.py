"""What people hand to the face becomes what tasks take: names become models, sources and files become images.

"mnist-vae", run folder, object ──► Opened(model, name, data)         data: how its recipe prepares images
source, files, Images, batch ──► Images, prepared in that way
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from imprior import loading, recipes, runs
from imprior.data import prepare
from imprior.data.batches import Images
from imprior.data.prepare import Split
from imprior.data.settings import Data
from imprior.errors import DataError, MixedColoursError
from imprior.promises import require

Given = str | Path | Sequence[str | Path] | Images | Tensor

# Denoisers that need no training go by name, as trained models do.
CLASSICAL = {"non-local-means": "NonLocalMeans", "total-variation": "TotalVariation", "wavelets": "Wavelets"}


@dataclass(frozen=True)
class Opened:
    """A model, what to call it, and how its images are prepared."""

    model: Any
    name: str
    data: Data


def model(given: Any, promise: type | None = None) -> Opened:
    """Open an embedded name, a classical denoiser's name or a run folder; an object is taken as the model itself.

    Raises:
        RunError: no such model, or a damaged one.
        CapabilityError: it does not keep `promise`; the message names it.
    """
    opened = _opened(given)
    if promise is not None:
        require(opened.model, promise, name=opened.name)
    return opened


def images(
    given: Given, data: Data, *, split: Split | None = None, limit: int | None = None, whole: bool = False
) -> Images:
    """Prepare images as `data` says, crops taken from the centre.

    Args:
        given: a source, a list of picture files, a batch [N, C, H, W] in [0, 1], or prepared images.
        data: the model's.
        split: part of the source; None is its test part where it has one, else all of it.
        limit: at most so many, the first ones.
        whole: whether images may differ in size, and are not cropped; grey ones among colour ones become colour.

    Raises:
        DataError: nothing there, or nothing that can be used as asked.
    """
    data = replace(data, crop=1) if whole else data  # where there are crops to be taken, sizes may differ
    if isinstance(given, Images):
        found = given
    elif isinstance(given, Tensor):
        found = Images(given, None, (), prepare.fingerprint([given.numpy()], None))
    elif isinstance(given, str | Path):
        wanted: Split = split or ("test" if "test" in prepare.splits(given) else "all")
        try:
            found = prepare.load(given, data, wanted)
        except MixedColoursError:
            if not whole:
                raise
            found = prepare.load(given, replace(data, channels=3), wanted)
    else:
        found = _joined([prepare.load(path, data, "all") for path in given])
    if len(found) == 0:
        raise DataError("no images given: name picture files, or a source with --data")
    if limit is not None and limit < len(found):
        found = replace(
            found, pixels=found.pixels[:limit], labels=None if found.labels is None else found.labels[:limit]
        )
    return _centred(found, data.crop) if data.crop is not None and not whole else found


def batch(given: Given, data: Data, *, split: Split | None = None, limit: int | None = None) -> Tensor:
    """The same as one float32 batch [N, C, H, W] in [0, 1].

    Raises:
        DataError: as `images`, or images that differ in size.
    """
    return images(given, data, split=split, limit=limit).x(slice(None))


def _opened(given: Any) -> Opened:
    if not isinstance(given, str | Path):
        return Opened(given, type(given).__name__, Data())
    if str(given) in CLASSICAL:
        from imprior.models import classical

        return Opened(getattr(classical, CLASSICAL[str(given)])(), str(given), Data())
    run = runs.find(given)
    return Opened(loading.load(run), str(given), recipes.read(run.read("recipe.json")).data)


def _joined(parts: Sequence[Images]) -> Images:
    """Several sources as one, without labels."""
    pictures = [picture for part in parts for picture in part.pixels]
    same = len({(picture.shape, picture.dtype) for picture in pictures}) == 1
    pixels = torch.stack(pictures) if same else tuple(pictures)
    return Images(pixels, None, (), prepare.fingerprint([picture.numpy() for picture in pictures], None))


def _centred(found: Images, crop: int) -> Images:
    """The centre of each image, `crop` pixels a side."""
    if all(picture.shape[1:] == (crop, crop) for picture in found.pixels):
        return found
    cuts = []
    for picture in found.pixels:
        height, width = picture.shape[1:]
        if min(height, width) < crop:
            raise DataError(f"an image of {height}x{width} has no crop of {crop}x{crop}")
        top, left = (height - crop) // 2, (width - crop) // 2
        cuts.append(picture[:, top : top + crop, left : left + crop])
    return replace(found, pixels=torch.stack(cuts))
