"""Multi-scale flow of clothes of 8 bits with variational dequantisation."""

from imprior.data.settings import Data
from imprior.models import flow
from imprior.models.dequantised import Variational
from imprior.objectives.likelihood import Likelihood
from imprior.recipes import Recipe
from imprior.training.settings import Gradient, Optimiser, Schedule

recipe = Recipe(
    name="fashion-flow",
    data=Data(),
    model=flow.Config(
        steps=(8, 8),
        hidden=(32, 64),
        dense=4,
        dense_hidden=256,
        dequantisation=Variational(couplings=2, hidden=32),
    ),
    training=Gradient(
        objective=Likelihood(),
        optimiser=Optimiser("adamw", rate=3e-3, weight_decay=1e-2),
        schedule=Schedule("cosine", warmup=0.01, floor=0.01),
        images=810_000,
        batch=64,
        average=20_000,
        precision="bfloat16",
        check=54_000,
    ),
)
