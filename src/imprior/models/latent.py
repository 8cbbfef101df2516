"""What follows for every latent-variable model from posterior, prior and likelihood alone."""

from __future__ import annotations

import torch
from torch import Tensor

from imprior import bounds
from imprior.errors import RecipeError
from imprior.models.coded import CodesLatents
from imprior.models.observations import AnyLikelihood
from imprior.promises import Distribution, Posterior, Score, Shape, space_of
from imprior.randomness import generator


def check_range(log_variance: tuple[float, float]) -> None:
    """Refuse a range of log-variances that is none.

    Raises:
        RecipeError: not two rising numbers.
    """
    if len(log_variance) != 2 or log_variance[0] >= log_variance[1]:
        raise RecipeError(f"log_variance must be two rising numbers, not {log_variance}")


class LatentModel(CodesLatents):
    """Codes, images, draws and bounds of a model whose subclass has `posterior`, `prior` and `likelihood`.

    Keeps LatentVariable, Scores, Samples, Denoises, Codes and Calibrates.
    """

    classes: int | None = None

    def __init__(self, shape: tuple[int, int, int], likelihood: AnyLikelihood) -> None:
        super().__init__()
        self.shape: Shape = shape
        self.levels: int | None = likelihood.levels
        self.observation = likelihood.build(shape[0])

    def posterior(self, x: Tensor) -> Posterior:
        """q(z | x)."""
        raise NotImplementedError

    def prior(self) -> Distribution:
        """p(z)."""
        raise NotImplementedError

    def likelihood(self, z: Tensor) -> Distribution:
        """p(x | z)."""
        raise NotImplementedError

    def encode(self, x: Tensor) -> Tensor:
        """The posterior's mean: [N, C, H, W] -> [N, …]."""
        return self.posterior(x).mean

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """The likelihood's mean: [N, …] -> [N, C, H, W]."""
        return self.likelihood(z).mean

    def latent(self, n: int, rng: torch.Generator) -> Tensor:
        """Draw n codes from the prior."""
        return self.prior().sample(n, rng)

    def sample(self, n: int, rng: torch.Generator, labels: Tensor | None = None) -> Tensor:
        """Draw n images: z ~ p(z), then x ~ p(x | z)."""
        return self.likelihood(self.latent(n, rng)).sample(1, rng)[0]

    def denoise(self, y: Tensor, sigma: float | None = None) -> Tensor:
        """The mean image of the noisy image's mean code; `sigma` is not used."""
        return self.decode(self.encode(y))

    @torch.no_grad()
    def score(
        self, x: Tensor, labels: Tensor | None = None, samples: int = 1, rng: torch.Generator | None = None
    ) -> Score:
        """Bound on minus log p(x): minus the ELBO for one sample, the importance-weighted bound for more.

        Args:
            x: [N, C, H, W]; exactly 0 or 1 for a Bernoulli likelihood, whole 8-bit levels for a logistic mixture.
            labels: not used.
            samples: draws of z for each image.
            rng: where they come from; a fixed seed if None.

        Raises:
            DataError: grey values given to a likelihood over binary images, or values between the 8-bit levels.
        """
        bounds.check_levels(x, self.levels)
        rng = rng if rng is not None else generator(0, "score", device=x.device)
        if samples == 1:
            parts = bounds.elbo(self, x, rng=rng, own_noise=True)  # whatever batch an image stands in
            return Score(-parts.bound.double(), "bound", space_of(self), "ELBO, 1 sample")
        nats = bounds.importance_bound(self, x, samples=samples, rng=rng)
        return Score(nats, "bound", space_of(self), f"importance-weighted, {samples} samples")
