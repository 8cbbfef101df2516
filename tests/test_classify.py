"""Bayes' rule on likelihoods that are known, figures against their definitions."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import imprior as package
from conftest import Ended
from imprior.data.batches import Images
from imprior.distributions.likelihoods import Bernoulli
from imprior.errors import CapabilityError, DataError
from imprior.promises import Score, Shape
from imprior.tasks import classify
from toys import Pixels, every_image

Command = Callable[..., Ended]


class Two:
    """Binary pixels, independent within a class: p(x | label) is a product, and Bayes' rule a logistic regression."""

    shape: Shape = (1, 3, 3)
    levels: int | None = 2
    classes: int | None = 2

    def __init__(self) -> None:
        self.logits = torch.stack([torch.linspace(-1, 1, 9), torch.linspace(1.5, -0.5, 9)]).double().view(2, 1, 3, 3)

    def score(
        self, x: Tensor, labels: Tensor | None = None, samples: int = 1, rng: torch.Generator | None = None
    ) -> Score:
        assert labels is not None
        return Score(-Bernoulli(self.logits[labels]).log_prob(x.double()), "exact", "binary", "exact")

    def posterior(self, x: Tensor, prior: float = 0.5) -> Tensor:
        """p(label 1 | x) in closed form."""
        w = (self.logits[1] - self.logits[0]).flatten()
        offset = torch.nn.functional.softplus(self.logits).flatten(1).sum(1)
        return torch.sigmoid(x.flatten(1).double() @ w - offset[1] + offset[0] + math.log(prior / (1 - prior)))


class Teller:
    """Classifies: the class is whether the first pixel is bright, told with 80 %."""

    shape: Shape = (1, 3, 3)
    levels: int | None = 256
    classes: int | None = 2
    measure = "FD-toy"

    def features(self, x: Tensor) -> Tensor:
        return x.flatten(1)

    def classify(self, x: Tensor) -> Tensor:
        bright = x[:, 0, 0, 0] > 0.5
        return torch.where(bright[:, None], torch.tensor([0.2, 0.8]), torch.tensor([0.8, 0.2])).log()


def images(x: Tensor, labels: Tensor | None) -> Images:
    return Images(x.float(), labels, ("off", "on") if labels is not None else (), "toy")


@pytest.mark.parametrize("prior", [0.5, 0.1])
def test_bayes_rule_is_the_closed_form_on_every_image(prior: float) -> None:
    model, x = Two(), every_image()
    found = classify.run(model, images(x, None), prior=torch.tensor([1 - prior, prior], dtype=torch.float64))
    assert (found.log_p[:, 1].exp() - model.posterior(x, prior)).abs().max() < 1e-12
    assert (found.log_p.exp().sum(1) - 1).abs().max() < 1e-12
    assert torch.equal(found.predicted, (model.posterior(x, prior) > 0.5).long())


def test_accuracy_is_that_of_the_bayes_classifier() -> None:
    """Of 4,000 draws; what Bayes' rule reaches is known by enumeration, and nothing does better."""
    model, x = Two(), every_image()
    p = torch.stack([(-model.score(x, torch.full((512,), k)).nats).exp() for k in (0, 1)])
    best = float(p.max(0).values.sum() / 2)
    rng = torch.Generator().manual_seed(0)
    labels = torch.randint(2, (4000,), generator=rng)
    drawn = (torch.rand(4000, 1, 3, 3, generator=rng) < torch.sigmoid(model.logits[labels])).double()
    record = classify.run(model, images(drawn, labels)).record()
    assert abs(record["accuracy"] - best) < 4 * record["standard_error"]
    assert record["standard_error"] == pytest.approx(math.sqrt(record["accuracy"] * (1 - record["accuracy"]) / 4000))
    want = -torch.where(labels == 1, model.posterior(drawn), 1 - model.posterior(drawn)).log()
    assert record["log_loss"] == pytest.approx(float(want.mean()), abs=1e-12)
    assert record["calibration_error"] < 0.04, "the model is true, so its probabilities are"
    assert json.loads(json.dumps(record)) == record


