"""A Wasserstein autoencoder of digits: the codes of mnist-aae, matched to N(0, 1) by a kernel and no critic."""

from dataclasses import replace

from imprior.objectives.latent_matching import Kernel
from imprior.recipes import mnist_aae
from imprior.training.settings import Gradient

_given = mnist_aae.recipe
assert isinstance(_given.training, Gradient)
recipe = _given.variant(
    "mnist-wae",
    "model.critic=",
    training=replace(_given.training, objective=Kernel(weight=500.0, error="cross-entropy")),
)
