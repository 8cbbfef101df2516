"""Classification: minus the log-probability of the right class.

    loss = mean over images of -Σ_k t_k log p(k | x)        t_k = smoothing / K, and 1 - smoothing more for the label

Reference: Szegedy et al. 2016, Rethinking the Inception architecture (section 7, label smoothing).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.functional import cross_entropy

from imprior.errors import DataError, RecipeError
from imprior.parts import Batch, Parts
from imprior.promises import Classifies


@dataclass(frozen=True)
class Classification:
    """Settings of the objective, which is also the objective: call it.

    Attributes:
        smoothing: probability that is taken from the label and shared by all classes; 0 for none.
    """

    smoothing: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.smoothing < 1:
            raise RecipeError(f"smoothing is from 0 to below 1, not {self.smoothing}")

    def __call__(
        self, model: Classifies, batch: Batch, *, rng: torch.Generator, progress: float, player: str | None = None
    ) -> Parts:
        """The loss of a batch, in nats per image.

        Args:
            model: what is trained.
            batch: images with labels.
            rng: not used; nothing here is drawn.
            progress: not used; this objective is the same throughout.
            player: not used; this objective has one.

        Returns:
            Report: nats (without smoothing) and accuracy.

        Raises:
            DataError: images without labels, or of more classes than the model's.
        """
        labels = batch.labels
        if labels is None:
            raise DataError("a classifier wants labels, but the images have none (class subfolders give them)")
        log_p = model.classify(batch.x)  # [N,K]
        if int(labels.max()) >= log_p.shape[1]:
            raise DataError(
                f"label {int(labels.max())}, but the model is for {log_p.shape[1]} classes: set model.classes"
            )
        # Of log-probabilities: taking their softmax once more changes nothing.
        loss = cross_entropy(log_p, labels, label_smoothing=self.smoothing)
        right = log_p.detach().argmax(1) == labels
        nats = cross_entropy(log_p.detach(), labels)
        return Parts(loss, {"nats": nats, "accuracy": right.float().mean()})