def test_the_batch_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.rand(30, 1, 3, 3)  # binarized by draws that belong to each image
    whole = classify.run(Two(), images(x, None)).log_p
    monkeypatch.setattr(classify, "BATCH", 7)
    told: list[tuple[int, int]] = []
    again = classify.run(Two(), images(x, None), progress=lambda *at: told.append(at)).log_p
    assert torch.equal(whole, again) and told == [(7, 30), (14, 30), (21, 30), (28, 30), (30, 30)]


def test_classifiers_answer_themselves() -> None:
    x = torch.zeros(10, 1, 3, 3)
    x[:5] = 1
    labels = torch.tensor([1, 1, 1, 1, 0, 0, 0, 0, 0, 0])
    record = classify.run(Teller(), images(x, labels)).record()
    assert record["accuracy"] == 0.9 and record["predicted"] == {"off": 5, "on": 5}
    assert record["log_loss"] == pytest.approx(-(9 * math.log(0.8) + math.log(0.2)) / 10, abs=1e-6)
    assert record["calibration_error"] == pytest.approx(0.1, abs=1e-6)


def test_calibration_error_by_hand() -> None:
    """Two bins: 0.9 sure and right 3 of 4 times; 0.6 sure and right 2 of 2 times."""
    p = torch.tensor([[0.9, 0.1]] * 4 + [[0.4, 0.6]] * 2)
    labels = torch.tensor([0, 0, 0, 1, 1, 1])
    assert classify.calibration_error(p.log(), labels) == pytest.approx((4 * 0.15 + 2 * 0.4) / 6, abs=1e-6)
    sure = torch.tensor([[0.0, -math.inf]])
    assert classify.calibration_error(sure, torch.tensor([1])) == 1.0
    assert classify.figures(sure, torch.tensor([1]))["log_loss"] is None


def test_refusals() -> None:
    x, labels = torch.zeros(4, 1, 3, 3), torch.tensor([0, 1, 2, 0])
    with pytest.raises(CapabilityError, match="tells no classes"):
        classify.run(Pixels(), images(x, None))
    with pytest.raises(DataError, match="labels up to 2, the model knows 0 to 1"):
        classify.run(Two(), images(x, labels))
    with pytest.raises(DataError, match="1 x 3 x 4"):
        classify.run(Two(), images(torch.zeros(4, 1, 3, 4), None))
    with pytest.raises(DataError, match="no images"):
        classify.run(Two(), images(x[:0], None))
    for prior in (torch.tensor([0.5, 0.6]), torch.ones(1), torch.tensor([1.5, -0.5])):
        with pytest.raises(DataError, match="sum to 1"):
            classify.run(Two(), images(x, None), prior=prior)


def test_the_command_judges_labelled_images_and_names_single_ones(imprior: Command, bars: Path, tmp_path: Path) -> None:
    run, file = tmp_path / "run", tmp_path / "bar.png"
    settings = ("model.network=dense", "model.network.widths=32", "training.images=3200", "training.batch=32",
                "training.precision=float32", "training.average=none", "training.check=3200")  # fmt: skip
    package.train("mnist-classifier", bars, run, overrides=settings)
    found = json.loads(imprior("classify", run, "--data", bars, "--limit", 50, "--json").out)
    assert found["n"] == 50 and found["accuracy"] > 0.8 and found == package.classify(run, bars, limit=50).record()
    assert "accuracy" in imprior("classify", run, "--data", bars).out
    with np.load(bars) as source:
        Image.fromarray(source["x_test"][3]).save(file)
    named = json.loads(imprior("classify", run, file, "--json").out)
    assert named["images"][0]["image"] == str(file) and "accuracy" not in named
    assert str(file) in imprior("classify", run, file).out


def test_the_command_refuses_in_one_line(imprior: Command, bars: Path) -> None:
    for args, word in (
        (["classify", "mnist-ae", "--data", bars], "tells no classes"),
        (["classify", "mnist-ae"], "--data"),
    ):
        ended = imprior(*args)
        assert ended.code == 2 and word in ended.line
