"""Autoregressive model of clothes in 8-bit grey: masked convolutions over 2x2 patches, logistic mixtures."""

from imprior.recipes import mnist_pixelcnn_8bit

# Unlike a digit's, the greys of clothes are smooth: levels side by side are about equally likely.
recipe = mnist_pixelcnn_8bit.recipe.variant("fashion-pixelcnn-8bit", "model.output=logistics", "images=2_000_000")
