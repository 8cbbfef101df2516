"""Autoregressive model of grey digits: masked convolutions over 2x2 patches, black or a softmax over 255 levels."""

from imprior.data.settings import Data
from imprior.recipes import mnist_pixelcnn

# The inside of a stroke is 253, 254 or 252, and hardly ever anything else: a softmax learns that at once, a mixture of
# logistics slowly. Short trainings were the better, the higher the rate, up to 0.012; but a long one at 0.01 broke down
# after 100,000 images and never recovered.
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
