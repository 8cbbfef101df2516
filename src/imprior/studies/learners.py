"""Models that learn from few labelled images: subsets of equal classes, and one training for every kind of model.

    images ──► balanced(k a class) ──► learn(recipe) ──► a model that knows classes

A recipe whose model takes labels is trained on all classes at once; of any other, one model is trained for each class
(`PerClass`), which makes every likelihood a class-conditional one.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from imprior import fit, loading
from imprior.data.batches import Images
from imprior.errors import DataError
from imprior.models.labelled import checked, drawn, marginal
from imprior.promises import Samples, Score, Scores, Shape, require
from imprior.randomness import generator
from imprior.recipes import Recipe
from imprior.studies.tune import subset
from imprior.training.settings import Gradient

HELD_OUT = 5  # one labelled image in so many tells when to stop, where the recipe stops early


class PerClass:
    """One model for each class, as one that knows classes; keeps Scores and Samples where the models do.

    Args:
        models: by label, of one kind.
    """

    def __init__(self, models: Sequence[Any]) -> None:
        self.models = list(models)
        self.shape: Shape = models[0].shape
        self.levels: int | None = models[0].levels
        self.classes: int | None = len(models)

    def score(
        self, x: Tensor, labels: Tensor | None = None, samples: int = 1, rng: torch.Generator | None = None
    ) -> Score:
        """Minus log p(x | label), of the label's own model; without labels, of the mixture of all."""
        scores: list[Score] = []

        def nats(given: Tensor | None) -> Tensor:
            assert given is not None
            found = x.new_zeros(len(x), dtype=torch.float64)
            for label in sorted(set(given.tolist())):
                own = given == label
                model = require(self.models[label], Scores)
                scores.append(model.score(x[own], samples=samples, rng=rng))
                found[own] = scores[-1].nats.double()
            return found

        found = marginal(nats, len(x), labels, self.classes)
        return replace(scores[0], nats=found)

    def sample(self, n: int, rng: torch.Generator, labels: Tensor | None = None) -> Tensor:
        """n images [n, C, H, W], each from its label's model."""
        given = drawn(labels, n, self.classes, rng)
        assert given is not None
        x = None
        for label in sorted(set(given.tolist())):
            own = given == label
            images = require(self.models[label], Samples).sample(int(own.sum()), rng)
            x = images.new_zeros(n, *images.shape[1:]) if x is None else x
            x[own] = images
        assert x is not None and checked(given, n, self.classes) is not None
        return x


def balanced(images: Images, per_class: int, seed: int) -> Images:
    """`per_class` images of each class, drawn by `seed`, classes in turns; a larger draw holds the smaller ones.

    Raises:
        DataError: no labels, or too few images of a class.
    """
    if images.labels is None:
        raise DataError("this study wants labels, but the images have none (class subfolders give them)")
    order = torch.randperm(len(images), generator=generator(seed, "labels"))
    labels = images.labels[order]
    chosen = []
    for label in range(int(images.labels.max()) + 1):
        own = order[labels == label][:per_class]
        if len(own) < per_class:
            raise DataError(f"{per_class:,} images a class are asked for; class {label} has {len(own):,}")
        chosen.append(own)
    return subset(images, torch.stack(chosen, 1).flatten())


def learn(recipe: Recipe, images: Images, *, seed: int) -> Any:
    """Train a recipe on labelled images, in memory: a model that knows classes.

    Where the recipe stops early (`training.patience`), it does so by a fifth of these images, which it then has for
    nothing else: whatever is tried on few labels pays for its choices out of the same few.

    Args:
        recipe: of any model; one with `classes` is told how many there are.
        images: with labels.
        seed: of initialisation, order and noise.
    """
    assert images.labels is not None
    classes = int(images.labels.max()) + 1
    recipe = replace(recipe, seed=seed)
    if is_dataclass(recipe.model) and "classes" in {field.name for field in fields(recipe.model)}:
        return _trained(recipe.with_overrides([f"model.classes={classes}"]), images)
    parts = [subset(images, (images.labels == label).nonzero().flatten()) for label in range(classes)]
    return PerClass([_trained(recipe, part) for part in parts])


def _trained(recipe: Recipe, images: Images) -> Any:
    held_out = None
    if isinstance(recipe.training, Gradient) and recipe.training.patience is not None:
        turn = torch.arange(len(images)) // _classes(images) % HELD_OUT  # whole turns of the classes
        images, held_out = subset(images, (turn != 0).nonzero()[:, 0]), subset(images, (turn == 0).nonzero()[:, 0])
    with tempfile.TemporaryDirectory(prefix="imprior-") as place:
        return loading.load(fit.train(recipe, (images, held_out), Path(place) / "run"))


def _classes(images: Images) -> int:
    assert images.labels is not None
    return len(set(images.labels.tolist()))
