"""A small classifier of clothes, in whose features samples of clothes are measured (FD-fashion-v1)."""

from imprior.recipes import mnist_classifier

recipe = mnist_classifier.recipe.variant("fashion-classifier", "model.measure=FD-fashion-v1")
