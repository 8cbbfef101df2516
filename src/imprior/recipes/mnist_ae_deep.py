"""The tutorials' deep autoencoder: 784-128-64-32-16 and back, normalised so that it trains."""

from imprior.models import autoencoder
from imprior.nn.dense import Dense
from imprior.recipes import mnist_ae

# Plain stacks of this depth train, but slowly and to grey images; layer normalisation is the cure with the least code.
recipe = mnist_ae.recipe.variant(
    "mnist-ae-deep",
    "training.images=3240000",
    "training.check=270000",
    model=autoencoder.Config(network=Dense((128, 64, 32), block="normalised"), latent=16),
)
