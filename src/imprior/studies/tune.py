"""Grid search with cross-validation: which settings do best on images that the training did not see.

    training images ──► K folds ──► for each cell of the grid, for each fold: train on the others ──► judge on the fold

The criterion is stated, because losses can't be the criterion: ELBOs of different beta, or of different likelihoods,
are different quantities. Test images are never asked for: all that is given is the training split.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from imprior import fit, loading, recipes, runs
from imprior.data.batches import Images
from imprior.errors import DataError, RecipeError, RunError
from imprior.promises import Denoises, Encodes, Scores, require, space_of
from imprior.randomness import generator
from imprior.recipes import Recipe
from imprior.tasks import evaluate, probe
from imprior.tasks.protocol import same_size
from imprior.training.settings import Gradient

Criterion = Literal["nats", "psnr", "probe"]
PREPARED = ("size", "channels", "scales", "limit", "validation")  # what `images` were made by, with `data.`
PROBE_LABELS = 100  # a class, or as many as there are in the smallest class of any fold's training images


@dataclass(frozen=True)
class Cell:
    """One choice of settings and what it reached.

    Attributes:
        settings: (key, value) as typed.
        values: the criterion on each fold.
    """

    settings: tuple[tuple[str, str], ...]
    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Over the folds."""
        return statistics.fmean(self.values)

    @property
    def standard_error(self) -> float:
        """sd / √folds; the folds' trainings share images, so it is somewhat too small."""
        return statistics.stdev(self.values) / math.sqrt(len(self.values))

    def name(self) -> str:
        """The settings as one word, which is also the cell's folder."""
        return " ".join(f"{key}={value}" for key, value in self.settings).replace("/", "-")


@dataclass(frozen=True)
class Tuning:
    """All cells of a grid.

    Attributes:
        cells: in the order of the grid.
        criterion: what was compared.
        unit: of the criterion, for people.
        lower_is_better: which way to read it.
        protocol: folds, seed, data, budget.
    """

    cells: tuple[Cell, ...]
    criterion: Criterion
    unit: str
    lower_is_better: bool
    protocol: dict[str, Any]

    @property
    def best(self) -> Cell:
        """The cell of the best mean; the first among equals."""
        return (min if self.lower_is_better else max)(self.cells, key=lambda cell: cell.mean)

    def behind(self, cell: Cell) -> tuple[float, float]:
        """How far a cell is from the best: mean over the folds and its standard error, paired by fold."""
        gaps = [a - b for a, b in zip(cell.values, self.best.values, strict=True)]
        return statistics.fmean(gaps), statistics.stdev(gaps) / math.sqrt(len(gaps))

    def markdown(self) -> str:
        """A table with a line for each cell; the best one is marked."""
        keys = [key for key, _ in self.cells[0].settings]
        lines = [
            f"| {' | '.join(keys)} | {self.unit} | standard error | behind the best | |",
            "| ---: " * (len(keys) + 3) + "| --- |",
        ]
        for cell in self.cells:
            gap, error = self.behind(cell)
            lines.append(
                f"| {' | '.join(value for _, value in cell.settings)} | {cell.mean:.4g} | {cell.standard_error:.2g} "
                f"| {gap:+.2g} ± {error:.2g} | {'best' if cell is self.best else ''} |"
            )
        direction = "lower" if self.lower_is_better else "higher"
        folds = self.protocol["folds"]
        return "\n".join(
            [*lines, "", f"Criterion: {self.unit}, mean of {folds} held-out folds; {direction} is better."]
        )

    def record(self) -> dict[str, Any]:
        """JSON values."""
        cells = [
            {"settings": dict(c.settings), "values": list(c.values), "mean": c.mean, "standard_error": c.standard_error}
            for c in self.cells
        ]
        return {
            "criterion": self.criterion,
            "unit": self.unit,
            "lower_is_better": self.lower_is_better,
            "cells": cells,
            "best": dict(self.best.settings),
            "protocol": self.protocol,
        }


