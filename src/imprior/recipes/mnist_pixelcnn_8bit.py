"""Autoregressive model of grey digits: masked convolutions over 2x2 patches, black or a softmax over 255 levels."""

from imprior.data.settings import Data
from imprior.recipes import mnist_pixelcnn

# The inside of a stroke is 253, 254 or 252, and hardly ever anything else: a softmax learns that at once, a mixture of
# logistics slowly. Short trainings of 40,000 images reached 1.09 bits/dim at a rate of 0.002, 1.06 at 0.004 and 1.03 at
# 0.008; but a long one at 0.01 broke down after 100,000 and never recovered.
recipe = mnist_pixelcnn.recipe.variant(
    "mnist-pixelcnn-8bit",
    "model.network.width=80",
    "model.network.inner=40",
    "model.output=categorical",
    "optimiser.rate=4e-3",
    "images=1_500_000",
    "average=30_000",
    data=Data(),
)
