"""A denoising autoencoder for any folder of images; trained at one size, it cleans images of any size."""

from imprior.data.settings import Corruption, Data
from imprior.models import autoencoder
from imprior.nn.convolutional import Convolutional
from imprior.recipes import ae

recipe = ae.recipe.variant(
    "dae",
    data=Data(size=64, flip=True, corruption=Corruption("gaussian", 0.0, 0.3)),
    model=autoencoder.Config(
        network=Convolutional(channels=(48, 96), blocks=2, spatial=True), latent=96, output="linear", denoises=True
    ),
)
