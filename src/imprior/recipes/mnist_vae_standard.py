"""The VAE of mnist-vae with the standard normal as prior: what the flow is worth."""

from dataclasses import replace

from imprior.models.priors import Standard
from imprior.recipes import mnist_vae

recipe = replace(mnist_vae.recipe, name="mnist-vae-standard", model=replace(mnist_vae.recipe.model, prior=Standard()))
