"""An autoencoder for any folder of images: `data.size=64` sets their size, `model.latent` the numbers in a code."""

from imprior.data.settings import Data
from imprior.models import autoencoder
from imprior.nn.convolutional import Convolutional
from imprior.objectives.reconstruction import Reconstruction
from imprior.recipes import Recipe
from imprior.training.settings import Gradient, Optimiser, Schedule

recipe = Recipe(
    name="ae",
    data=Data(size=64),
    model=autoencoder.Config(
        network=Convolutional(channels=(32, 64, 96), blocks=1, width=256), latent=64, output="linear"
    ),
    training=Gradient(
        objective=Reconstruction(),
        optimiser=Optimiser("adamw", rate=1e-3, weight_decay=1e-2),
        schedule=Schedule("cosine", warmup=0.02, floor=0.01),
        images=300_000,
        batch=32,
        average=5_000,
        precision="bfloat16",
        check=30_000,
    ),
)
