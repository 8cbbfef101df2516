"""Maximum likelihood: minus the log-likelihood of the images, or of a bound on it that the model gives itself.

    loss = mean over images of -log p(x | label)

One objective for every model that can tell the probability of an image in one differentiable pass: flows,
autoregressive and recurrent models, mixtures trained by gradients.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from imprior.parts import Batch, Parts


@runtime_checkable
class LogProb(Protocol):
    """Tells the log-probability of images, differentiably."""

    def log_prob(self, x: Tensor, labels: Tensor | None = None, *, rng: torch.Generator | None = None) -> Tensor:
        """[N, C, H, W] -> [N] nats: log p(x), or an estimate (by draws from `rng`) of a lower bound on it.

        In training mode a model may be noisy (dropout), with noise from `rng`.
        """
        ...


@dataclass(frozen=True)
class Likelihood:
    """The objective; it has no settings."""

    def __call__(
        self, model: LogProb, batch: Batch, *, rng: torch.Generator, progress: float, player: str | None = None
    ) -> Parts:
        """The loss of a batch, in nats per image.

        Args:
            model: what is trained; a conditional one is given the labels.
            batch: images.
            rng: for dequantisation and dropout.
            progress: not used; this objective is the same throughout.
            player: not used; this objective has one.

        Returns:
            Report: nats (minus the mean log-likelihood) and bits_per_dim (the same by log 2 and the pixels).
        """
        nats = -model.log_prob(batch.x, batch.labels, rng=rng).mean()
        pixels = batch.x[0].numel()
        return Parts(nats, {"nats": nats.detach(), "bits_per_dim": nats.detach() / (pixels * math.log(2))})
