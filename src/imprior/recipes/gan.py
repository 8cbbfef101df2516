"""An adversarial generator of images of any kind, without labels: `data.size=64` sets their size."""

from imprior.data.settings import Data
from imprior.models import gan
from imprior.nn.generator import Residual
from imprior.objectives.adversarial import Adversarial
from imprior.recipes import Recipe
from imprior.training.settings import Gradient, Optimiser, Schedule

recipe = Recipe(
    name="gan",
    data=Data(size=32),
    model=gan.Config(network=Residual(channels=(48, 96, 128), blocks=1), latent=64),
    training=Gradient(
        objective=Adversarial(weight=0.25, share=0.25),
        optimiser=Optimiser("adam", rate=1e-3, betas=(0.0, 0.99)),
        schedule=Schedule("cosine", warmup=0.01, floor=0.05),
        images=600_000,
        batch=64,
        clip=None,
        average=10_000,
        precision="bfloat16",
        check=60_000,
    ),
)
