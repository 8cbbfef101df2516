"""The adversarial autoencoder: a deterministic code whose distribution over all images is made a standard normal.

    x ──► encoder ──► z ──► decoder ──► logits ──► mean                   [N,C,H,W] → [N,latent] → [N,C,H,W]
                      │
    N(0, 1) draws ────┴──► critic ──► log-ratio of draws to codes        [N,latent] → [N,1]

A plain autoencoder leaves holes between its codes; here draws from N(0, 1) land where codes are, so it can sample.
What makes codes normal is the objective's: a critic that tells codes from draws (objectives.latent_matching.Critic),
which only training needs, or a kernel without any critic (objectives.latent_matching.Kernel, the Wasserstein
autoencoder).

References: Makhzani et al. 2015, Adversarial autoencoders; Tolstikhin et al. 2018, Wasserstein auto-encoders.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from imprior.distributions.draws import normal
from imprior.errors import RecipeError
from imprior.models.autoencoder import Coder
from imprior.nn.convolutional import Convolutional
from imprior.nn.dense import Dense
from imprior.promises import Shape


@dataclass(frozen=True)
class Config:
    """Settings of an adversarial autoencoder.

    Attributes:
        shape: (channels, height, width) of the images; zeros are filled in from the data.
        network: encoder and decoder; codes are vectors, so it can't be spatial.
        latent: numbers in a code. More of them than images vary by can't become a normal distribution: a
            deterministic encoder would have to fill dimensions that are not there.
        critic: units of the critic's hidden layers; () for none, where a kernel matches the codes.
        output: what the image goes through; `sigmoid` keeps it in [0, 1] and allows cross-entropy.
    """

    shape: tuple[int, int, int] = (0, 0, 0)
    network: Dense | Convolutional = field(default_factory=lambda: Dense((400, 400), block="gated"))
    latent: int = 16
    critic: tuple[int, ...] = (256, 256)
    output: Literal["sigmoid", "linear"] = "sigmoid"

    def __post_init__(self) -> None:
        if self.latent < 1:
            raise RecipeError(f"latent must be at least 1, not {self.latent}")
        if any(width < 1 for width in self.critic):
            raise RecipeError(f"critic {self.critic}: each width must be at least 1")
        if self.network.spatial:
            raise RecipeError("codes that are drawn from N(0, 1) are vectors: set model.network.spatial=false")

    def build(self) -> AdversarialAutoencoder:
        """The model, with fresh weights."""
        return AdversarialAutoencoder(self)


class AdversarialAutoencoder(Coder):
    """Keeps Encodes, Samples, Codes and Calibrates."""

    training_only = ("critic",)

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config, self.output = config, config.output
        self.shape: Shape = config.shape
        self.encoder = config.network.encoder(config.shape, config.latent)
        self.decoder = config.network.decoder(config.latent, config.shape, config.shape[0])
        stack = Dense(config.critic, activation="silu")
        self.critic = stack.encoder((config.latent, 1, 1), 1) if config.critic else None

    def players(self) -> dict[str, list[nn.Parameter]]:
        """Who is trained in turn: the critic first, where there is one, then encoder and decoder."""
        coder = [*self.encoder.parameters(), *self.decoder.parameters()]
        return (
            {"autoencoder": coder}
            if self.critic is None
            else {"critic": [*self.critic.parameters()], "autoencoder": coder}
        )

    def judge(self, z: Tensor) -> Tensor:
        """The critic's log-ratio of draws to codes: [N, latent] -> [N], above 0 where it takes z for a draw.

        Raises:
            RecipeError: the model has no critic.
        """
        if self.critic is None:
            raise RecipeError("this autoencoder has no critic: set model.critic=256,256")
        return self.critic(z).squeeze(1)  # type: ignore[no-any-return]

    def latent(self, n: int, rng: torch.Generator) -> Tensor:
        """Draw n codes from N(0, 1): [n, latent]."""
        like = next(self.parameters())
        return normal((n, self.config.latent), rng, like)
