"""The autoencoder: an image through a code that is smaller than it, and back.

    x ──► encoder ──► z ──► decoder ──► logits ──► mean                   [N,C,H,W] → [N,latent] → [N,C,H,W]

It has no prior: how codes are distributed is fitted afterwards (`calibrate`), so that it can sample like the others.
Of a spatial network the code is a grid [N, latent, h, w], and images may have any size. Trained to undo a corruption,
it is a denoising autoencoder. What is minimised is elsewhere (objectives.reconstruction).

References: Hinton & Salakhutdinov 2006, Reducing the dimensionality of data with neural networks; Vincent et al. 2008,
Extracting and composing robust features with denoising autoencoders; Ghosh et al. 2020, From variational to
deterministic autoencoders (a density fitted to the codes).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from imprior.distributions.draws import normal
from imprior.errors import RecipeError
from imprior.models.coded import CodesLatents
from imprior.nn.convolutional import Convolutional
from imprior.nn.dense import Dense
from imprior.promises import Shape, check_shape

# What a code goes through, with the interval in which it then lies.
CODES: dict[str, tuple[type[nn.Module], float, float]] = {
    "linear": (nn.Identity, -float("inf"), float("inf")),
    "relu": (nn.ReLU, 0.0, float("inf")),
    "sigmoid": (nn.Sigmoid, 0.0, 1.0),
    "tanh": (nn.Tanh, -1.0, 1.0),
}


@dataclass(frozen=True)
class Config:
    """Settings of an autoencoder.

    Attributes:
        shape: (channels, height, width) of the training images; zeros are filled in from the data.
        network: encoder and decoder.
        latent: numbers in a code; of a spatial network, channels of the code's grid.
        code: what the code goes through.
        output: what the image goes through; `sigmoid` keeps it in [0, 1] and allows cross-entropy.
        denoises: whether it is trained to undo a corruption, and so keeps the promise `Denoises`.
    """

    shape: tuple[int, int, int] = (0, 0, 0)
    network: Dense | Convolutional = field(default_factory=Dense)
    latent: int = 32
    code: Literal["linear", "relu", "sigmoid", "tanh"] = "linear"
    output: Literal["sigmoid", "linear"] = "sigmoid"
    denoises: bool = False

    def __post_init__(self) -> None:
        if self.latent < 1:
            raise RecipeError(f"latent must be at least 1, not {self.latent}")

    def build(self) -> Autoencoder:
        """The model, with fresh weights."""
        return DenoisingAutoencoder(self) if self.denoises else Autoencoder(self)


class Coder(CodesLatents):
    """An encoder and a decoder, and what follows from them; a subclass builds both and says how codes are drawn.

    Keeps Encodes, Samples, Codes and Calibrates.
    """

    levels: int | None = 256
    classes: int | None = None
    output: Literal["sigmoid", "linear"]  # what decoded images go through
    encoder: nn.Module
    decoder: nn.Module

    def encode(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, …].

        Raises:
            DataError: images of another shape than the model's.
        """
        check_shape(x, self.shape)
        return self.encoder(x).to(x.dtype)  # type: ignore[no-any-return]

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """[N, …] -> [N, C, H, W]; of a spatial network, sides are the code's times the stride: crop to the image."""
        output = self.decoder(z).to(z.dtype)
        return output.sigmoid() if self.output == "sigmoid" else output  # type: ignore[no-any-return]

    def logits(self, z: Tensor) -> Tensor:
        """log p / (1 - p) of the decoded pixels p, from before the sigmoid: [N, …] -> [N, C, H, W].

        Raises:
            RecipeError: the output is linear, so there are none.
        """
        if self.output != "sigmoid":
            raise RecipeError("this autoencoder's output has no logits: set model.output=sigmoid")
        return self.decoder(z).to(z.dtype)  # type: ignore[no-any-return]

    if TYPE_CHECKING:  # a subclass has it

        def latent(self, n: int, rng: torch.Generator) -> Tensor: ...  # noqa: D102

    def sample(self, n: int, rng: torch.Generator, labels: Tensor | None = None) -> Tensor:
        """Draw n images: the decoded images of n codes, without observation noise."""
        return self.decode(self.latent(n, rng))


class Autoencoder(Coder):
    """Keeps Encodes, Samples, Codes and Calibrates."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config, self.output = config, config.output
        channels = config.shape[0]
        spatial = config.network.spatial
        self.shape: Shape = (channels, None, None) if spatial else config.shape
        self.code_shape = config.network.code_shape(config.shape, config.latent)
        self.encoder = config.network.encoder(config.shape, config.latent)
        self.squash = CODES[config.code][0]()
        self.decoder = config.network.decoder(config.latent, (channels, 0, 0) if spatial else config.shape, channels)
        self.codes = CodeGaussian(config.latent)

    def encode(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, latent], or [N, latent, ceil(H / stride), ceil(W / stride)] of a spatial network.

        Raises:
            DataError: images of another shape than the model's.
        """
        return self.squash(super().encode(x))  # type: ignore[no-any-return]

    def calibrate(self, batches: Sequence[Tensor]) -> None:
        """Fit the distribution of codes, and the tables to compress with, to training images [N, C, H, W]."""
        self.codes.fit(self.encode, batches)
        super().calibrate(batches)

    def latent(self, n: int, rng: torch.Generator) -> Tensor:
        """Draw n codes from the Gaussian fitted to the training codes; N(0, 1) before that."""
        _, low, high = CODES[self.config.code]
        return self.codes.sample((n, *self.code_shape), rng).clamp(low, high)


class DenoisingAutoencoder(Autoencoder):
    """Keeps Denoises as well."""

    def denoise(self, y: Tensor, sigma: float | None = None) -> Tensor:
        """Noisy [N, C, H, W] -> clean; for noise as in training, so `sigma` is not used."""
        return self.decode(self.encode(y))[..., : y.shape[-2], : y.shape[-1]]


class CodeGaussian(nn.Module):
    """A Gaussian with full covariance fitted to codes.

    Of grids it is over the channels, alike and independent at each place: small, and good for grids of any size,
    but pictures drawn from it have no large structure.
    """

    mean: Tensor
    factor: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("factor", torch.eye(dim))

    @torch.no_grad()
    def fit(self, encode: Callable[[Tensor], Tensor], batches: Sequence[Tensor]) -> None:
        """Take mean and covariance, in float64, of the codes [N, dim] or [N, dim, h, w] of batches of images."""
        count, total, outer = 0, self.mean.double() * 0, self.factor.double() * 0
        for x in batches:
            z = encode(x.to(self.mean)).movedim(1, -1).flatten(0, -2).double()  # [N,dim] or [N,dim,h,w] → [M,dim]
            count, total, outer = count + len(z), total + z.sum(0), outer + z.T @ z
        mean = total / count
        values, vectors = torch.linalg.eigh(outer / count - mean[:, None] * mean)
        # Not by Cholesky: a code with idle units (ReLU) has a singular covariance.
        self.mean.copy_(mean)
        self.factor.copy_(vectors * values.clamp(min=0).sqrt())

    def sample(self, shape: tuple[int, ...], rng: torch.Generator) -> Tensor:
        """Draw codes of `shape` [n, dim] or [n, dim, h, w]."""
        noise = normal(shape, rng, self.mean).movedim(1, -1)
        return (self.mean + noise @ self.factor.T).movedim(-1, 1)
