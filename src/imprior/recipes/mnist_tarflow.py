"""Transformer autoregressive flow of digits of 8 bits: causal self-attention over patches, in alternating order."""

from imprior.data.settings import Data
from imprior.models import tarflow
from imprior.models.dequantised import Variational
from imprior.nn.transformer import Transformer
from imprior.objectives.likelihood import Likelihood
from imprior.recipes import Recipe
from imprior.training.settings import Gradient, Optimiser, Schedule

recipe = Recipe(
    name="mnist-tarflow",
    data=Data(),
    model=tarflow.Config(
        patch=4,
        blocks=4,
        network=Transformer(width=96, heads=4, layers=2),
        dequantisation=Variational(couplings=2, hidden=32),
    ),
    training=Gradient(
        objective=Likelihood(),
        optimiser=Optimiser("adamw", rate=1.5e-3, weight_decay=1e-2),
        schedule=Schedule("cosine", warmup=0.02, floor=0.01),
        images=480_000,
        batch=64,
        average=20_000,
        precision="bfloat16",
        check=54_000,
    ),
)
