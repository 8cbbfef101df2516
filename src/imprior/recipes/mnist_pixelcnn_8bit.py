"""Autoregressive model of grey digits: masked convolutions over 2x2 patches, a softmax over 256 levels."""

from imprior.data.settings import Data
from imprior.recipes import mnist_pixelcnn

# The inside of a stroke is 253, 254 or 252, and hardly ever anything else: a softmax learns that at once. After 12,800
# images it was at 1.27 bits/dim, a mixture of five logistics with black and white apart at 1.44.
recipe = mnist_pixelcnn.recipe.variant(
    "mnist-pixelcnn-8bit", "model.output=categorical", "images=1_500_000", "average=30_000", data=Data()
)
