"""What travels between data, objectives and the training loop: a batch in, the parts of a loss out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Images on their way to an objective.

    Attributes:
        x: clean images, float32 [N, C, H, W] in [0, 1].
        labels: int64 [N], or None where the data have none.
        corrupted: what a denoiser is given, [N, C, H, W] (may leave [0, 1]), or None where nothing is corrupted.
        sigma: the strength of each image's corruption ([0, 1] scale), [N] or as a map [N, 1, H, W], or None.
        index: int64 [N], positions in the data set.
    """

    x: Tensor
    labels: Tensor | None
    corrupted: Tensor | None
    sigma: Tensor | None
    index: Tensor


@dataclass(frozen=True)
class Parts:
    """A loss and what it is made of.

    Attributes:
        loss: scalar, what is minimised: summed over pixels, averaged over images.
        report: scalars (detached) by name, for the log.
    """

    loss: Tensor
    report: Mapping[str, Tensor]
