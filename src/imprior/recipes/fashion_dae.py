"""The denoising autoencoder for clothes under Gaussian noise of 0.5"""

from dataclasses import replace

from imprior.recipes import mnist_dae

recipe = replace(mnist_dae.recipe, name="fashion-dae")
