"""Autoregressive model of binarized digits given their class: draws the digit asked for, classifies by likelihood."""

from imprior.recipes import mnist_pixelcnn

recipe = mnist_pixelcnn.recipe.variant("mnist-pixelcnn-class", "model.classes=10", "images=900_000", "average=20_000")
