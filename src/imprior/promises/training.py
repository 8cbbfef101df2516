"""What training asks for besides an objective; no task does, so cards don't list these."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor

from imprior.promises.model import Model


@runtime_checkable
class Calibrates(Model, Protocol):
    """Has something to fit to the training images once its weights are final (code statistics, entropy tables)."""

    def calibrate(self, batches: Sequence[Tensor]) -> None:
        """Fit it, from batches of training images [N, C, H, W] that may be gone through more than once."""
        ...


@runtime_checkable
class Converts(Model, Protocol):
    """Can begin with weights of a model like it that is for other images, or smaller."""

    def converted(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Weights by name, of such a model or of one of its own kind, as this model's."""
        ...


@runtime_checkable
class Starts(Model, Protocol):
    """Has something to take from the training images before the first step (a transform to begin with)."""

    def start(self, batches: Iterable[Tensor]) -> None:
        """Take it, from batches of training images [N, C, H, W]."""
        ...
