"""Mixture of 64 Gaussians over 8x8 patches of photographs, by expectation-maximisation: a denoiser for any picture."""

from imprior.data.settings import Data
from imprior.models import patch_mixture
from imprior.recipes import Recipe
from imprior.training.settings import Fit

# Every pass sees other crops, 256 patches each, so the loss never settles to less than their noise.
recipe = Recipe(
    name="photo-epll",
    data=Data(channels=1, crop=128, scales=(1.0, 0.5), flip=True, dequantise=True),
    model=patch_mixture.Config(components=64),
    training=Fit(iterations=30, tolerance=0.0, batch=50),
)
