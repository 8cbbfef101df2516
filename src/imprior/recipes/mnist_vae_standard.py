"""The VAE of mnist-vae with the standard normal as prior: what the flow is worth."""

from imprior.recipes import mnist_vae

recipe = mnist_vae.recipe.variant("mnist-vae-standard", "model.prior=standard")
