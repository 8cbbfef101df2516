"""What the scripts of the textbook page share: data, short trainings that are kept, where pictures and figures go."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import imprior
from imprior import runs
from imprior.data import prepare
from imprior.data.batches import Images
from imprior.data.settings import Data

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "docs" / "_static" / "textbook"
RESULT = ROOT / "benchmarks" / "results" / "textbook.json"
SHOWN = 10


@dataclass(frozen=True)
class Stage:
    """Where a picture is made.

    Attributes:
        data: source of the images, with labels and a test part.
        runs: folder of the short trainings; those that are there already are not made again.
        scale: of all trainings' lengths; below 1 for a quick look.
    """

    data: str
    runs: Path
    scale: float

    @cached_property
    def train(self) -> Images:
        return prepare.load(self.data, Data(), "train")

    @cached_property
    def test(self) -> Images:
        return prepare.load(self.data, Data(), "test")

    @cached_property
    def shown(self) -> Tensor:
        """The first test image of each class, [10, 1, 28, 28]."""
        labels = self.test.labels
        assert labels is not None
        return self.test.x(torch.stack([(labels == k).nonzero()[0, 0] for k in range(SHOWN)]))

    @cached_property
    def judged(self) -> Tensor:
        """The test images that figures are means over."""
        return self.test.x(slice(0, 1000))

    def images(self, count: int) -> int:
        """A training's length at this scale, whole hundreds."""
        return max(2_000, round(count * self.scale / 100) * 100)

    def trained(self, name: str, recipe: str, *overrides: str, images: int) -> Any:
        """The model of a short training."""
        count = self.images(images)
        given = (*overrides, f"training.images={count}", f"training.check={max(1, count // 10)}")
        place = self.runs / f"{name}-{count}"
        print(f"  training {recipe} {' '.join(given)}", flush=True)
        return imprior.load(imprior.train(recipe, self.data, place, overrides=given, resume=True).path)

    def protocol(self) -> dict[str, Any]:
        return {
            "data": Path(self.data).name,
            "test": len(self.test),
            "fingerprint": self.test.fingerprint,
            "scale": self.scale,
        }


Made = tuple[bytes, dict[str, Any]]  # a picture, and the figures that belong to it
Maker = Callable[[Stage], Made]


def keep(name: str, made: Made, stage: Stage) -> None:
    """Write a picture, and its figures into the results file."""
    picture, figures = made
    runs.write_bytes(PICTURES / f"{name}.png", picture)
    found = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.is_file() else {}
    found[name] = figures | {"protocol": stage.protocol() | figures.get("protocol", {})}
    runs.write_text(RESULT, json.dumps(found, indent=1, allow_nan=False) + "\n")
