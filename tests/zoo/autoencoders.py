"""Autoencoders, variational ones, and what is fitted in closed form."""

from __future__ import annotations

from imprior.models import autoencoder, pca, vae
from imprior.models.priors import Flow
from imprior.nn.convolutional import Convolutional
from imprior.nn.dense import Dense
from imprior.objectives.elbo import Elbo
from imprior.objectives.reconstruction import Reconstruction
from zoo.example import Example

CODED = ("Decodes", "Encodes", "Samples", "Codes")
LATENT = ("Decodes", "Encodes", "LatentVariable", "Scores", "Samples", "Denoises", "Codes")

EXAMPLES = {
    "autoencoder": Example(autoencoder.Config((1, 6, 5), Dense((12,)), 3), CODED, (Reconstruction(),)),
    "autoencoder-grid": Example(
        autoencoder.Config((3, 8, 8), Convolutional((4, 6), blocks=1, spatial=True), 2, denoises=True),
        ("Decodes", "Encodes", "Samples", "Denoises", "Codes"),
        (Reconstruction(),),
    ),
    "vae": Example(
        vae.Config((1, 3, 3), Dense((12,)), 2, prior=Flow(couplings=2, hidden=6)),
        LATENT,
        (Elbo(), Elbo(importance=3, importance_from=0.0)),
    ),
    "pca": Example(pca.Config((1, 6, 5), 3), CODED),
    "probabilistic-pca": Example(
        pca.Config((1, 6, 5), 3, probabilistic=True),
        ("Decodes", "Encodes", "LatentVariable", "Scores", "Samples", "Codes"),
        exact=True,
    ),
}
