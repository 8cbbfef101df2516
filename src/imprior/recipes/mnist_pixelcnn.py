"""Autoregressive model of binarized digits: masked convolutions over 2x2 patches, the best likelihood of the table."""

from imprior.data.settings import Data
from imprior.models import autoregressive
from imprior.models.pixel_outputs import Joint
from imprior.nn.causal import MaskedConvolution
from imprior.objectives.likelihood import Likelihood
from imprior.recipes import Recipe
from imprior.training.settings import Gradient, Optimiser, Schedule

recipe = Recipe(
    name="mnist-pixelcnn",
    data=Data(binarize=True),
    model=autoregressive.Config(
        patch=2,
        network=MaskedConvolution(width=64, inner=32, dilations=(1, 1, 2, 1, 1, 2, 1, 1)),
        output=Joint(hidden=64),
    ),
    training=Gradient(
        objective=Likelihood(),
        optimiser=Optimiser("adamw", rate=2e-3, weight_decay=1e-2),
        schedule=Schedule("cosine", warmup=0.01, floor=0.01),
        images=3_500_000,
        batch=64,
        average=50_000,
        precision="bfloat16",
        check=108_000,
    ),
)
