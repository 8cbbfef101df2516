"""mnist-gan on Fashion-MNIST."""

from imprior.recipes import mnist_gan

recipe = mnist_gan.recipe.variant("fashion-gan")
