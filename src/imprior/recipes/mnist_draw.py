"""DRAW of binarized digits: recurrent encoder and decoder, which look and paint through glimpses in 12 turns."""

from imprior.data.settings import Data
from imprior.models import draw
from imprior.objectives.elbo import Elbo
from imprior.recipes import Recipe
from imprior.training.settings import Gradient, Optimiser, Schedule

recipe = Recipe(
    name="mnist-draw",
    data=Data(binarize=True),
    model=draw.Config(turns=12, latent=12, hidden=256, read=5, write=5),
    training=Gradient(
        objective=Elbo(warmup=0.05, warmup_from=0.1),
        optimiser=Optimiser("adamw", rate=2e-3, weight_decay=1e-2),
        schedule=Schedule("cosine", warmup=0.01, floor=0.01),
        images=900_000,
        batch=128,
        average=20_000,
        precision="bfloat16",
        check=54_000,
    ),
)
