"""A probe measures what the codes know, with labels drawn alike for all, and never chooses by the test images."""

from __future__ import annotations

import importlib
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from imprior.data.batches import Images
from imprior.errors import DataError, MissingExtraError
from imprior.promises import Shape
from imprior.tasks import probe
from toys import Identity


def blobs(count: int, seed: int, *, classes: int = 3, noise: float = 0.05) -> Images:
    """Class k has pixel k bright."""
    rng = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, classes, (count,), generator=rng)
    x = 0.3 + noise * torch.randn(count, 1, 3, 3, generator=rng)
    x.flatten(1)[torch.arange(count), labels] += 0.4
    return Images(x.clamp(0, 1), labels, tuple(map(str, range(classes))), f"blobs-{count}-{seed}")


class Code:
    """A code of some of the pixels."""

    shape: Shape = (1, 3, 3)
    levels: int | None = None
    classes: int | None = None

    def __init__(self, pixels: list[int], gain: float = 1.0) -> None:
        self.pixels, self.gain = pixels, gain

    def encode(self, x: Tensor) -> Tensor:
        return self.gain * x.flatten(1)[:, self.pixels]

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        x = torch.zeros(len(z), 9)
        x[:, self.pixels] = z / self.gain
        return x.view(-1, 1, 3, 3)

    def latent(self, n: int, rng: torch.Generator) -> Tensor:
        return torch.rand(n, len(self.pixels), generator=rng)


def test_codes_that_hold_the_class_are_read_and_codes_that_do_not_are_not() -> None:
    train, test = blobs(600, 0), blobs(600, 1)
    knows = probe.run(Code([0, 1, 2]), train, test, per_class=(20,), baselines=False).of("codes", 20)
    ignorant = probe.run(Code([6, 7, 8]), train, test, per_class=(20,), baselines=False).of("codes", 20)
    assert knows.mean > 0.99 and knows.dimensions == 3
    assert abs(ignorant.mean - 1 / 3) < 0.08  # chance; 600 images: sd 0.02, and three draws


def test_pixels_pca_and_the_identity_code_agree() -> None:
    """PCA with all components is a rotation, which a linear classifier with a round penalty does not notice."""
    found = probe.run(Identity(), blobs(300, 0, noise=0.2), blobs(500, 1, noise=0.2), per_class=(30,), seeds=2)
    codes, pixels, pca = (found.of(name, 30) for name in ("codes", "pixels", "pca"))
    assert codes.accuracies == pixels.accuracies and codes.dimensions == pca.dimensions == 9
    assert np.abs(np.subtract(pca.accuracies, pixels.accuracies)).max() < 0.011  # the solver stops where it stops


def test_pca_has_as_many_components_as_the_code() -> None:
    found = probe.run(Code([0, 4]), blobs(120, 0), blobs(60, 1), per_class=(5,), seeds=1)
    assert [(r.representation, r.dimensions) for r in found.rows] == [("codes", 2), ("pixels", 9), ("pca", 2)]


def test_the_scale_of_a_code_does_not_matter() -> None:
    train, test = blobs(300, 0, noise=0.2), blobs(300, 1, noise=0.2)
    small, large = (probe.run(Code([0, 1, 2], g), train, test, per_class=(10,), baselines=False) for g in (0.01, 100.0))
    assert small.rows[0].strengths == large.rows[0].strengths
    assert np.allclose(small.rows[0].accuracies, large.rows[0].accuracies, atol=0.01)


def test_more_labels_help() -> None:
    train, test = blobs(3000, 0, noise=0.35), blobs(1500, 1, noise=0.35)
    found = probe.run(Identity(), train, test, per_class=(4, 400), baselines=False)
    assert found.of("codes", 400).mean > found.of("codes", 4).mean + 0.02


def test_test_labels_take_no_part_in_the_choice() -> None:
    train, test = blobs(300, 0, noise=0.3), blobs(200, 1, noise=0.3)
    lying = replace(test, labels=(test.labels + 1) % 3)  # type: ignore[operator]
    honest, lied = (probe.run(Identity(), train, t, per_class=(10,), baselines=False).rows[0] for t in (test, lying))
    assert honest.strengths == lied.strengths and honest.mean > 0.5 > lied.mean


def test_the_same_seed_draws_the_same_labels_and_others_draw_others() -> None:
    labels = np.repeat(np.arange(4), 50)
    draw = probe._draw(labels, 7, 0)
    assert np.array_equal(draw, probe._draw(labels, 7, 0)) and not np.array_equal(draw, probe._draw(labels, 7, 1))
    assert np.array_equal(np.bincount(labels[draw]), [7] * 4) and len(set(draw)) == 28


def test_numbers_of_labels_that_are_not_there_are_left_out_and_listed() -> None:
    train = blobs(100, 0)
    found = probe.run(Identity(), train, blobs(50, 1), per_class=(5, 1000), seeds=1)
    assert {r.per_class for r in found.rows} == {5} and found.skipped == (1000,)
    with pytest.raises(DataError, match="asked for: 1000"):
        probe.run(Identity(), train, blobs(50, 1), per_class=(1000,))


def test_refusals() -> None:
    labelled, bare = blobs(60, 0), replace(blobs(60, 0), labels=None)
    with pytest.raises(DataError, match="training images have none"):
        probe.run(Identity(), bare, labelled)
    with pytest.raises(DataError, match="test images have none"):
        probe.run(Identity(), labelled, bare)
    with pytest.raises(DataError, match="two classes"):
        probe.run(Identity(), blobs(60, 0, classes=1), labelled, per_class=(5,))
    wide = replace(labelled, pixels=torch.rand(60, 1, 3, 4))
    with pytest.raises(DataError, match="1 x 3 x 4"):
        probe.run(Identity(), wide, wide, per_class=(5,))


def test_without_scikit_learn_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.import_module

    def missing(name: str, *rest: Any) -> Any:
        if name.startswith("sklearn"):
            raise ModuleNotFoundError(name)
        return real(name, *rest)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(MissingExtraError, match=r"imprior\[classical\]"):
        probe.run(Identity(), blobs(60, 0), blobs(60, 1), per_class=(5,))


def test_the_record_is_json_and_the_table_reads() -> None:
    found = probe.run(Identity(), blobs(90, 0), blobs(60, 1), per_class=(5, 10), seeds=2)
    record = found.record()
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    row = found.of("pca", 10)
    assert row.sd == pytest.approx(float(np.std(row.accuracies, ddof=1)))
    assert record["rows"][-1]["mean"] == pytest.approx(sum(row.accuracies) / 2)
    assert found.markdown().splitlines()[0] == "| representation | numbers | 5 a class | 10 a class |"
