"""The residual convolutional autoencoder of 32 numbers, for clothes"""

from dataclasses import replace

from imprior.recipes import mnist_ae_conv

recipe = replace(mnist_ae_conv.recipe, name="fashion-ae-conv")
