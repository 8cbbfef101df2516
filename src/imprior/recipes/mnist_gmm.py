"""Mixture of 60 Gaussians of rank 10 over digits, by expectation-maximisation."""

from imprior.data.settings import Data
from imprior.models import gaussian_mixture
from imprior.recipes import Recipe
from imprior.training.settings import Fit

# Levels are made continuous afresh in every pass, so the loss never settles to less than that noise.
recipe = Recipe(
    name="mnist-gmm",
    data=Data(dequantise=True),
    model=gaussian_mixture.Config(components=60, rank=10),
    training=Fit(iterations=20, tolerance=0.0),
)
