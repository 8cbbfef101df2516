"""Warps, scenes and detections against what geometry says; studies give equal chances and keep test images out."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from conftest import shapes
from imprior import preview
from imprior.data.batches import Images
from imprior.data.settings import Data
from imprior.data.warp import Warp, moved
from imprior.errors import DataError, RecipeError
from imprior.metrics.detection import average_precision, match
from imprior.models import autoregressive, bernoulli_mixture, classifier
from imprior.models.pixel_outputs import Joint
from imprior.nn.causal import MaskedConvolution
from imprior.nn.convolutional import Convolutional
from imprior.nn.dense import Dense
from imprior.objectives.classification import Classification
from imprior.objectives.likelihood import Likelihood
from imprior.promises import Score, Shape
from imprior.randomness import generator
from imprior.recipes import Recipe
from imprior.studies import augment, detect, few_labels
from imprior.studies.learners import PerClass, balanced, learn
from imprior.studies.tune import subset
from imprior.training.settings import Fit, Gradient, Optimiser
from toys import Pixels, every_image


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes longer than these trainings, and has tests of its own."""
    monkeypatch.setattr(preview, "write", lambda *_: None)


def bars(count: int, seed: int) -> Images:
    pixels, labels = shapes(count, seed)
    small = torch.from_numpy(pixels)[:, None, ::2, ::2].contiguous()  # 14x14 is enough to tell bars apart
    return Images(small, torch.from_numpy(labels), tuple("0123456789"), f"bars-{count}-{seed}")


