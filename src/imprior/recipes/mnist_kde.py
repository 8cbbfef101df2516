"""Kernel density of digits: 2,000 of them, each with noise around it; what every density should beat."""

from imprior.data.settings import Data
from imprior.models import kernel_density
from imprior.recipes import Recipe
from imprior.training.settings import Fit

recipe = Recipe(name="mnist-kde", data=Data(), model=kernel_density.Config(size=2000), training=Fit())
