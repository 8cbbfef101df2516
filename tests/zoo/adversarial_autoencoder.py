"""Autoencoders whose codes are made to follow N(0, 1)."""

from __future__ import annotations

from imprior.models import adversarial_autoencoder
from imprior.nn.convolutional import Convolutional
from imprior.nn.dense import Dense
from imprior.objectives.latent_matching import Critic, Kernel
from zoo.autoencoders import CODED
from zoo.example import Example

EXAMPLES = {
    "adversarial-autoencoder": Example(
        adversarial_autoencoder.Config((1, 6, 5), Dense((12,)), 3, critic=(8, 8)),
        CODED,
        (Critic(), Critic(error="cross-entropy")),
    ),
    "wasserstein-autoencoder": Example(
        adversarial_autoencoder.Config(
            (3, 7, 8), Convolutional((4, 6), blocks=1, width=0), 3, critic=(), output="linear"
        ),
        CODED,
        (Kernel(),),
    ),
}
