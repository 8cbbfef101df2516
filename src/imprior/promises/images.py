"""What tasks on images ask for: to decode, encode, score, draw, denoise, complete and classify them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

from imprior.promises.model import Model, Space


@dataclass(frozen=True)
class Score:
    """Minus log-likelihood of each image.

    Attributes:
        nats: [N] float64, nats per image (all pixels summed); lower is better.
        kind: "exact", or "bound" where -log p(x) is at most `nats` (in expectation over the draws).
        space: what p is a distribution over: "binary" or "8-bit" images (a probability) or "continuous" (a density).
        protocol: how it was computed, for people: "importance-weighted, 1000 samples".
    """

    nats: Tensor
    kind: Literal["exact", "bound"]
    space: Space
    protocol: str


class Distribution(Protocol):
    """A distribution over a batch of events; `sample` prepends one axis, `log_prob` sums over the event's axes."""

    @property
    def mean(self) -> Tensor:
        """[*batch, *event]."""
        ...

    def sample(self, n: int, rng: torch.Generator | None) -> Tensor:
        """Draw [n, *batch, *event], differentiably where the distribution is reparameterised."""
        ...

    def log_prob(self, value: Tensor) -> Tensor:
        """[..., *batch] nats, for value [..., *batch, *event]."""
        ...


class Posterior(Distribution, Protocol):
    """A distribution for each image of a batch; a slice picks images, so each can draw from its own generator."""

    def __getitem__(self, images: slice) -> Posterior:
        """The entries `images` of the first batch axis."""
        ...


@runtime_checkable
class Decodes(Model, Protocol):
    """Turns a latent into an image."""

    def latent(self, n: int, rng: torch.Generator) -> Tensor:
        """Draw n latents as the model believes them to be distributed: [n, …]."""
        ...

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """The mean image of each latent: [N, …] -> [N, C, H, W]."""
        ...


@runtime_checkable
class Encodes(Decodes, Protocol):
    """Turns an image into a latent as well."""

    def encode(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, …]; of a stochastic encoder, the mean."""
        ...


@runtime_checkable
class LatentVariable(Encodes, Protocol):
    """p(x) = ∫ p(z) p(x | z) dz with an approximate posterior q(z | x)."""

    def posterior(self, x: Tensor) -> Posterior:
        """q(z | x), a batch of N distributions over latents."""
        ...

    def prior(self) -> Distribution:
        """p(z), without a batch axis."""
        ...

    def likelihood(self, z: Tensor) -> Distribution:
        """p(x | z) for z [N, …], a batch of N distributions over images [C, H, W]."""
        ...


@runtime_checkable
class Scores(Model, Protocol):
    """Gives images a likelihood, or a bound on it."""

    def score(
        self, x: Tensor, labels: Tensor | None = None, samples: int = 1, rng: torch.Generator | None = None
    ) -> Score:
        """Minus log-likelihood in nats per image; `samples` draws where it is a bound by sampling."""
        ...


@runtime_checkable
class Samples(Model, Protocol):
    """Draws images."""

    def sample(self, n: int, rng: torch.Generator, labels: Tensor | None = None) -> Tensor:
        """n images [n, C, H, W] from the model's distribution (observation noise included)."""
        ...


@runtime_checkable
class Denoises(Model, Protocol):
    """Removes noise."""

    def denoise(self, y: Tensor, sigma: float | None = None) -> Tensor:
        """Noisy [N, C, H, W] (may leave [0, 1]) -> the clean image; `sigma`, if known, on the [0, 1] scale."""
        ...


@runtime_checkable
class DenoisesLocally(Denoises, Protocol):
    """Removes noise whose level is told pixel by pixel, looking at each pixel's surroundings only.

    So a picture can be cleaned in tiles: a tile that begins at multiples of `stride` and is cut with `reach` pixels
    more to each side (where the picture has them) gives the same pixels as the whole picture. `largest` is the
    strongest noise that the model was trained on, on the [0, 1] scale.
    """

    reach: int
    stride: int
    largest: float

    def denoise(self, y: Tensor, sigma: float | Tensor | None = None) -> Tensor:
        """As `Denoises`; `sigma` may be [N] or a map [N, 1, H, W] as well."""
        ...

    def noise(self, y: Tensor) -> Tensor:
        """Estimated sigma of each block of `stride` x `stride` pixels: [N, C, H, W] -> [N, 1, ⌈H/stride⌉, ⌈W/stride⌉].

        Estimates of single blocks are rough: average their squares over the region in which the noise is alike.
        """
        ...


@runtime_checkable
class Completes(Model, Protocol):
    """Fills in what is missing."""

    def complete(self, x: Tensor, known: Tensor, rng: torch.Generator) -> Tensor:
        """One completion of each x; `known` is bool [N, 1, H, W], and known pixels come back bit for bit."""
        ...


@runtime_checkable
class Classifies(Model, Protocol):
    """Tells which class an image is of, by features that distances between sets of images are measured in.

    `measure` is what the Fréchet distance in these features is called: "FD-mnist-v1".
    """

    measure: str

    def features(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, F], each of mean 0 and variance 1 over the training images."""
        ...

    def classify(self, x: Tensor) -> Tensor:
        """Log-probabilities of the classes: [N, C, H, W] -> [N, K]."""
        ...
