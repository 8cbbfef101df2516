"""A VAE for any folder of images, with Gaussian pixels of learned scale: `data.size=64` sets their size"""

from dataclasses import replace

from imprior.models import vae
from imprior.models.observations import Gaussian
from imprior.nn.convolutional import Convolutional
from imprior.objectives.elbo import Elbo
from imprior.recipes import ae

recipe = replace(
    ae.recipe,
    name="vae",
    model=vae.Config(
        network=Convolutional(channels=(32, 64, 96), blocks=1, width=512), latent=64, likelihood=Gaussian("shared", 0.2)
    ),
    training=replace(ae.recipe.training, objective=Elbo(warmup=0.1, warmup_from=0.1)),
)
