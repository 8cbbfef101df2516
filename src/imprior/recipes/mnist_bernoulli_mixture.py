"""Mixture of 200 templates of binarized digits, by expectation-maximisation: the simplest latent-variable model."""

from imprior.data.settings import Data
from imprior.models import bernoulli_mixture
from imprior.recipes import Recipe
from imprior.training.settings import Fit

# Bits are drawn afresh in every pass, so the loss never settles to less than their noise: all passes are made.
recipe = Recipe(
    name="mnist-bernoulli-mixture",
    data=Data(binarize=True),
    model=bernoulli_mixture.Config(components=200),
    training=Fit(iterations=30, tolerance=0.0),
)
