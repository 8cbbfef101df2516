"""How far a training gets: in memory, without a run folder, for studies that make many short ones."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from torch import nn

from imprior import loading
from imprior.data.batches import Batches, Images
from imprior.errors import RecipeError, RunError
from imprior.recipes import Recipe
from imprior.tasks.protocol import same_size
from imprior.training import loop, state
from imprior.training.settings import Gradient


@dataclass(frozen=True)
class Reached:
    """What a short training came to.

    Attributes:
        model: with the weights that the recipe would save.
        start, loss: of the objective on the validation images, before and after; infinite where training broke down.
        images: seen in all; fewer than the budget where early stopping ended it.
        seconds: of training, validation included.
    """

    model: nn.Module
    start: float
    loss: float
    images: int
    seconds: float


def reach(recipe: Recipe, images: Images, validation: Images) -> Reached:
    """Train `recipe` by gradient steps on `images` and judge it on `validation`.

    Raises:
        RecipeError: the recipe is fitted, not stepped.
    """
    settings = recipe.training
    if not isinstance(settings, Gradient):
        raise RecipeError(f"{recipe.name} is fitted in passes: this study is about gradient steps")
    channels, height, width = same_size(images).shape[1:]
    recipe = recipe.with_shape((channels, height, width))
    model = loading.build(recipe)
    batches = Batches(images, recipe.data, batch=settings.batch, seed=recipe.seed)
    kept = Batches(validation, replace(recipe.data, flip=False), batch=1, seed=recipe.seed, train=False)
    validate = loop.objective_mean(model, settings, kept, seed=recipe.seed)
    start = validate()
    training = state.begin(model, settings)
    broken = False
    try:
        loop.train(training, settings, batches, seed=recipe.seed, validate=validate)
    except RunError:  # the loss is not a number any more: a result of the study, not a mistake of its user
        broken = True
    loading.fill(model, training.result(), where="this training")
    loss = math.inf if broken else validate()
    return Reached(model.eval(), start, loss, training.counters.images, training.counters.seconds)
