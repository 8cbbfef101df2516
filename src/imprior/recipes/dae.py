"""A denoising autoencoder for any folder of images; trained on crops, it cleans images of any size"""

from dataclasses import replace

from imprior.data.settings import Corruption, Data
from imprior.models import autoencoder
from imprior.nn.convolutional import Convolutional
from imprior.recipes import Recipe, ae

recipe: Recipe = replace(
    ae.recipe,
    name="dae",
    data=Data(size=64, flip=True, corruption=Corruption("gaussian", 0.0, 0.3)),
    model=autoencoder.Config(
        network=Convolutional(channels=(48, 96), blocks=2, spatial=True), latent=96, denoises=True
    ),
)
