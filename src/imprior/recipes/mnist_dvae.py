"""A denoising VAE for digits under Gaussian noise of 0.5: a dense net whose code has a distribution."""

from imprior.data.settings import Corruption, Data
from imprior.models import vae
from imprior.models.observations import Gaussian
from imprior.nn.dense import Dense
from imprior.objectives.elbo import Elbo
from imprior.recipes import Recipe
from imprior.training.settings import Gradient, Optimiser, Schedule

recipe = Recipe(
    name="mnist-dvae",
    data=Data(corruption=Corruption("gaussian", 0.5, 0.5)),
    # Squared error with a scale that is learned: the weight between picture and code is then not a matter of taste.
    model=vae.Config(
        network=Dense((120, 120), block="gated"), latent=32, likelihood=Gaussian("shared", sigma=0.2, output="linear")
    ),
    training=Gradient(
        objective=Elbo(warmup=0.1, warmup_from=0.1),
        optimiser=Optimiser("adamw", rate=1e-3, weight_decay=1e-2),
        schedule=Schedule("cosine", warmup=0.01, floor=0.0),
        images=2_700_000,
        batch=256,
        average=50_000,
        precision="bfloat16",
        check=270_000,
    ),
)
