"""mnist-gan on Fashion-MNIST, whose classes are nearer to each other: with the term of labels."""

from imprior.recipes import mnist_gan

recipe = mnist_gan.recipe.variant("fashion-gan", "objective.labels=0.15")
