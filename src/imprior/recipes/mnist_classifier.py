"""A small classifier of digits, in whose features samples of digits are measured (FD-mnist-v1)."""

from imprior.data.settings import Data
from imprior.models import classifier
from imprior.nn.convolutional import Convolutional
from imprior.objectives.classification import Classification
from imprior.recipes import Recipe
from imprior.training.settings import Gradient, Optimiser, Schedule

recipe = Recipe(
    name="mnist-classifier",
    data=Data(),
    model=classifier.Config(network=Convolutional((32, 64), blocks=1, width=0), width=64, measure="FD-mnist-v1"),
    training=Gradient(
        objective=Classification(),
        optimiser=Optimiser("adamw", rate=2e-3, weight_decay=5e-2),
        schedule=Schedule("cosine", warmup=0.05, floor=0.01),
        images=432_000,
        batch=128,
        average=10_000,
        precision="bfloat16",
        check=54_000,
    ),
)
