"""What class-conditional models share: checking labels, and the likelihood of an image whose label nobody gives.

p(x) = 1/K Σ p(x | label)        K labels, equally likely beforehand
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from imprior.errors import DataError


def checked(labels: Tensor | None, n: int, classes: int | None) -> Tensor | None:
    """The labels, int64 [n], that a model with `classes` is given; None of a model without.

    Raises:
        DataError: a conditional model without labels, one label too many or too few, or one that the model does not
            know.
    """
    if classes is None:
        return None
    if labels is None:
        raise DataError(f"this model is conditional: it wants a label from 0 to {classes - 1} for each image")
    if labels.shape != (n,):
        raise DataError(f"{len(labels)} labels for {n} images")
    if n and not (int(labels.min()) >= 0 and int(labels.max()) < classes):
        unknown = int(labels.min()) if int(labels.min()) < 0 else int(labels.max())
        raise DataError(f"the model knows the labels 0 to {classes - 1}, not {unknown}")
    return labels


def drawn(labels: Tensor | None, n: int, classes: int | None, rng: torch.Generator) -> Tensor | None:
    """The labels given, checked, or as many equally likely ones: what images are drawn for.

    Raises:
        DataError: as `checked`.
    """
    if classes is not None and labels is None:
        labels = torch.randint(classes, (n,), generator=rng, device=rng.device)
    return checked(labels, n, classes)


def marginal(nats: Callable[[Tensor | None], Tensor], n: int, labels: Tensor | None, classes: int | None) -> Tensor:
    """Minus log-likelihoods [n] given the labels, or of the mixture over all labels where none are given.

    Args:
        nats: labels int64 [n] (None of an unconditional model) -> minus log p(x | label), [n].
        n: images.
        labels: int64 [n], or None.
        classes: of the model.

    Raises:
        DataError: as `checked`.
    """
    if classes is None or labels is not None:
        return nats(checked(labels, n, classes))
    each = torch.stack([nats(torch.full((n,), label)) for label in range(classes)])  # [K, n]
    return math.log(classes) - (-each).logsumexp(0)
