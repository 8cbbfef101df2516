"""A VAE of 64x64 colour crops of photographs: what a VAE can and cannot do with natural images."""

from imprior.data.settings import Data
from imprior.models import vae
from imprior.models.observations import Gaussian
from imprior.models.priors import Flow
from imprior.nn.convolutional import Convolutional
from imprior.objectives.elbo import Elbo
from imprior.recipes import Recipe
from imprior.training.settings import Gradient, Optimiser, Schedule

recipe = Recipe(
    name="photo-vae",
    data=Data(channels=3, crop=64, scales=(1.0, 0.5, 0.25), flip=True),
    model=vae.Config(
        network=Convolutional(channels=(24, 32, 48, 64), blocks=1, width=0),
        latent=64,
        likelihood=Gaussian("shared", sigma=0.2, output="linear"),
        prior=Flow(couplings=6, hidden=96),
    ),
    training=Gradient(
        objective=Elbo(warmup=0.05, warmup_from=0.1),
        optimiser=Optimiser("adamw", rate=1e-3, weight_decay=1e-2),
        schedule=Schedule("cosine", warmup=0.01, floor=0.01),
        images=160_000,
        batch=64,
        average=5_000,
        precision="bfloat16",
        check=20_000,
    ),
)
