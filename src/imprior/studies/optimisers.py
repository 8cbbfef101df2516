"""Optimisers and schedules on one model and one budget of images, in one table.

Each optimiser is tried with several learning rates under the same schedule; the best rate (by the validation loss)
then meets the other schedules. So no optimiser loses because of a rate that suits another one, and the table says what
was tried.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from imprior.data.batches import Images
from imprior.errors import RecipeError
from imprior.recipes import Recipe
from imprior.studies.reach import reach
from imprior.training.settings import Gradient, Optimiser, Schedule

Precision = Literal["float32", "bfloat16"]
SCHEDULES = (
    Schedule("cosine", warmup=0.05),
    Schedule("constant", warmup=0.0),
    Schedule("step", warmup=0.0),
    Schedule("exponential", warmup=0.0),
    Schedule("plateau", warmup=0.0, patience=1),
)
CHECKS = 20  # looks at the validation loss in a training, for the plateau schedule and early stopping


@dataclass(frozen=True)
class Contender:
    """An optimiser and the rates that are tried.

    Attributes:
        label: for people.
        optimiser: with any rate.
        rates: learning rates, those around what its authors or users advise.
        batch: images a step; 0 takes all of them (gradient descent proper), None leaves the recipe's.
    """

    label: str
    optimiser: Optimiser
    rates: tuple[float, ...]
    batch: int | None = None


# Losses are summed over pixels, so their gradients are hundreds of times those of a mean, and rates of plain gradient
# descent as many times smaller; methods that normalise the gradient don't notice.
CONTENDERS = (
    Contender("SGD, momentum 0.9", Optimiser("sgd", momentum=0.9), (1e-3, 3e-3, 1e-2, 3e-2)),
    Contender("gradient descent, full batch", Optimiser("sgd", momentum=0.0), (1e-2, 3e-2, 1e-1, 3e-1), batch=0),
    Contender("Adagrad", Optimiser("adagrad"), (3e-3, 1e-2, 3e-2, 1e-1)),
    Contender("Adam", Optimiser("adam"), (3e-4, 1e-3, 3e-3, 1e-2)),
    Contender("AdamW, decay 0.01", Optimiser("adamw", weight_decay=0.01), (3e-4, 1e-3, 3e-3, 1e-2)),
)


@dataclass(frozen=True)
class Row:
    """One training.

    Attributes:
        label: the optimiser, and what else is special.
        schedule: its name.
        rate: learning rate at the height of the schedule.
        precision: "float32" or "bfloat16".
        steps: made.
        images: seen.
        loss: reached on the validation images, infinite where training broke down.
        seconds: of training, validation included.
        chosen: whether the rate is its optimiser's best.
    """

    label: str
    schedule: str
    rate: float
    precision: Precision
    steps: int
    images: int
    loss: float
    seconds: float
    chosen: bool


@dataclass(frozen=True)
class Optimisers:
    """All trainings, and what they share."""

    rows: tuple[Row, ...]
    protocol: dict[str, Any]

    def markdown(self) -> str:
        """A table of the trainings with each optimiser's best rate; the other rates are in the record."""
        lines = [
            "| optimiser | schedule | rate | precision | steps | images | validation loss | seconds |",
            "| --- | --- | ---: | --- | ---: | ---: | ---: | ---: |",
        ]
        for r in self.rows:
            if r.chosen:
                lines.append(
                    f"| {r.label} | {r.schedule} | {r.rate:g} | {r.precision} | {r.steps:,} | {r.images:,} "
                    f"| {r.loss:.3f} | {r.seconds:.1f} |"
                )
        return "\n".join(lines)

    def record(self) -> dict[str, Any]:
        """JSON values; the loss of a training that broke down is null."""
        rows = [vars(row) | {"loss": row.loss if math.isfinite(row.loss) else None} for row in self.rows]
        return {"rows": rows, "protocol": self.protocol}


def run(
    recipe: Recipe,
    images: Images,
    validation: Images,
    *,
    budget: int = 500_000,
    contenders: Sequence[Contender] = CONTENDERS,
    schedules: Sequence[Schedule] = SCHEDULES,
    progress: Callable[[int, int], None] | None = None,
) -> Optimisers:
    """Train `recipe` with every optimiser, and each optimiser's best rate with every schedule.

    With the best of all these there follow an average of the weights, early stopping and bfloat16.

    Args:
        recipe: the model, data and objective.
        images: to train on.
        validation: to choose rates by and to judge on.
        budget: images that each training sees.
        contenders: optimisers with their rates.
        schedules: the first is the one that rates are chosen under.
        progress: told (trainings done, trainings in all).

    Raises:
        RecipeError: the recipe is fitted, not stepped.
    """
    base = recipe.training
    if not isinstance(base, Gradient):
        raise RecipeError(f"{recipe.name} is fitted in passes: this study is about gradient steps")
    base = replace(
        base, images=budget, check=max(1, budget // CHECKS), average=None, patience=None, clip=None, precision="float32"
    )
    total = sum(len(c.rates) + len(schedules) - 1 for c in contenders) + 3
    rows: list[Row] = []

    def train(label: str, settings: Gradient, chosen: bool = True) -> Row:
        reached = reach(replace(recipe, training=settings), images, validation)
        steps = reached.images // (settings.batch or len(images))
        rate, name = settings.optimiser.rate, settings.schedule.name
        row = Row(label, name, rate, settings.precision, steps, reached.images, reached.loss, reached.seconds, chosen)
        rows.append(row)
        if progress is not None:
            progress(len(rows), total)
        return row

    for contender in contenders:
        batch = base.batch if contender.batch is None else contender.batch
        own = replace(base, batch=batch, schedule=schedules[0])
        tried = [
            train(contender.label, replace(own, optimiser=replace(contender.optimiser, rate=rate)), chosen=False)
            for rate in contender.rates
        ]
        best = min(tried, key=lambda row: row.loss)
        rows[rows.index(best)] = replace(best, chosen=True)
        optimiser = replace(contender.optimiser, rate=best.rate)
        for schedule in schedules[1:]:
            train(contender.label, replace(own, optimiser=optimiser, schedule=schedule))
    best = min((r for r in rows if r.schedule == schedules[0].name), key=lambda row: row.loss)
    winner = next(c for c in contenders if c.label == best.label)
    batch = base.batch if winner.batch is None else winner.batch
    own = replace(base, batch=batch, schedule=schedules[0], optimiser=replace(winner.optimiser, rate=best.rate))
    train(f"{best.label}, averaged weights", replace(own, average=float(max(1, budget // 20))))
    train(f"{best.label}, early stopping", replace(own, patience=2))
    train(f"{best.label}, bfloat16", replace(own, precision="bfloat16"))
    protocol = {"recipe": recipe.name, "images": budget, "train": len(images), "validation": len(validation)} | {
        "data": images.fingerprint,
        "rates": {c.label: list(c.rates) for c in contenders},
        "rates chosen under": schedules[0].name,
        "clip": None,
    }
    return Optimisers(tuple(rows), protocol)
