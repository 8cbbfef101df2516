"""VAE of binarized digits with a flow as prior (dense, 48 latents): the headline of the likelihood table."""

from imprior.data.settings import Data
from imprior.models import vae
from imprior.models.priors import Flow
from imprior.nn.dense import Dense
from imprior.objectives.elbo import Elbo
from imprior.recipes import Recipe
from imprior.training.settings import Gradient, Optimiser, Schedule

recipe = Recipe(
    name="mnist-vae",
    data=Data(binarize=True),
    # A prior that is learned is worth two to three nats, and couplings on 48 numbers cost a tenth of the decoder.
    model=vae.Config(
        network=Dense((400, 400), block="gated"),
        latent=48,
        prior=Flow(couplings=6, hidden=128, layers=2),
    ),
    training=Gradient(
        objective=Elbo(warmup=0.03, warmup_from=0.1, importance=5, importance_from=0.9),
        optimiser=Optimiser("adamw", rate=1e-3, weight_decay=1e-2),
        schedule=Schedule("cosine", warmup=0.002, floor=0.01),
        images=16_000_000,
        batch=256,
        average=100_000,
        precision="bfloat16",
        check=270_000,
    ),
)
