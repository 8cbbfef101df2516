"""The tutorials' autoencoder, made to work: 784-128-784, ReLU code, squared error."""

from imprior.data.settings import Data
from imprior.models import autoencoder
from imprior.nn.dense import Dense
from imprior.objectives.reconstruction import Reconstruction
from imprior.recipes import Recipe
from imprior.training.settings import Gradient, Optimiser, Schedule

recipe = Recipe(
    name="mnist-ae",
    data=Data(),
    model=autoencoder.Config(network=Dense(()), latent=128, code="relu", output="sigmoid"),
    training=Gradient(
        objective=Reconstruction(),
        optimiser=Optimiser("adamw", rate=2e-3),
        schedule=Schedule("cosine", warmup=0.01, floor=0.0),
        images=3_240_000,
        batch=256,
        check=270_000,
    ),
)
