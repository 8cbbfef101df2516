"""Distributions over images, each the p(x | z) of a decoder or the p(x) of a pixel model."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from imprior.distributions.draws import sum_event, uniform

EVENT = 3  # an event is an image [C, H, W]


class Bernoulli:
    """Independent binary pixels, by their logits.

    `log_prob` of a grey image is the usual cross-entropy, which is fine to train with but is no likelihood: it neither
    sums nor integrates to one over grey images. Scoring refuses grey images (`bounds.importance_bound`).

    Args:
        logits: [*batch, C, H, W], log p(1) / p(0) of each pixel, any real number.

    >>> Bernoulli(torch.zeros(1, 1, 2, 2)).log_prob(torch.ones(1, 1, 2, 2)).exp()
    tensor([0.0625])
    """

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits

    @property
    def mean(self) -> Tensor:
        """The probability of a one, [*batch, C, H, W]."""
        return self.logits.sigmoid()

    def sample(self, n: int, rng: torch.Generator | None) -> Tensor:
        """[n, *batch, C, H, W] of zeros and ones; not differentiable."""
        draws = uniform((n, *self.logits.shape), rng, self.logits)
        return (draws < self.mean).to(self.logits.dtype)

    def log_prob(self, value: Tensor) -> Tensor:
        """[..., *batch] nats; computed from the logits, so nothing overflows and nothing needs clamping."""
        logits = self.logits.expand_as(value)
        return -sum_event(F.binary_cross_entropy_with_logits(logits, value, reduction="none"), EVENT)
