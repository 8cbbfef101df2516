"""Do generated images help? The same network with the same number of steps on four training sets, and on one more.

    real                       images of the training set, so many a class
    real + classical           the same, shifted, turned and scaled a little
    real + generated           half of each batch drawn by a model
    real + both                generated images too, and all of them warped
    generated                  no real image at all

All training sets get equal steps and equal batches, so none wins by longer training. What the generator has seen
decides what the result means: one that was trained on all real images brings knowledge of them along, one that is
trained on the same few (`FromRecipe`) can only bring what its own assumptions are worth. The protocol says which.

Reference: Ravuri & Vinyals 2019, Classification accuracy score for conditional generative models (generated only).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev
from typing import Any, Protocol

import torch
from torch import nn

from imprior import loading, recipes
from imprior.data.batches import Batches, Images
from imprior.data.settings import Data
from imprior.data.warp import Warp
from imprior.models import classifier
from imprior.nn.convolutional import Convolutional
from imprior.objectives.classification import Classification
from imprior.parts import Batch
from imprior.randomness import generator
from imprior.recipes import ModelConfig, Recipe
from imprior.settings import to_json
from imprior.studies.few_labels import percent
from imprior.studies.learners import balanced, learn
from imprior.tasks import augment as task
from imprior.tasks import classify
from imprior.training import loop, state
from imprior.training.settings import Gradient, Objective, Optimiser, Schedule


@dataclass(frozen=True)
class TrainingSet:
    """What a network learns from."""

    name: str
    real: bool
    generated: bool
    classical: bool


SETS = (
    TrainingSet("real", real=True, generated=False, classical=False),
    TrainingSet("real + classical", real=True, generated=False, classical=True),
    TrainingSet("real + generated", real=True, generated=True, classical=False),
    TrainingSet("real + both", real=True, generated=True, classical=True),
    TrainingSet("generated", real=False, generated=True, classical=False),
)


class Generates(Protocol):
    """Where generated images come from."""

    def __call__(self, real: Images, seed: int) -> Images:
        """Labelled images, given the real ones that this trial has."""
        ...

    def record(self) -> dict[str, Any]:
        """JSON values: what it is, and what it has seen."""
        ...


@dataclass(frozen=True)
class FromModel:
    """A model that is trained already, on whatever it was trained on.

    Attributes:
        model: keeps `Samples` or `Decodes`, and knows classes.
        name: for the record.
        n: images drawn, in all.
        temperature: as `sample`.
    """

    model: Any
    name: str
    n: int = 10_000
    temperature: float = 1.0

    def __call__(self, real: Images, seed: int) -> Images:
        """As `Generates` says."""
        return task.run(self.model, self.n, rng=generator(seed, "generated"), temperature=self.temperature)

    def record(self) -> dict[str, Any]:
        """As `Generates` says."""
        values = {"model": self.name, "generated": self.n, "temperature": self.temperature}
        return values | {"generator saw": "its own training images: more than this trial has"}


@dataclass(frozen=True)
class FromRecipe:
    """A model that is trained on the real images of each trial, and on no others.

    Attributes:
        recipe: of a generator; of one that knows no classes, a model for each class.
        n: images drawn, in all.
        temperature: as `sample`.
    """

    recipe: Recipe
    n: int = 10_000
    temperature: float = 1.0

    def __call__(self, real: Images, seed: int) -> Images:
        """As `Generates` says."""
        model = learn(self.recipe, real, seed=seed)
        return task.run(model, self.n, rng=generator(seed, "generated"), temperature=self.temperature)

    def record(self) -> dict[str, Any]:
        """As `Generates` says."""
        values = {"recipe": recipes.as_json(self.recipe), "generated": self.n, "temperature": self.temperature}
        return values | {"generator saw": "the real images of the trial, no others"}


class Trial(Protocol):
    """Trains a network on a training set and judges it."""

    @property
    def measure(self) -> str:
        """What it is judged by, higher being better, in [0, 1]."""
        ...

    def __call__(self, kind: TrainingSet, real: Images, generated: Images | None, test: Images, seed: int) -> float:
        """The measure on `test`."""
        ...


@dataclass(frozen=True)
class Classifying:
    """A small network that tells the class of an image.

    Attributes:
        steps: of each training.
        batch: images a step.
        share: of a batch that is generated, where both kinds are in it.
        warp: what classical augmentation does.
        network: from an image to its features.
    """

    steps: int = 300
    batch: int = 64
    share: float = 0.5
    warp: Warp = field(default_factory=Warp)
    network: Convolutional = field(default_factory=lambda: Convolutional((16, 32), blocks=1, width=0))

    @property
    def measure(self) -> str:
        """As `Trial` says."""
        return "accuracy"

    def __call__(self, kind: TrainingSet, real: Images, generated: Images | None, test: Images, seed: int) -> float:
        """As `Trial` says."""
        assert real.labels is not None and test.labels is not None
        channels, height, width = real.shape
        assert channels is not None and height is not None and width is not None
        config = classifier.Config((channels, height, width), self.network, 64, int(real.labels.max()) + 1)
        parts = mixture(kind, real, generated, self.batch, self.share)
        batches = Mixed(parts, warp=self.warp if kind.classical else None, seed=seed)
        model = trained(config, Classification(), batches, steps=self.steps, seed=seed)
        return float(classify.figures(classify.run(model, test).log_p, test.labels)["accuracy"])


class Mixed(Batches):
    """Batches with so many images of each source, drawn with replacement: equal steps for few images and for many.

    Args:
        parts: sources, labelled, and how many images of each a batch has.
        warp: classical augmentation, of all images.
        seed: of draws and warps.
    """

    def __init__(self, parts: Sequence[tuple[Images, int]], *, warp: Warp | None, seed: int) -> None:
        super().__init__(parts[0][0], Data(), batch=0, seed=seed)
        self.parts, self.warp = parts, warp
        self.batch = sum(count for _, count in parts)

    def at(self, step: int) -> Batch:
        """The batch of a step, a function of seed and step."""
        rng = generator(self.seed, "mixed", step)
        index = [torch.randint(len(images), (count,), generator=rng) for images, count in self.parts]
        x = torch.cat([images.x(own) for (images, _), own in zip(self.parts, index, strict=True)])
        labels = torch.cat([images.labels[own] for (images, _), own in zip(self.parts, index, strict=True)
                            if images.labels is not None])  # fmt: skip
        return Batch(x if self.warp is None else self.warp(x, rng), labels, None, None, torch.cat(index))


def mixture(
    kind: TrainingSet, real: Images, generated: Images | None, batch: int, share: float
) -> list[tuple[Images, int]]:
    """How many images of each source a batch has."""
    if not kind.generated:
        return [(real, batch)]
    assert generated is not None
    if not kind.real:
        return [(generated, batch)]
    drawn = round(batch * share)
    return [(real, batch - drawn), (generated, drawn)]


def trained(config: ModelConfig, objective: Objective, batches: Batches, *, steps: int, seed: int) -> nn.Module:
    """A network after so many steps, the same start and schedule for every training set."""
    training = Gradient(
        objective=objective,
        optimiser=Optimiser("adamw", rate=2e-3, weight_decay=5e-2),
        schedule=Schedule("cosine", warmup=0.05, floor=0.01),
        images=steps * batches.batch,
        batch=batches.batch,
        check=steps * batches.batch,
    )
    model = loading.build(Recipe("augmentation", Data(), config, training, seed))
    begun = state.begin(model, training)
    loop.train(begun, training, batches, seed=seed)
    return model.eval()


@dataclass(frozen=True)
class Row:
    """One training set with so many real images a class: the measure of each seed."""

    kind: str
    per_class: int
    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return fmean(self.values)

    @property
    def standard_error(self) -> float | None:
        """sd / √seeds; None of one seed."""
        return stdev(self.values) / math.sqrt(len(self.values)) if len(self.values) > 1 else None


@dataclass(frozen=True)
class Augmentation:
    """All rows, and how they came about."""

    rows: tuple[Row, ...]
    measure: str
    protocol: dict[str, Any]

    def gain(self, kind: str, per_class: int, over: str = "real") -> tuple[float, float | None]:
        """How much better a training set is than another: mean over the seeds and standard error, paired by seed."""
        found = {row.kind: row for row in self.rows if row.per_class == per_class}
        paired = Row(kind, per_class, tuple(a - b for a, b in zip(found[kind].values, found[over].values, strict=True)))
        return paired.mean, paired.standard_error

    def markdown(self) -> str:
        """A line for each training set, a column for each number of real images a class."""
        sizes = sorted({row.per_class for row in self.rows})
        lines = [f"| {self.measure} | " + " | ".join(f"{size:,} a class" for size in sizes) + " |"]
        lines.append("| --- " + "| ---: " * len(sizes) + "|")
        for kind in dict.fromkeys(row.kind for row in self.rows):
            found = {row.per_class: percent(row.mean, row.standard_error) for row in self.rows if row.kind == kind}
            lines.append(f"| {kind} | " + " | ".join(found[size] for size in sizes) + " |")
        return "\n".join(lines)

    def record(self) -> list[dict[str, Any]]:
        """JSON values of each row."""
        return [
            {"training set": r.kind, "per_class": r.per_class, self.measure: r.mean}
            | {"standard_error": r.standard_error, "values": list(r.values)}
            for r in self.rows
        ]


def run(
    train: Images,
    test: Images,
    generate: Generates,
    trial: Trial,
    *,
    per_class: Sequence[int] = (10, 100, 1000),
    seeds: int = 3,
    sets: Sequence[TrainingSet] = SETS,
    progress: Callable[[int, int], None] | None = None,
) -> Augmentation:
    """Train and judge on every training set, at every number of real images a class, with every seed.

    A seed draws the real images, the generator's, and the network's start; all training sets share them.

    Args:
        train: labelled images that the real ones are drawn from.
        test: labelled images that are judged on.
        generate: where generated images come from.
        trial: what is trained and how it is judged.
        per_class: real images a class.
        seeds: how often everything is drawn anew.
        sets: training sets.
        progress: told (trainings done, trainings in all).

    Raises:
        DataError: no labels, or too few images of a class.
        CapabilityError: the generator can't draw images of a class.
    """
    balanced(train, max(per_class), 0)  # before hours of training, whether there are so many
    values: dict[tuple[str, int], list[float]] = {}
    total = len(sets) * len(per_class) * seeds
    for size in per_class:
        for seed in range(seeds):
            real = balanced(train, size, seed)
            generated = generate(real, seed) if any(kind.generated for kind in sets) else None
            for kind in sets:
                values.setdefault((kind.name, size), []).append(trial(kind, real, generated, test, seed))
                if progress is not None:
                    progress(sum(map(len, values.values())), total)
    rows = tuple(Row(kind, size, tuple(found)) for (kind, size), found in values.items())
    protocol = {"trial": to_json(trial), "measure": trial.measure, "seeds": seeds} | generate.record()
    protocol |= {"train": {"n": len(train), "data": train.fingerprint}}
    protocol |= {"test": {"n": len(test), "data": test.fingerprint}}
    return Augmentation(rows, trial.measure, protocol)