def three(count: int, seed: int) -> Images:
    """The first three classes."""
    images = bars(count * 10 // 3, seed)
    assert images.labels is not None
    return subset(images, (images.labels < 3).nonzero()[:, 0])


CNN = Recipe(
    "cnn",
    Data(),
    classifier.Config(network=Dense((32,)), width=16),
    Gradient(Classification(), Optimiser(rate=3e-3), images=960, batch=16, check=320, patience=3),
)
MIXTURE = Recipe("mixture", Data(binarize=True), bernoulli_mixture.Config(components=2), Fit(iterations=3))

# Warps.


def at(n: int = 1, **amounts: Any) -> dict[str, Tensor]:
    """Arguments of `moved` that leave everything where it is, but for those that are given."""
    still = {"radians": torch.zeros(n), "scale": torch.ones(n), "shift": torch.zeros(n, 2)}
    return still | {key: torch.as_tensor(value) for key, value in amounts.items()}


def test_no_movement_is_the_identity() -> None:
    x = torch.rand(3, 2, 5, 8)
    assert (moved(x, **at(3)) - x).abs().max() < 1e-5
    assert (Warp(0, 0, 0, 0)(x, generator(0)) - x).abs().max() < 1e-5


def test_shifts_turns_and_sizes_are_what_they_say() -> None:
    x = torch.rand(1, 1, 6, 9)
    shifted = moved(x, **at(shift=[[1.0, 2.0]]))
    assert (shifted[..., 1:, 2:] - x[..., :-1, :-2]).abs().max() < 1e-5
    assert shifted[..., 0, :].abs().max() < 1e-5, "black comes in"
    square = torch.rand(1, 1, 7, 7)
    turned = moved(square, **at(radians=[math.pi / 2]))
    assert (turned - square.rot90(1, (2, 3))).abs().max() < 1e-4
    assert (moved(x, **at(radians=[math.pi])) - x.flip(2, 3)).abs().max() < 1e-4
    dot = torch.zeros(1, 1, 9, 13)
    dot[..., 4, 8] = 1  # two pixels right of the centre
    assert moved(dot, **at(scale=[2.0]))[0, 0, 4, 10] > 0.99
    both = moved(dot, **at(radians=[math.pi / 2], shift=[[0.0, 3.0]]))
    assert both[0, 0, 2, 9] > 0.99, "turned about the centre first, then shifted"
    bent = moved(x, **at(bend=torch.stack([torch.ones(1, 4, 4), torch.full((1, 4, 4), 2.0)], 1)))
    assert (bent - shifted).abs().max() < 1e-4, "an even displacement is a shift"


def test_each_image_has_its_own_draws_which_the_generator_decides() -> None:
    x = torch.zeros(200, 1, 21, 21)
    x[:, :, 10, 10] = 1
    warp = Warp(shift=3, degrees=0, scale=0)
    y = warp(x, generator(0))
    assert torch.equal(y, warp(x, generator(0))) and not torch.equal(y, warp(x, generator(1)))
    axis = torch.arange(21.0)
    down, right = (y[:, 0] * axis[:, None]).sum((1, 2)) - 10, (y[:, 0] * axis).sum((1, 2)) - 10
    for moves in (down, right):
        assert moves.abs().max() < 3.01 and moves.std() > 1.4, "uniform from -3 to 3"
    assert Warp(0, 0, 0, 1.0)(torch.rand(2, 1, 9, 9), generator(0)).isfinite().all()
    with pytest.raises(RecipeError, match="at least 0"):
        Warp(shift=-1)


# Average precision.


def test_average_precision_by_hand() -> None:
    scores = torch.tensor([0.9, 0.8, 0.7, 0.6])
    right = torch.tensor([True, False, True, True])
    # Precisions 1, 1/2, 2/3, 3/4; made falling 1, 3/4, 3/4, 3/4: (1 + 3/4 + 3/4) / 4 objects.
    assert average_precision(scores, right, 4) == pytest.approx(2.5 / 4)
    assert average_precision(scores, torch.ones(4).bool(), 4) == 1
    assert average_precision(scores, torch.zeros(4).bool(), 4) == 0
    assert average_precision(scores[:0], right[:0], 4) == 0
    shuffled = torch.tensor([2, 0, 3, 1])
    assert average_precision(scores[shuffled], right[shuffled], 4) == pytest.approx(2.5 / 4)


def test_each_object_is_found_once_and_only_nearby() -> None:
    truth = torch.tensor([[0.0, 0.0], [10.0, 0.0]])
    found = torch.tensor([[1.0, 0.0], [0.0, 0.0], [10.0, 4.0], [10.0, 2.0]])
    assert match(found, torch.tensor([0.9, 0.8, 0.7, 0.6]), truth, 3.0).tolist() == [True, False, False, True]
    assert match(found, torch.ones(4), truth[:0], 3.0).tolist() == [False] * 4


# Scenes and the detector.


def test_scenes_hold_their_objects_where_they_say() -> None:
    canvas = detect.Canvas(side=40, most=3, clutter=0, piece=4)
    objects = torch.zeros(60, 1, 14, 14)
    objects[:, :, 7, 7] = torch.arange(1, 61).view(-1, 1) / 60  # a dot, brighter by the object's number
    labels = torch.arange(60) % 10
    scenes = canvas(objects, labels, objects, generator(0))
    counts = (scenes.labels != detect.NOTHING).sum(1)
    assert scenes.x.shape == (20, 1, 40, 40) and set(counts.tolist()) == {1, 2, 3}
    assert torch.equal((scenes.x > 0).flatten(1).sum(1), counts)
    for i in range(20):
        for j in range(int(counts[i])):
            down, right = scenes.centres[i, j].long().tolist()
            assert scenes.x[i, 0, down, right] == objects[3 * i + j].max() and scenes.labels[i, j] == (3 * i + j) % 10
    with pytest.raises(DataError, match="don't fit"):
        canvas(torch.zeros(3, 1, 21, 20), labels[:3], objects, generator(0))


def test_clutter_is_pieces_and_hides_no_object() -> None:
    canvas = detect.Canvas(side=40, most=1, clutter=10, piece=4)
    objects, others = torch.full((8, 1, 14, 14), 0.9), torch.full((5, 1, 14, 14), 0.5)
    scenes = canvas(objects, torch.zeros(8).long(), others, generator(0))
    assert ((scenes.x == 0.9).flatten(1).sum(1) == 14 * 14).all()
    pieces = (scenes.x == 0.5).flatten(1).sum(1)
    assert (pieces > 20).all() and (pieces <= 160).all()


def test_a_heat_map_peaks_at_the_centres_and_a_perfect_one_is_all_right() -> None:
    images = bars(40, 0)
    scenes = detect.scenes_of(images, 12, detect.Canvas(side=32, piece=6), generator(3))
    heat = detect.heat_map(scenes, 10, 4)
    assert heat.shape == (12, 10, 8, 8) and heat.max() == 1
    assert int((heat == 1).sum()) == int((scenes.labels != detect.NOTHING).sum())

    class Knows(detect.Detector):
        def forward(self, x: Tensor) -> Tensor:
            return torch.logit(heat, eps=1e-6)

    knows = Knows(detect.Config((1, 32, 32), Convolutional((4, 4), spatial=True), 10))
    assert detect.mean_average_precision(knows, scenes, tolerance=3.0) == pytest.approx(1, abs=1e-9)
    assert detect.mean_average_precision(knows, scenes, tolerance=0.1) < 0.5


def test_a_detector_learns_to_find_and_name() -> None:
    trial = detect.Detecting(steps=30, batch=16, scenes=30, canvas=detect.Canvas(side=32, clutter=4, piece=5),
                             network=Convolutional((16, 32), blocks=1, spatial=True))  # fmt: skip
    short = replace(trial, steps=1)
    real, test = three(60, 0), three(60, 1)
    assert trial(augment.SETS[0], real, None, test, 0) > short(augment.SETS[0], real, None, test, 0) + 0.2


# Learners.


def test_subsets_have_equal_classes_and_grow() -> None:
    images = bars(200, 0)
    small, large = balanced(images, 3, 0), balanced(images, 8, 0)
    assert small.labels is not None and large.labels is not None
    assert small.labels.bincount().tolist() == [3] * 10 and large.labels.bincount().tolist() == [8] * 10
    assert torch.equal(large.pixels[:30], small.pixels[:30])  # type: ignore[index]
    assert not torch.equal(small.pixels, balanced(images, 3, 1).pixels)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="30 images a class are asked for; class 0 has 20"):
        balanced(images, 30, 0)
    with pytest.raises(DataError, match="wants labels"):
        balanced(Images(images.pixels, None, (), ""), 3, 0)


