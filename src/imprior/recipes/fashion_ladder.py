"""Ladder of clothes in 8 bits: two rungs of latents and a mixture of logistic densities in each pixel."""

from imprior.data.settings import Data
from imprior.recipes import mnist_ladder

recipe = mnist_ladder.recipe.variant(
    "fashion-ladder",
    "model.likelihood=logistic_mixture",
    "model.likelihood.components=5",
    "training.objective.importance=1",
    "training.images=3000000",
    data=Data(),
)
