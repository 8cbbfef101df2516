"""Autoencoders, variational ones, and what is fitted in closed form."""

from __future__ import annotations

from imprior.models import autoencoder, observations, pca, priors, vae
from imprior.nn.convolutional import Convolutional
from imprior.nn.dense import Dense
from imprior.objectives.elbo import Elbo
from imprior.objectives.reconstruction import Reconstruction
from zoo.example import Example

CODED = ("Decodes", "Encodes", "Samples", "Codes")
DENOISES = ("Decodes", "Encodes", "Samples", "Denoises", "Codes")
LATENT = ("Decodes", "Encodes", "LatentVariable", "Scores", "Samples", "Denoises", "Codes")

SHAPE = (1, 10, 9)
COLOUR = (3, 8, 8)
BITS = (1, 3, 3)
DENSE = Dense((12,))
CONV = Convolutional((4, 6), blocks=1, width=8)
GRID = Convolutional((4, 6), blocks=1, spatial=True)

AUTOENCODERS = {
    "ae-linear": autoencoder.Config(SHAPE, Dense(()), 5, output="linear"),
    "ae-relu": autoencoder.Config(SHAPE, Dense(()), 5, code="relu"),
    "ae-deep": autoencoder.Config(SHAPE, Dense((16, 12), block="residual"), 5, code="tanh"),
    "ae-conv": autoencoder.Config(SHAPE, CONV, 5),
    "ae-colour": autoencoder.Config(COLOUR, CONV, 5, code="sigmoid"),
    "ae-grid": autoencoder.Config((1, 8, 8), GRID, 2),
    "dae": autoencoder.Config(SHAPE, CONV, 5, denoises=True),
    "dae-grid": autoencoder.Config(COLOUR, GRID, 5, denoises=True),
}
VAES = {
    "vae": vae.Config(BITS, Dense((12,), block="gated"), 2, log_variance=(-1.0, 2.0)),
    "vae-flow": vae.Config(BITS, DENSE, 2, prior=priors.Flow(couplings=3, hidden=6, layers=1)),
    "vae-mixture": vae.Config(BITS, DENSE, 2, prior=priors.Mixture(4)),
    "vae-vamp": vae.Config(BITS, DENSE, 2, prior=priors.Vamp(4)),
    "vae-continuous-bernoulli": vae.Config(SHAPE, DENSE, 3, observations.ContinuousBernoulli()),
    "vae-fixed": vae.Config(SHAPE, DENSE, 3, observations.Gaussian("fixed")),
    "vae-shared": vae.Config(SHAPE, DENSE, 3, observations.Gaussian("shared")),
    "vae-image": vae.Config(SHAPE, DENSE, 3, observations.Gaussian("image")),
    "vae-pixel": vae.Config(SHAPE, DENSE, 3, observations.Gaussian("pixel")),
    "vae-linear-output": vae.Config(SHAPE, DENSE, 3, observations.Gaussian("pixel", output="linear")),
    "vae-logistic": vae.Config(SHAPE, DENSE, 3, observations.LogisticMixture(2)),
    "vae-conv": vae.Config(SHAPE, CONV, 3, prior=priors.Flow(couplings=2, hidden=6)),
    "vae-grid": vae.Config(SHAPE, GRID, 2),
    "vae-grid-vamp": vae.Config(SHAPE, GRID, 2, prior=priors.Vamp(3)),
    "vae-colour-logistic": vae.Config(COLOUR, CONV, 3, observations.LogisticMixture(2)),
    "vae-colour-pixel": vae.Config(COLOUR, GRID, 3, observations.Gaussian("pixel")),
}


def _coder(config: autoencoder.Config) -> Example:
    objectives = [Reconstruction()] + ([Reconstruction("cross-entropy")] if config.output == "sigmoid" else [])
    return Example(config, DENOISES if config.denoises else CODED, tuple(objectives))


EXAMPLES = {name: _coder(config) for name, config in AUTOENCODERS.items()}
EXAMPLES |= {
    name: Example(config, LATENT, (Elbo(), Elbo(importance=3, importance_from=0.0))) for name, config in VAES.items()
}
EXAMPLES |= {
    "pca": Example(pca.Config((1, 6, 5), 3), CODED),
    "probabilistic-pca": Example(
        pca.Config((1, 6, 5), 3, probabilistic=True),
        ("Decodes", "Encodes", "LatentVariable", "Scores", "Samples", "Codes"),
        exact=True,
    ),
}
