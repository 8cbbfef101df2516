"""PCA of clothes with 32 components."""

from imprior.recipes import mnist_pca

recipe = mnist_pca.recipe.variant("fashion-pca")
