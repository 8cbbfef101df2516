"""Autoregressive model of binarized digits whose network is a causal transformer over 2x2 patches.

`model.patch=1` makes it one over pixels: four times the positions, so four times the work in the layers and sixteen
times that in the attention. In equal time it sees far fewer images, which is why patches are the default.
"""

from imprior.data.settings import Data
from imprior.models import autoregressive
from imprior.models.pixel_outputs import Joint
from imprior.nn.transformer import Transformer
from imprior.objectives.likelihood import Likelihood
from imprior.recipes import Recipe
from imprior.training.settings import Gradient, Optimiser, Schedule

recipe = Recipe(
    name="mnist-transformer",
    data=Data(binarize=True),
    model=autoregressive.Config(
        patch=2, network=Transformer(width=64, heads=2, layers=4, reach=2), output=Joint(hidden=64)
    ),
    training=Gradient(
        objective=Likelihood(),
        optimiser=Optimiser("adamw", rate=2e-3, weight_decay=1e-2),
        schedule=Schedule("cosine", warmup=0.03, floor=0.01),
        images=400_000,
        batch=64,
        average=10_000,
        precision="bfloat16",
        check=54_000,
    ),
)
