"""PCA of digits with 32 components, in closed form: what autoencoders are measured against."""

from imprior.data.settings import Data
from imprior.models import pca
from imprior.recipes import Recipe
from imprior.training.settings import Fit

recipe = Recipe(name="mnist-pca", data=Data(), model=pca.Config(latent=32), training=Fit())
