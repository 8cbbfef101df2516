"""Autoregressive model of grey digits: masked convolutions over 2x2 patches, logistic mixtures for 8-bit levels."""

from imprior.data.settings import Data
from imprior.recipes import mnist_pixelcnn

recipe = mnist_pixelcnn.recipe.variant("mnist-pixelcnn-8bit", "model.output=logistics", "images=2_400_000", data=Data())
