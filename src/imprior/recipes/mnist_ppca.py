"""Probabilistic PCA of digits with 32 components: a latent-variable model whose likelihood is exact."""

from imprior.models import pca
from imprior.recipes import mnist_pca

recipe = mnist_pca.recipe.variant("mnist-ppca", model=pca.Config(latent=32, probabilistic=True))
