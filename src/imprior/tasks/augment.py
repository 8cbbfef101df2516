"""Labelled images from a model: as a data set in memory, and as a folder that trains others.

    model ──► as many images of each class ──► Images ──► FOLDER/class/number.png

The folder has the layout that every command reads as labelled images (`imprior train`, `imprior data`): a subfolder a
class. 8-bit levels are written without loss; images between the levels are rounded.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from imprior.data import prepare
from imprior.data.batches import Images
from imprior.errors import CapabilityError, DataError, RunError
from imprior.report import grid
from imprior.tasks import sample


def run(
    model: Any,
    n: int,
    *,
    rng: torch.Generator,
    labels: Sequence[int] | None = None,
    draw: bool = False,
    temperature: float = 1.0,
) -> Images:
    """Draw n images with their labels, the classes in turns.

    Args:
        model: keeps `Samples` or `Decodes`, and knows classes.
        n: how many in all.
        rng: of the draws.
        labels: classes to draw; None draws all that the model knows.
        draw, temperature: as `sample.run`.

    Returns:
        uint8 images, rounded to 8-bit levels.

    Raises:
        CapabilityError: the model knows no classes, or can't draw.
        DataError: a class that the model does not know.
    """
    classes = getattr(model, "classes", None)
    if classes is None:
        raise CapabilityError("this model knows no classes, so nobody knows the labels of what it draws")
    given = torch.arange(classes) if labels is None else torch.tensor(labels, dtype=torch.int64)
    if len(given) == 0 or int(given.min()) < 0 or int(given.max()) >= classes:
        raise DataError(f"the model knows the classes 0 to {classes - 1}, not {', '.join(map(str, given.tolist()))}")
    chosen = given.repeat(-(-n // len(given)))[:n]
    x = sample.run(model, n, rng=rng, labels=chosen, draw=draw, temperature=temperature)
    pixels = (255 * x.clamp(0, 1)).round().to(torch.uint8).cpu()
    names = tuple(map(str, range(classes)))
    return Images(pixels, chosen, names, prepare.fingerprint([pixels.numpy()], chosen.numpy()))


def write(images: Images, out: Path) -> None:
    """Write a labelled folder, whole or not at all.

    Args:
        images: with labels and uint8 pixels.
        out: a folder that isn't there yet, or is empty.

    Raises:
        DataError: there is something in the folder already: images of two models would be one data set.
        RunError: it can't be written.
    """
    assert images.labels is not None and images.pixels[0].dtype == torch.uint8
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out}: there is something already; name a folder that is new or empty")
    temporary: Path | None = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
        for label in sorted(set(images.labels.tolist())):
            (temporary / images.classes[label]).mkdir()
        digits = len(str(len(images) - 1))
        for number, label in enumerate(images.labels.tolist()):
            name = f"{number:0{digits}}.png"
            drawn = grid.picture(images.x(slice(number, number + 1))[0])
            (temporary / images.classes[label] / name).write_bytes(grid.encoded(drawn, name))
        temporary.chmod(0o755)
        temporary.replace(out)
        temporary = None
    except OSError as error:
        raise RunError(f"can't write {out}: {error.strerror or error}") from None
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
