"""Hidden Markov model over the rows of binarized digits, by expectation-maximisation."""

from imprior.data.settings import Data
from imprior.models import hidden_markov
from imprior.recipes import Recipe
from imprior.training.settings import Fit

# Bits are drawn afresh in every pass, so the loss never settles to less than their noise: all passes are made.
recipe = Recipe(
    name="mnist-hmm",
    data=Data(binarize=True),
    model=hidden_markov.Config(states=100),
    training=Fit(iterations=30, tolerance=0.0),
)
