"""A residual convolutional autoencoder of 32 numbers, against PCA with as many."""

from imprior.data.settings import Data
from imprior.models import autoencoder
from imprior.nn.convolutional import Convolutional
from imprior.objectives.reconstruction import Reconstruction
from imprior.recipes import Recipe
from imprior.training.settings import Gradient, Optimiser, Schedule

recipe = Recipe(
    name="mnist-ae-conv",
    data=Data(),
    model=autoencoder.Config(network=Convolutional(channels=(32, 64), blocks=2, width=0), latent=32, output="linear"),
    training=Gradient(
        objective=Reconstruction(),
        optimiser=Optimiser("adamw", rate=2e-3, weight_decay=1e-2),
        schedule=Schedule("cosine", warmup=0.02, floor=0.0),
        images=648_000,
        batch=128,
        average=10_000,
        precision="bfloat16",
        check=54_000,
    ),
)
