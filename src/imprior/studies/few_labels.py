"""How much a classifier learns from few labels: generative models by Bayes' rule beside networks that classify.

    for each number of labels a class, seed and recipe:  balanced images ──► learn ──► tasks.classify ──► accuracy

The labels of a seed are the same for every contender, and a larger number of them holds the smaller ones. A generative
model makes more assumptions and needs fewer labels; a classifier makes fewer and wins in the end.

Reference: Ng & Jordan 2001, On discriminative vs. generative classifiers.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from imprior import recipes
from imprior.data.batches import Images
from imprior.recipes import Recipe
from imprior.studies.learners import balanced, learn
from imprior.tasks import classify


@dataclass(frozen=True)
class Row:
    """One contender with so many labels a class.

    Attributes:
        contender: its name.
        per_class: labels a class.
        figures: of each seed, as `classify.figures` gives them.
        seconds: of one training and judgement, mean over the seeds.
    """

    contender: str
    per_class: int
    figures: tuple[dict[str, Any], ...]
    seconds: float

    def of(self, key: str) -> tuple[float, float | None]:
        """Mean of a figure over the seeds and its standard error, sd / √seeds; None of one seed."""
        values = [float(one[key]) if one[key] is not None else math.inf for one in self.figures]
        if not all(map(math.isfinite, values)):
            return math.inf, None
        return fmean(values), stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None


@dataclass(frozen=True)
class FewLabels:
    """All rows, and how they came about."""

    rows: tuple[Row, ...]
    protocol: dict[str, Any]

    def markdown(self) -> str:
        """Accuracy: a line for each contender and a column for each number of labels."""
        sizes = sorted({row.per_class for row in self.rows})
        lines = [
            "| | " + " | ".join(f"{size:,} a class" for size in sizes) + " |",
            "| --- " + "| ---: " * len(sizes) + "|",
        ]
        for name in dict.fromkeys(row.contender for row in self.rows):
            found = {row.per_class: row.of("accuracy") for row in self.rows if row.contender == name}
            lines.append(f"| {name} | " + " | ".join(percent(*found[size]) for size in sizes) + " |")
        return "\n".join(lines)

    def record(self) -> list[dict[str, Any]]:
        """JSON values of each row."""
        records = []
        for row in self.rows:
            values: dict[str, Any] = {"contender": row.contender, "per_class": row.per_class}
            for key in ("accuracy", "log_loss", "calibration_error"):
                mean, error = row.of(key)
                values |= {key: mean if math.isfinite(mean) else None, f"{key}_standard_error": error}
            each = [one["accuracy"] for one in row.figures]
            records.append(values | {"accuracies": each, "seconds": row.seconds})
        return records


def run(
    contenders: Mapping[str, Recipe],
    train: Images,
    test: Images,
    *,
    per_class: Sequence[int] = (10, 30, 100, 300, 1000, 5000),
    seeds: int = 3,
    samples: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> FewLabels:
    """Train every contender on few labels and judge it on all of `test`.

    Args:
        contenders: recipes by name: classifiers, likelihoods that take labels, or likelihoods that don't (then one
            model for each class).
        train: labelled images that labels are drawn from.
        test: labelled images that no training sees.
        per_class: labels a class.
        seeds: how often labels are drawn and networks initialised.
        samples: draws per image where a likelihood is a bound.
        progress: told (trainings done, trainings in all).

    Raises:
        DataError: no labels, or too few.
        CapabilityError: a contender can't classify.
    """
    balanced(train, max(per_class), 0)  # before hours of training, whether there are so many
    rows: list[Row] = []
    for name, recipe in contenders.items():
        for size in per_class:
            found, started = [], time.perf_counter()
            for seed in range(seeds):
                model = learn(recipe, balanced(train, size, seed), seed=seed)
                judged = classify.run(model, test, samples=samples, seed=seed)
                assert judged.labels is not None
                found.append(classify.figures(judged.log_p, judged.labels))
                if progress is not None:
                    progress(len(rows) * seeds + seed + 1, len(contenders) * len(per_class) * seeds)
            rows.append(Row(name, size, tuple(found), (time.perf_counter() - started) / seeds))
    protocol = {
        "recipes": {name: recipes.as_json(recipe) for name, recipe in contenders.items()},
        "seeds": seeds,
        "samples": samples,
        "train": {"n": len(train), "data": train.fingerprint},
        "test": {"n": len(test), "data": test.fingerprint},
        "errors": "standard errors over seeds, which draw labels and weights",
    }
    return FewLabels(tuple(rows), protocol)


def percent(mean: float, error: float | None) -> str:
    """A fraction and its error in percent.

    >>> percent(0.9712, 0.0008), percent(0.5, None)
    ('97.12 ± 0.08 %', '50.00 %')
    """
    return f"{100 * mean:.2f} %" if error is None else f"{100 * mean:.2f} ± {100 * error:.2f} %"
