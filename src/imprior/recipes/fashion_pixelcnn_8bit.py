"""Autoregressive model of clothes in 8-bit grey: masked convolutions over 2x2 patches, logistic mixtures."""

from imprior.recipes import mnist_pixelcnn_8bit

recipe = mnist_pixelcnn_8bit.recipe.variant("fashion-pixelcnn-8bit")
