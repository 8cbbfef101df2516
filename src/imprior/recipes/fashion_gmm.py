"""Mixture of 60 Gaussians of rank 10 over clothes, by expectation-maximisation."""

from imprior.recipes import mnist_gmm

recipe = mnist_gmm.recipe.variant("fashion-gmm")
