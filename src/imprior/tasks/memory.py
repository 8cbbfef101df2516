"""Whether a model has learned training images by heart: how near its samples are to them.

    samples ──────────┐
    held-out images ──┼─► nearest of the training images, and the next 50 ──► distances of both, side by side
    training images ──┘

New images of the same kind are some distance from the training images; samples that are much nearer are copies. Most
telling are samples whose nearest training image stands out: far nearer than those after it.

Reference: Carlini et al. 2023, Extracting training data from diffusion models, section 5 (distances relative to those
of the next neighbours).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from imprior.metrics.nearest import nearest

NEXT = 50  # neighbours after the nearest, whose mean distance it is compared with
FLAGGED = 0.5  # a nearest image at less than this part of it stands out
QUANTILE = 0.01  # of the held-out images' distances, that samples are counted below


@dataclass(frozen=True)
class Memory:
    """How near samples are to training images, beside how near held-out images are.

    Attributes:
        space: where distances are taken: "pixels" or "features".
        median: distance to the nearest training image, of the samples.
        held_out_median: the same of real images that took no part in training.
        close: share of the samples that are nearer than 99 % of the held-out images; 0.01 is what chance gives.
        flagged: share of the samples whose nearest training image is at less than half the mean distance of the next
            50.
        held_out_flagged: the same of held-out images.
        relative: float64 [n], of each sample the distance to its nearest training image over the mean distance of the
            next 50.
        position: int64 [n], of that nearest training image.
    """

    space: Literal["pixels", "features"]
    median: float
    held_out_median: float
    close: float
    flagged: float
    held_out_flagged: float
    relative: Tensor
    position: Tensor

    @property
    def ratio(self) -> float:
        """Of the medians: 1 where samples are as far from training images as new images are, below 1 nearer."""
        return self.median / self.held_out_median if self.held_out_median else float("inf")

    def record(self) -> dict[str, Any]:
        """JSON values."""
        names = ("median", "held_out_median", "ratio", "close", "flagged", "held_out_flagged")
        return {name: getattr(self, name) for name in names}


def nearness(space: Literal["pixels", "features"], drawn: Tensor, held_out: Tensor, trained: Tensor) -> Memory:
    """Distances of samples and of held-out images to training images.

    Args:
        space: what the rows are.
        drawn: samples [n, D].
        held_out: real images [m, D] that took no part in training.
        trained: training images [M, D], at least 2.
    """
    k = min(1 + NEXT, len(trained))
    (ours, position), (theirs, _) = (nearest(x, trained, k=k) for x in (drawn, held_out))
    relative, their_relative = (d[:, 0] / d[:, 1:].mean(1).clamp_min(1e-12) for d in (ours, theirs))
    return Memory(
        space=space,
        median=float(ours[:, 0].median()),
        held_out_median=float(theirs[:, 0].median()),
        close=float((ours[:, 0] < theirs[:, 0].quantile(QUANTILE)).double().mean()),
        flagged=float((relative < FLAGGED).double().mean()),
        held_out_flagged=float((their_relative < FLAGGED).double().mean()),
        relative=relative,
        position=position[:, 0],
    )
