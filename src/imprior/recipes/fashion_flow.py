"""mnist-flow on Fashion-MNIST."""

from imprior.recipes import mnist_flow

recipe = mnist_flow.recipe.variant("fashion-flow")
