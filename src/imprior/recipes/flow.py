"""A multi-scale flow for any folder of small images, grey or in colour: `data.size=32` sets their size."""

from imprior.data.settings import Data
from imprior.models import flow
from imprior.objectives.likelihood import Likelihood
from imprior.recipes import Recipe
from imprior.training.settings import Gradient, Optimiser, Schedule

recipe = Recipe(
    name="flow",
    data=Data(size=32),
    model=flow.Config(steps=(6, 6, 6), hidden=(48, 64, 96), dense=4, dense_hidden=256),
    training=Gradient(
        objective=Likelihood(),
        optimiser=Optimiser("adamw", rate=2e-3, weight_decay=1e-2),
        schedule=Schedule("cosine", warmup=0.02, floor=0.01),
        images=300_000,
        batch=32,
        average=10_000,
        precision="bfloat16",
        check=30_000,
    ),
)
