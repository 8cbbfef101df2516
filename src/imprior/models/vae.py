"""The variational autoencoder: a latent-variable model that is trained together with an approximate posterior.

    x ──► encoder ──► (mean, log_variance) ──► z = mean + std·ε ──► decoder ──► likelihood p(x | z)
    [N,C,H,W]  →  [N,2·latent]                  [N,latent] ~ prior p(z)          [N,C,H,W]

Prior and likelihood are parts: `model.prior=vamp`, `model.likelihood=gaussian` exchange them, `model.prior.couplings=8`
sets what they have. What is minimised is elsewhere (objectives.elbo), and so are the bounds (bounds.py).

Reference: Kingma & Welling 2014, Auto-encoding variational Bayes; Rezende, Mohamed & Wierstra 2014, Stochastic
backpropagation and approximate inference in deep generative models.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from imprior.distributions.gaussian import DiagonalGaussian
from imprior.errors import RecipeError
from imprior.models.latent import LatentModel, check_range
from imprior.models.observations import AnyLikelihood, Bernoulli
from imprior.models.priors import AnyPrior, Standard
from imprior.nn.convolutional import Convolutional
from imprior.nn.dense import Dense
from imprior.promises import Distribution, check_shape


@dataclass(frozen=True)
class Config:
    """Settings of a VAE.

    Attributes:
        shape: (channels, height, width) of the images; zeros are filled in from the data.
        network: encoder and decoder.
        latent: numbers in a code; of a spatial network, channels of the code's grid.
        likelihood: p(x | z); it decides what the model's scores are over (binary, 8-bit or continuous images).
        prior: p(z).
        log_variance: the posterior's log-variances are kept in this range. The upper end lets no unit drown the
            decoder in noise early on, the lower end keeps exp(-log_variance) tame; both are rarely reached later.
    """

    shape: tuple[int, int, int] = (0, 0, 0)
    network: Dense | Convolutional = field(default_factory=lambda: Dense((400, 400), block="gated"))
    latent: int = 48
    likelihood: AnyLikelihood = field(default_factory=Bernoulli)
    prior: AnyPrior = field(default_factory=Standard)
    log_variance: tuple[float, float] = (-7.0, 2.0)

    def __post_init__(self) -> None:
        if self.latent < 1:
            raise RecipeError(f"latent must be at least 1, not {self.latent}")
        check_range(self.log_variance)

    def build(self) -> VAE:
        """The model, with fresh weights."""
        return VAE(self)


class VAE(LatentModel):
    """Keeps LatentVariable, Scores, Samples, Denoises, Codes and Calibrates."""

    def __init__(self, config: Config) -> None:
        super().__init__(config.shape, config.likelihood)
        self.config = config
        self.code_shape = config.network.code_shape(config.shape, config.latent)
        self.encoder = config.network.encoder(config.shape, 2 * config.latent)
        self.decoder = config.network.decoder(config.latent, config.shape, config.likelihood.channels(config.shape[0]))
        self.prior_module = config.prior.build(self.code_shape, config.shape)

    def posterior(self, x: Tensor) -> DiagonalGaussian:
        """q(z | x): [N, C, H, W] -> a batch of N Gaussians over codes.

        Raises:
            DataError: images of another shape than the model's.
        """
        check_shape(x, self.shape)
        mean, log_variance = self.encoder(x).to(x.dtype).chunk(2, 1)
        low, high = self.config.log_variance
        return DiagonalGaussian(mean, log_variance.clamp(low, high), event_dims=len(self.code_shape))

    def prior(self) -> Distribution:
        """p(z)."""
        return self.prior_module(self.posterior)  # type: ignore[no-any-return]

    def likelihood(self, z: Tensor) -> Distribution:
        """p(x | z) for z [N, …]: a batch of N distributions over images."""
        return self.observation(self.decoder(z).to(z.dtype))  # type: ignore[no-any-return]
