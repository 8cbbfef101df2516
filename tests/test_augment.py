"""Labelled folders of generated images: read back as they were drawn, in the classes that were asked for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

import imprior as package
from conftest import Ended
from imprior import loading, recipes, runs
from imprior.data import prepare
from imprior.data.settings import Data
from imprior.errors import CapabilityError, DataError, RunError
from imprior.promises import Shape
from imprior.tasks import augment
from toys import LinearGaussian

Command = Callable[..., Ended]


class Painter:
    """Class k is 20·k grey, with noise; keeps Samples."""

    shape: Shape = (1, 5, 4)
    levels: int | None = 256
    classes: int | None = 3

    def sample(self, n: int, rng: torch.Generator, labels: Tensor | None = None) -> Tensor:
        assert labels is not None
        noise = torch.randint(10, (n, 1, 5, 4), generator=rng)
        return (20 * labels.view(-1, 1, 1, 1) + noise) / 255


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture
def gan(tmp_path: Path) -> Path:
    """A run folder of a conditional generator with fresh weights."""
    recipe = recipes.find("mnist-gan").with_overrides(["model.network.channels=4,4", "model.latent=3"])
    recipe = recipe.with_shape((1, 28, 28))
    run = runs.Run(tmp_path / "gan")
    run.write("recipe.json", recipes.as_json(recipe))
    runs.write_tensors(run.weights_file, loading.build(recipe).state_dict())
    return run.path


def test_classes_take_turns_and_labels_are_theirs() -> None:
    images = augment.run(Painter(), 10, rng=rng())
    assert images.labels is not None and images.labels.tolist() == [0, 1, 2, 0, 1, 2, 0, 1, 2, 0]
    assert isinstance(images.pixels, Tensor) and images.pixels.dtype == torch.uint8
    assert torch.equal(images.pixels.flatten(1).amin(1) // 20, images.labels.to(torch.uint8))
    only = augment.run(Painter(), 5, rng=rng(), labels=[2, 0])
    assert only.labels is not None and only.labels.tolist() == [2, 0, 2, 0, 2]


def test_a_folder_reads_back_as_it_was_drawn(tmp_path: Path) -> None:
    images = augment.run(Painter(), 10, rng=rng())
    augment.write(images, tmp_path / "new" / "set")
    again = prepare.load(tmp_path / "new" / "set", Data(validation=0.0), "all")
    assert again.classes == ("0", "1", "2") and again.labels is not None and images.labels is not None
    assert again.labels.tolist() == sorted(images.labels.tolist())
    for label in range(3):
        assert torch.equal(again.pixels[again.labels == label], images.pixels[images.labels == label])  # type: ignore[index]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["set"]


def test_what_is_there_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = augment.run(Painter(), 3, rng=rng())
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").touch()
    (tmp_path / "empty").mkdir()
    for place in (tmp_path / "full", tmp_path / "full" / "a"):
        with pytest.raises(DataError, match="something already"):
            augment.write(images, place)
    augment.write(images, tmp_path / "empty")
    with pytest.raises(RunError, match="can't write"):
        augment.write(images, tmp_path / "full" / "a" / "below")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(RunError, match="No space left"):
        augment.write(images, tmp_path / "other")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "full"]


def test_refusals() -> None:
    with pytest.raises(CapabilityError, match="knows no classes"):
        augment.run(LinearGaussian(), 3, rng=rng())
    for labels in ([3], [-1], []):
        with pytest.raises(DataError, match="classes 0 to 2"):
            augment.run(Painter(), 3, rng=rng(), labels=labels)


def test_the_command_writes_a_folder(imprior: Command, gan: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    found = json.loads(imprior("augment", gan, "-n", 7, "--label", "4,9", "-o", out, "--json").out)
    assert found["classes"] == {"4": 4, "9": 3} and sorted(p.name for p in out.iterdir()) == ["4", "9"]
    assert json.loads(imprior("data", out, "--json").out)
    again = package.augment(gan, 7, labels=[4, 9])
    read = prepare.load(out, Data(validation=0.0), "all")
    assert torch.equal(read.pixels[:4], again.pixels[again.labels == 4])  # type: ignore[index]
    for args, word in (
        (["augment", gan, "-o", out], "something already"),
        (["augment", gan, "-o", tmp_path / "x", "--label", 10], "classes 0 to 9"),
        (["augment", "mnist-ae", "-o", tmp_path / "x"], "no classes"),
        (["augment", gan], "--out"),
    ):
        ended = imprior(*args)
        assert ended.code == 2 and word in ended.line
    assert not (tmp_path / "x").exists()
