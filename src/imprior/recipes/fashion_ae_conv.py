"""The residual convolutional autoencoder of 32 numbers, for clothes."""

from imprior.recipes import mnist_ae_conv

recipe = mnist_ae_conv.recipe.variant("fashion-ae-conv")