class Shifted(Pixels):
    """`Pixels` with other probabilities."""

    def __init__(self, by: float) -> None:
        super().__init__()
        self.logits = self.logits + by


def test_a_model_for_each_class_is_one_that_knows_classes() -> None:
    models = [Shifted(-1.0), Shifted(0.0), Shifted(2.0)]
    one, x = PerClass(models), every_image(dtype=torch.float32)
    labels = torch.arange(len(x)) % 3
    found: Score = one.score(x, labels)
    for label, model in enumerate(models):
        assert torch.equal(found.nats[labels == label], model.score(x[labels == label]).nats)
    mixed = one.score(x).nats
    assert float((-mixed).exp().sum()) == pytest.approx(1, abs=1e-9), "the mixture over labels has mass one"
    drawn = one.sample(600, generator(0), torch.arange(600) % 3)
    shares = torch.stack([drawn[k::3].mean(0) for k in range(3)])
    want = torch.stack([model.logits.sigmoid() for model in models])
    assert (shares - want).abs().max() < 0.15  # four standard deviations of 200 draws
    with pytest.raises(DataError, match="labels 0 to 2"):
        one.score(x[:1], torch.tensor([3]))


def test_conditional_recipes_are_told_the_classes_and_others_get_a_model_each() -> None:
    images = balanced(bars(300, 0), 10, 0)
    mixture = learn(MIXTURE, balanced(three(60, 0), 5, 0), seed=0)
    assert isinstance(mixture, PerClass) and mixture.classes == 3
    network = autoregressive.Config(network=MaskedConvolution(width=8, inner=4, dilations=(1,)), output=Joint(hidden=8))
    settings = Gradient(Likelihood(), images=64, batch=32, check=64)
    model = learn(Recipe("ar", Data(binarize=True), network, settings), images, seed=0)
    assert model.classes == 10


# Studies.


def test_more_labels_help_and_the_record_says_how_it_was_done() -> None:
    told: list[tuple[int, int]] = []
    found = few_labels.run({"cnn": CNN, "mixture": MIXTURE}, three(120, 0), three(60, 1), per_class=(2, 30), seeds=2,
                           progress=lambda *at: told.append(at))  # fmt: skip
    rows = {(row.contender, row.per_class): row.of("accuracy") for row in found.rows}
    assert len(rows) == 4 and told == [(k, 8) for k in range(1, 9)]
    assert rows["cnn", 30][0] > rows["cnn", 2][0] and rows["mixture", 30][0] > 0.8
    records = found.record()
    assert json.loads(json.dumps(records, allow_nan=False)) == records and json.dumps(found.protocol)
    first = records[0]
    assert first["accuracy"] == pytest.approx(sum(first["accuracies"]) / 2)
    assert first["accuracy_standard_error"] == pytest.approx(abs(first["accuracies"][0] - first["accuracies"][1]) / 2)
    assert found.markdown().splitlines()[0] == "| | 2 a class | 30 a class |"


