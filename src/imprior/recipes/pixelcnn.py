"""An autoregressive model for any folder of small images, colour too: `data.size=32` sets their size."""

from imprior.data.settings import Data
from imprior.models import autoregressive
from imprior.models.pixel_outputs import Logistics
from imprior.nn.causal import MaskedConvolution
from imprior.objectives.likelihood import Likelihood
from imprior.recipes import Recipe
from imprior.training.settings import Gradient, Optimiser, Schedule

recipe = Recipe(
    name="pixelcnn",
    data=Data(size=32),
    # In turn within a patch: also the channels of a pixel, green given red and blue given both.
    model=autoregressive.Config(
        patch=2,
        network=MaskedConvolution(width=96, inner=48, dilations=(1, 1, 2, 1, 1, 2, 1, 1)),
        output=Logistics(components=5, hidden=64),
    ),
    training=Gradient(
        objective=Likelihood(),
        optimiser=Optimiser("adamw", rate=1e-3, weight_decay=1e-2),
        schedule=Schedule("cosine", warmup=0.02, floor=0.01),
        images=150_000,
        batch=32,
        average=5_000,
        precision="bfloat16",
        check=15_000,
    ),
)
