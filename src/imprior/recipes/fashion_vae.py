"""A convolutional VAE of clothes with Gaussian pixels of learned scale and a flow as prior."""

from imprior.data.settings import Data
from imprior.models import vae
from imprior.models.observations import Gaussian
from imprior.models.priors import Flow
from imprior.nn.convolutional import Convolutional
from imprior.objectives.elbo import Elbo
from imprior.recipes import Recipe
from imprior.training.settings import Gradient, Optimiser, Schedule

recipe = Recipe(
    name="fashion-vae",
    data=Data(),
    model=vae.Config(
        network=Convolutional(channels=(32, 48), blocks=1, width=0),
        latent=32,
        likelihood=Gaussian("shared", sigma=0.2, output="linear"),
        prior=Flow(couplings=6, hidden=96),
    ),
    training=Gradient(
        objective=Elbo(warmup=0.05, warmup_from=0.1),
        optimiser=Optimiser("adamw", rate=1e-3, weight_decay=1e-2),
        schedule=Schedule("cosine", warmup=0.01, floor=0.01),
        images=540_000,
        batch=128,
        average=20_000,
        precision="bfloat16",
        check=54_000,
    ),
)