class Drawer:
    """Keeps Samples: images of class k are those of `source`, or noise that has nothing to do with k."""

    shape: Shape = (1, 14, 14)
    levels: int | None = 256
    classes: int | None = 10

    def __init__(self, source: Images | None) -> None:
        self.source = source

    def sample(self, n: int, rng: torch.Generator, labels: Tensor | None = None) -> Tensor:
        assert labels is not None
        if self.source is None:
            return torch.rand(n, 1, 14, 14, generator=rng)
        assert self.source.labels is not None
        pools = [(self.source.labels == label).nonzero()[:, 0] for label in range(10)]
        index = [pools[k][torch.randint(len(pools[k]), (), generator=rng)] for k in labels.tolist()]
        return self.source.x(torch.stack(index))


QUICK = augment.Classifying(steps=40, batch=32, network=Convolutional((4, 8), width=0))


def test_good_images_teach_and_noise_does_not() -> None:
    train, test = bars(300, 0), bars(100, 1)
    generated_only = [kind for kind in augment.SETS if not kind.real]
    good, bad = (
        augment.run(train, test, augment.FromModel(Drawer(source), "drawer", n=300), QUICK, per_class=(2,), seeds=1,
                    sets=generated_only).rows[0].mean
        for source in (bars(400, 2), None)
    )  # fmt: skip
    assert good > bad + 0.3 and bad < 0.35


def test_all_training_sets_share_real_images_start_and_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass(frozen=True)
    class Watching:
        measure = "accuracy"

        def __call__(
            self, kind: augment.TrainingSet, real: Images, generated: Images | None, test: Images, seed: int
        ) -> float:
            assert generated is not None
            seen.append((kind.name, real.fingerprint, generated.fingerprint, seed))
            return float(kind.classical) + seed

    seen: list[tuple[str, str, str, int]] = []
    monkeypatch.setattr(augment, "to_json", lambda trial: {})
    generate = augment.FromModel(Drawer(None), "noise", n=20)
    found = augment.run(bars(200, 0), bars(20, 1), generate, Watching(), per_class=(2, 4), seeds=2)
    assert len(seen) == 20 and len({entry[1:] for entry in seen}) == 4, "real and generated images by size and seed"
    assert found.gain("real + classical", 4) == (1.0, 0.0)
    assert found.rows[0].standard_error == pytest.approx(0.5) and found.protocol["generator saw"]


def test_batches_are_shared_as_they_should_be_and_are_functions_of_the_step() -> None:
    real, generated = bars(50, 0), bars(30, 2)
    for kind in augment.SETS:
        parts = augment.mixture(kind, real, generated, 16, 0.25)
        assert sum(count for _, count in parts) == 16
        batches = augment.Mixed(parts, warp=Warp() if kind.classical else None, seed=4)
        batch, again = batches.at(7), batches.at(7)
        assert torch.equal(batch.x, again.x) and not torch.equal(batch.x, batches.at(8).x)
        assert batch.labels is not None and len(batch.labels) == 16
        known = {image.numpy().tobytes() for images in (real, generated) for image in images.x(slice(None))}
        unchanged = sum(image.numpy().tobytes() in known for image in batch.x)
        assert (unchanged < 16) if kind.classical else (unchanged == 16)
    assert augment.mixture(augment.SETS[2], real, generated, 16, 0.25) == [(real, 12), (generated, 4)]


def test_a_generator_of_a_recipe_sees_the_real_images_of_the_trial_alone() -> None:
    real = balanced(three(60, 0), 5, 0)
    generate = augment.FromRecipe(MIXTURE, n=30)
    images = generate(real, 0)
    assert len(images) == 30 and images.labels is not None and images.labels.bincount().tolist() == [10] * 3
    assert images.fingerprint == generate(real, 0).fingerprint != generate(balanced(three(60, 0), 5, 1), 0).fingerprint
    assert "no others" in generate.record()["generator saw"]


def test_results_are_json_and_a_table() -> None:
    quick = replace(QUICK, steps=3)
    found = augment.run(three(30, 0), three(30, 1), augment.FromRecipe(MIXTURE, n=40), quick, per_class=(2,), seeds=1)
    records = found.record()
    assert json.loads(json.dumps(records, allow_nan=False)) == records and json.dumps(found.protocol)
    assert [r["training set"] for r in records] == [kind.name for kind in augment.SETS]
    assert found.markdown().splitlines()[0] == "| accuracy | 2 a class |"
