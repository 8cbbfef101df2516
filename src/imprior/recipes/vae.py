"""A VAE for any folder of images, with Gaussian pixels of learned scale: `data.size=64` sets their size."""

from imprior.data.settings import Data
from imprior.models import vae
from imprior.models.observations import Gaussian
from imprior.nn.convolutional import Convolutional
from imprior.objectives.elbo import Elbo
from imprior.recipes import Recipe
from imprior.training.settings import Gradient, Optimiser, Schedule

recipe = Recipe(
    name="vae",
    data=Data(size=64),
    model=vae.Config(
        network=Convolutional(channels=(32, 64, 96), blocks=1, width=256),
        latent=64,
        likelihood=Gaussian("shared", 0.2, output="linear"),
    ),
    training=Gradient(
        objective=Elbo(warmup=0.1, warmup_from=0.1),
        optimiser=Optimiser("adamw", rate=1e-3, weight_decay=1e-2),
        schedule=Schedule("cosine", warmup=0.02, floor=0.01),
        images=300_000,
        batch=32,
        average=5_000,
        precision="bfloat16",
        check=30_000,
    ),
)
