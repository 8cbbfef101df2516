"""Ladder of binarized digits: a VAE with three rungs of latents (12, 24, 48) and a flow as prior of the top one."""

from imprior.data.settings import Data
from imprior.models import ladder
from imprior.models.priors import Flow
from imprior.objectives.elbo import Elbo
from imprior.recipes import Recipe
from imprior.training.settings import Gradient, Optimiser, Schedule

recipe = Recipe(
    name="mnist-ladder",
    data=Data(binarize=True),
    model=ladder.Config(
        widths=(512, 256, 128), latents=(48, 24, 12), hidden=256, prior=Flow(couplings=6, hidden=64, layers=2)
    ),
    training=Gradient(
        # Without a slow start the upper rungs are never used; the floor under each rung's KL keeps them awake.
        objective=Elbo(warmup=0.05, warmup_from=0.1, free_bits=0.02, importance=5, importance_from=0.9),
        optimiser=Optimiser("adamw", rate=1e-3, weight_decay=1e-2),
        schedule=Schedule("cosine", warmup=0.002, floor=0.01),
        images=16_000_000,
        batch=256,
        average=100_000,
        precision="bfloat16",
        check=270_000,
    ),
)
