"""A denoising autoencoder for digits under Gaussian noise of 0.5."""

from imprior.data.settings import Corruption, Data
from imprior.models import autoencoder
from imprior.nn.convolutional import Convolutional
from imprior.objectives.reconstruction import Reconstruction
from imprior.recipes import Recipe
from imprior.training.settings import Gradient, Optimiser, Schedule

recipe = Recipe(
    name="mnist-dae",
    data=Data(corruption=Corruption("gaussian", 0.5, 0.5)),
    # The code is a grid of 7x7 places: a denoiser has to forget noise, not the image, and the wider the better.
    model=autoencoder.Config(
        network=Convolutional(channels=(32, 64), blocks=2, spatial=True), latent=64, output="linear", denoises=True
    ),
    training=Gradient(
        objective=Reconstruction(),
        optimiser=Optimiser("adamw", rate=2e-3, weight_decay=1e-2),
        schedule=Schedule("cosine", warmup=0.02, floor=0.0),
        images=540_000,
        batch=128,
        average=10_000,
        precision="bfloat16",
        check=54_000,
    ),
)
