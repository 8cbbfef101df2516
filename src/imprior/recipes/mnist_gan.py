"""A class-conditional adversarial generator of digits: residual nets, relativistic loss with R1 and R2 penalties."""

from imprior.data.settings import Data
from imprior.models import gan
from imprior.nn.generator import Residual
from imprior.objectives.adversarial import Adversarial
from imprior.recipes import Recipe
from imprior.training.settings import Gradient, Optimiser, Schedule

recipe = Recipe(
    name="mnist-gan",
    data=Data(),
    model=gan.Config(network=Residual(channels=(48, 96), blocks=1), latent=64, classes=10),
    training=Gradient(
        # In short trainings weight 1 gave more variety (recall, Fréchet distance), 0.1 more digits that a classifier
        # knows: something in between.
        objective=Adversarial(weight=0.25, share=0.25),
        # Without momentum: what the other player did a few steps ago says little about what it does now.
        optimiser=Optimiser("adam", rate=1e-3, betas=(0.0, 0.99)),
        schedule=Schedule("cosine", warmup=0.01, floor=0.05),
        images=720_000,
        batch=64,
        clip=None,
        average=10_000,
        precision="bfloat16",
        check=54_000,
    ),
)