def run(
    recipe: Recipe,
    grid: Sequence[tuple[str, Sequence[str]]],
    images: Images,
    out: Path | str,
    *,
    folds: int = 5,
    criterion: Criterion = "nats",
    samples: int = 100,
    minutes: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Tuning:
    """Train every cell of the grid on every fold's complement and judge it on the fold.

    Each training is a run folder in `out`; a killed search goes on where it was when it is called again with the same
    arguments.

    Args:
        recipe: what is varied; its `seed` also draws the folds.
        grid: (key, values as typed on a command line) for each setting that is varied, all combinations are tried.
        images: the training split (the test split has no part in this).
        out: folder of the runs, made if needed.
        folds: parts that the images are cut into, at least 2.
        criterion: "nats" (importance-weighted bound, or exact score), "psnr" (of the denoised image for a recipe with
            corruption, else of the reconstruction) or "probe" (accuracy of a linear classifier on the codes).
        samples: draws per image of the bound.
        minutes: budget of each training, instead of the recipe's images.
        progress: told (thousandths of trainings done, thousands of trainings in all).

    Raises:
        RecipeError: an unknown key, a value of the wrong type, a grid whose cells the criterion can't compare.
        DataError: too few images, or none with labels for "probe".
        CapabilityError: the model does not keep the promise that the criterion asks for.
        RunError: `out` holds another search.
    """
    _check(grid, folds, criterion, len(images))
    shape = same_size(images).shape[1:]
    choices = [tuple(zip((k for k, _ in grid), v, strict=True)) for v in itertools.product(*(vs for _, vs in grid))]
    variants = [recipe.with_overrides(f"{k}={v}" for k, v in choice) for choice in choices]
    unit = _comparable(recipe, variants, shape, criterion)
    parts = split(len(images), folds, recipe.seed)
    draws = 1 if criterion == "psnr" else samples
    if criterion == "probe":
        draws = _labels_for_all(images, parts)
    protocol = {
        "recipe": recipes.as_json(recipe),
        "grid": [[key, list(values)] for key, values in grid],
        "criterion": criterion,
        "folds": folds,
        "images": len(images),
        "data": images.fingerprint,
        "samples": draws if criterion == "nats" else None,
        "labels a class": draws if criterion == "probe" else None,
        "minutes": minutes,
    }
    _claim(Path(out), protocol)
    search = _Search(recipe, images, parts, criterion, draws, minutes)
    total, done, cells = len(variants) * folds, 0, []

    def tell(thousandths: int) -> None:
        if progress is not None:
            progress(1000 * done + thousandths, 1000 * total)

    for choice, variant in zip(choices, variants, strict=True):
        values = []
        for k in range(folds):
            values.append(search.value(variant, k, Path(out) / Cell(choice, ()).name() / f"fold-{k}", tell))
            done += 1
            tell(0)
        cells.append(Cell(choice, tuple(values)))
    return Tuning(tuple(cells), criterion, unit, criterion == "nats", protocol)


@dataclass(frozen=True)
class _Search:
    """What all trainings of a search have in common."""

    recipe: Recipe
    images: Images
    parts: Sequence[Tensor]
    criterion: Criterion
    draws: int  # samples of the bound, or labels a class
    minutes: float | None

    def value(self, variant: Recipe, k: int, place: Path, tell: Callable[[int], None]) -> float:
        """The criterion of `variant` on fold k: as `place` has it from a former call, else trained and judged now."""
        path = place / "value.json"
        if not path.is_file():
            rest = subset(self.images, torch.cat([part for i, part in enumerate(self.parts) if i != k]))
            training, held_out = _with_validation(variant, rest)
            fit.train(
                variant,
                (training, held_out),
                place,
                minutes=self.minutes,
                resume=True,
                watch=lambda step: tell(1000 * step.done // max(1, step.total)),
            )
            found = self.judge(loading.load(place), rest, subset(self.images, self.parts[k]))
            runs.write_text(path, json.dumps({"criterion": self.criterion, "value": found}) + "\n")
        return float(json.loads(path.read_text(encoding="utf-8"))["value"])

    def judge(self, model: Any, train: Images, fold: Images) -> float:
        """The criterion on the held-out fold; the varied recipe's corruption judges all cells."""
        if self.criterion == "probe":
            found = probe.run(model, train, fold, per_class=(self.draws,), seeds=3, baselines=False)
            return found.rows[0].mean
        corruption = self.recipe.data.corruption if _denoises(self.recipe) else None
        judged = evaluate.run(model, fold, samples=self.draws, seed=self.recipe.seed, corruption=corruption)
        key = {"nats": "nats", "psnr": "denoised_db" if corruption else "psnr_db"}[self.criterion]
        return float(judged.record()[key])


def split(count: int, folds: int, seed: int) -> list[Tensor]:
    """Positions 0 … count - 1 in `folds` disjoint parts, whose sizes differ by at most one: int64, sorted.

    >>> [len(part) for part in split(10, 3, seed=0)]
    [4, 3, 3]
    """
    order = torch.randperm(count, generator=generator(seed, "folds"))
    return [order[k::folds].sort().values for k in range(folds)]


def subset(images: Images, index: Tensor) -> Images:
    """The images at `index`, with a fingerprint of their own (of the whole set's and the positions)."""
    labels = None if images.labels is None else images.labels[index]
    positions = index.numpy().astype("<i8").tobytes()
    mark = hashlib.sha256(images.fingerprint.encode() + positions).hexdigest()[:16]
    return Images(same_size(images)[index], labels, images.classes, mark)


def _check(grid: Sequence[tuple[str, Sequence[str]]], folds: int, criterion: str, count: int) -> None:
    if not grid or not all(values for _, values in grid):
        raise RecipeError("nothing to tune: name a key and its values, objective.beta=0.25,1,4")
    if criterion not in get_args(Criterion):
        raise RecipeError(f"no criterion '{criterion}': there are {', '.join(get_args(Criterion))}")
    if folds < 2:
        raise RecipeError(f"cross-validation wants at least 2 folds, not {folds}")
    if count < 2 * folds:
        raise DataError(f"{count} images are too few for {folds} folds")


def _comparable(recipe: Recipe, variants: Sequence[Recipe], shape: Sequence[int], criterion: Criterion) -> str:
    """The criterion's unit, after a look at every model of the grid: mistakes show before any training."""
    changed = [name for name in PREPARED for v in variants if getattr(v.data, name) != getattr(recipe.data, name)]
    if changed:
        raise RecipeError(f"data.{changed[0]} is settled before folds are cut: search once for each value of it")
    channels, height, width = shape
    models = [loading.build(variant.with_shape((channels, height, width))) for variant in variants]
    if criterion == "nats":
        spaces = {space_of(require(model, Scores, name="a model of this grid")) for model in models}
        if len(spaces) > 1:
            raise RecipeError(
                f"nats over {' and '.join(sorted(spaces))} images can't be ranked; tune by --criterion psnr or probe"
            )
        return f"nats per {spaces.pop()} image"
    if criterion == "probe":
        for model in models:
            require(model, Encodes, name="a model of this grid")
        return "probe accuracy"
    promise = Denoises if _denoises(variants[0]) else Encodes
    for model in models:
        require(model, promise, name="a model of this grid")
    return "dB of the denoised image" if promise is Denoises else "dB of the reconstruction"


def _labels_for_all(images: Images, parts: Sequence[Tensor]) -> int:
    """Labels a class that every fold's training images have, at most `PROBE_LABELS`."""
    if images.labels is None:
        raise DataError("the criterion 'probe' wants labels, but these images have none (class subfolders give them)")
    counts = images.labels.bincount()
    left = torch.stack([counts - images.labels[part].bincount(minlength=len(counts)) for part in parts])
    return min(PROBE_LABELS, int(left[:, counts > 0].min()))


def _denoises(recipe: Recipe) -> bool:
    return recipe.data.corruption.kind != "none"


def _claim(out: Path, protocol: dict[str, Any]) -> None:
    """Make `out` the place of this search; refuse the place of another one."""
    path = out / "tune.json"
    if path.is_file():
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            raise RunError(f"{path}: damaged; use another --out") from None
        if found != json.loads(json.dumps(protocol)):
            differing = [key for key in protocol if found.get(key) != json.loads(json.dumps(protocol[key]))]
            raise RunError(f"{out} holds another search (it differs in {', '.join(differing)}); use another --out")
        return
    runs.write_text(path, json.dumps(protocol, indent=1) + "\n")


def _with_validation(recipe: Recipe, images: Images) -> tuple[Images, Images | None]:
    """Training images, and some of them held out where the recipe stops or slows down by a validation loss."""
    training = recipe.training
    if not isinstance(training, Gradient) or (training.patience is None and training.schedule.name != "plateau"):
        return images, None
    order = torch.randperm(len(images), generator=generator(recipe.seed, "tune validation"))
    count = max(1, round(len(images) * recipe.data.validation))
    return subset(images, order[count:]), subset(images, order[:count])
