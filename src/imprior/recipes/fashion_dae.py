"""The denoising autoencoder for clothes under Gaussian noise of 0.5."""

from imprior.recipes import mnist_dae

recipe = mnist_dae.recipe.variant("fashion-dae", "training.images=432000")
