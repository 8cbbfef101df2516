"""The tutorials' deep autoencoder: 784-128-64-32-16 and back, normalised so that it trains"""

from dataclasses import replace

from imprior.models import autoencoder
from imprior.nn.dense import Dense
from imprior.recipes import mnist_ae

# Plain stacks of this depth train, but slowly and to grey images; layer normalisation is the cure with the least code.
recipe = replace(
    mnist_ae.recipe,
    name="mnist-ae-deep",
    model=autoencoder.Config(network=Dense((128, 64, 32), block="normalised"), latent=16),
    training=replace(mnist_ae.recipe.training, images=10_800_000, check=540_000),
)
