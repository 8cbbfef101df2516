"""The generative adversarial network: a generator that is trained against a critic, not by a likelihood.

    z ~ N(0, 1) ──┬──► generator ──► sigmoid ──► x ──► critic ──► features φ ──► output
    label ──► e ──┘                                     label ──► e′ ───┘
    [N,latent]        [N,C,H,W]                         [N,features]             [N]

Sharp images in one pass, but no encoder and no likelihood. The critic exists in training only. What is minimised by
either player is elsewhere (objectives.adversarial).

References: Goodfellow et al. 2014, Generative adversarial nets; Miyato & Koyama 2018, cGANs with projection
discriminator; Huang et al. 2024, The GAN is dead; long live the GAN!
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from imprior.distributions.draws import normal
from imprior.errors import RecipeError
from imprior.models.labelled import checked, drawn
from imprior.nn.generator import Residual
from imprior.promises import Shape


@dataclass(frozen=True)
class Config:
    """Settings of a GAN.

    Attributes:
        shape: (channels, height, width) of the images; zeros are filled in from the data.
        network: generator and critic.
        latent: numbers that an image is made from.
        classes: labels that it is told, 2 or more; None for none.
        embedding: numbers that stand for a label before the generator.
    """

    shape: tuple[int, int, int] = (0, 0, 0)
    network: Residual = field(default_factory=Residual)
    latent: int = 64
    classes: int | None = None
    embedding: int = 32

    def __post_init__(self) -> None:
        if self.latent < 1 or self.embedding < 1:
            raise RecipeError(f"latent {self.latent} and embedding {self.embedding} must be at least 1")
        if self.classes is not None and self.classes < 2:
            raise RecipeError(f"classes is 2 or more, or none; not {self.classes}")

    def build(self) -> GAN:
        """The model, with fresh weights."""
        return GAN(self)


class GAN(nn.Module):
    """Keeps Decodes and Samples."""

    levels: int | None = 256
    training_only = ("critic",)

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.shape: Shape = config.shape
        self.classes = config.classes
        self.temperature = 1.0
        embedding = 0
        if config.classes is not None:
            embedding = config.embedding
            self.embedding = nn.Embedding(config.classes, embedding)
        self.generator = config.network.generator(config.latent + embedding, config.shape)
        self.critic = Critic(config)

    def players(self) -> dict[str, Iterable[nn.Parameter]]:
        """Whose turn it is to step, in order, and what each may change."""
        critic = list(self.critic.parameters())
        theirs = {id(p) for p in critic}
        return {"critic": critic, "generator": [p for p in self.parameters() if id(p) not in theirs]}

    def latent(self, n: int, rng: torch.Generator) -> Tensor:
        """Draw n codes [n, latent] from N(0, temperature²)."""
        return self.temperature * normal((n, self.config.latent), rng, next(self.parameters()))

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """The image of each code: [N, latent] -> [N, C, H, W] in [0, 1].

        Raises:
            DataError: a conditional model without labels, or with labels that it does not know.
        """
        labels = checked(labels, len(z), self.classes)
        inputs = z if labels is None else torch.cat((z, self.embedding(labels)), 1)
        return self.generator(inputs).to(z.dtype).sigmoid()  # type: ignore[no-any-return]

    def sample(self, n: int, rng: torch.Generator, labels: Tensor | None = None) -> Tensor:
        """Draw n images [n, C, H, W], on 8-bit levels; for labels of all classes alike where none are given.

        Raises:
            DataError: labels that the model does not know.
        """
        return (self.generate(n, rng, drawn(labels, n, self.classes, rng)) * 255).round() / 255

    def generate(self, n: int, rng: torch.Generator, labels: Tensor | None) -> Tensor:
        """n images [n, C, H, W] in [0, 1], differentiably."""
        return self.decode(self.latent(n, rng), labels)

    def judge(self, x: Tensor, labels: Tensor | None) -> Tensor:
        """The critic's output: [N, C, H, W] -> [N]."""
        return self.critic(x, checked(labels, len(x), self.classes))  # type: ignore[no-any-return]

    def judge_and_classify(self, x: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor]:
        """The critic's output, and for what label it takes an image, of which that output is the logit.

        Returns:
            ([N], log-probabilities [N, classes]) of [N, C, H, W].

        Raises:
            RecipeError: a model that is told no labels.
        """
        if self.classes is None:
            raise RecipeError("a GAN without labels can't be asked for them: set model.classes, or objective.labels=0")
        labels = checked(labels, len(x), self.classes)
        each = self.critic.of_each_label(x)
        assert labels is not None
        return each.gather(1, labels.view(-1, 1)).squeeze(1), each.float().log_softmax(1)


class Critic(nn.Module):
    """w · φ(x), and e(label) · φ(x) / √features on top for a conditional one (Miyato & Koyama 2018, eq. 5)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        width = config.network.features
        self.features = config.network.critic(config.shape)
        self.output = nn.Parameter(torch.randn(width) / math.sqrt(width))
        if config.classes is not None:
            self.embedding = nn.Embedding(config.classes, width)

    def forward(self, x: Tensor, labels: Tensor | None) -> Tensor:
        """[N, C, H, W] and labels [N] -> [N]."""
        features = self.features(2 * x - 1)  # [N,F]
        if labels is None:
            return features @ self.output  # type: ignore[no-any-return]
        weights = self.output + self.embedding(labels) / math.sqrt(len(self.output))
        return (features * weights).sum(1)  # type: ignore[no-any-return]

    def of_each_label(self, x: Tensor) -> Tensor:
        """The output for every label that an image could have: [N, C, H, W] -> [N, classes]."""
        weights = self.output + self.embedding.weight / math.sqrt(len(self.output))
        return self.features(2 * x - 1) @ weights.T  # type: ignore[no-any-return]
