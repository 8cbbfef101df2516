"""Ladder of binarized digits: a VAE with two rungs of latents (40, 24) and a flow as prior of the upper one."""

from imprior.data.settings import Data
from imprior.models import ladder
from imprior.models.priors import Flow
from imprior.objectives.elbo import Elbo
from imprior.recipes import Recipe
from imprior.training.settings import Gradient, Optimiser, Schedule

recipe = Recipe(
    name="mnist-ladder",
    data=Data(binarize=True),
    # In short trainings two rungs were ahead of three (512, 256, 128 units; 48, 24, 12 latents), on validation digits.
    model=ladder.Config(widths=(512, 384), latents=(24, 40), hidden=128, prior=Flow(couplings=6, hidden=64, layers=2)),
    training=Gradient(
        # The floor under each rung's KL is for the lower one, which the decoder makes do without at first.
        objective=Elbo(warmup=0.05, warmup_from=0.1, free_bits=0.03, importance=5, importance_from=0.9),
        optimiser=Optimiser("adamw", rate=1e-3, weight_decay=1e-2),
        schedule=Schedule("cosine", warmup=0.002, floor=0.01),
        images=20_000_000,
        batch=256,
        average=100_000,
        precision="bfloat16",
        check=270_000,
    ),
)
