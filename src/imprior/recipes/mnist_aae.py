"""An adversarial autoencoder of digits: 16 numbers that a critic makes follow N(0, 1)."""

from imprior.data.settings import Data
from imprior.models import adversarial_autoencoder
from imprior.nn.convolutional import Convolutional
from imprior.objectives.latent_matching import Critic
from imprior.recipes import Recipe
from imprior.training.settings import Gradient, Optimiser, Schedule

recipe = Recipe(
    name="mnist-aae",
    data=Data(),
    model=adversarial_autoencoder.Config(
        network=Convolutional(channels=(32, 64), blocks=1, width=0), latent=16, critic=(256, 256)
    ),
    training=Gradient(
        # With squared errors through a sigmoid nothing was learned in 38,000 images: its slope vanishes on black.
        objective=Critic(weight=10.0, penalty=0.1, error="cross-entropy"),
        # A long memory of gradients makes two players overshoot in turn.
        optimiser=Optimiser("adamw", rate=1e-3, weight_decay=1e-2, betas=(0.5, 0.99)),
        schedule=Schedule("cosine", warmup=0.02, floor=0.01),
        images=900_000,
        batch=128,
        average=10_000,
        precision="bfloat16",
        check=54_000,
    ),
)
