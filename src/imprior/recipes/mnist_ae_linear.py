"""A linear autoencoder of 32 numbers, which finds the subspace of PCA."""

from imprior.data.settings import Data
from imprior.models import autoencoder
from imprior.nn.dense import Dense
from imprior.objectives.reconstruction import Reconstruction
from imprior.recipes import Recipe
from imprior.training.settings import Gradient, Optimiser, Schedule

recipe = Recipe(
    name="mnist-ae-linear",
    data=Data(),
    model=autoencoder.Config(network=Dense(()), latent=32, code="linear", output="linear"),
    training=Gradient(
        objective=Reconstruction(),
        optimiser=Optimiser("adam", rate=4e-3),
        # To zero: what is left of the rate is an angle that is left to the subspace.
        schedule=Schedule("cosine", warmup=0.01, floor=0.0),
        images=5_400_000,
        batch=500,
        check=540_000,
    ),
)
