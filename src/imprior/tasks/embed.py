"""Codes as data: numbers for other programs, and a map for eyes."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from imprior.data.batches import Images
from imprior.errors import DataError, MissingExtraError
from imprior.promises import Encodes, require
from imprior.tasks.protocol import evaluating

# The plane is found from at most so many codes; further ones are put on it.
ENOUGH = 4000


@dataclass(frozen=True)
class Embedding:
    """The codes of a set of images.

    Attributes:
        codes: [N, D] float32; grids are flattened.
        labels: int64 [N], or None.
        classes: names by label.
    """

    codes: Tensor
    labels: Tensor | None
    classes: tuple[str, ...] = ()

    def record(self) -> dict[str, Any]:
        """JSON values: how many codes of how many numbers, and how much each number varies."""
        return {
            "n": len(self.codes),
            "units": self.codes.shape[1],
            "standard_deviation": self.codes.double().std(0, correction=0).tolist(),
        }


def run(model: Any, images: Images, *, batch: int = 500) -> Embedding:
    """Encode a set of images.

    Args:
        model: keeps `Encodes`.
        images: prepared images of one size.
        batch: images at a time; the result does not depend on it.

    Raises:
        CapabilityError: the model has no codes.
        DataError: images that differ in size, or of another shape than the model's.
    """
    known = require(model, Encodes)
    if len(images) == 0:
        raise DataError("no images to embed")
    with evaluating(model) as device:
        codes = torch.cat([known.encode(x.to(device)).flatten(1).float().cpu() for x in images.chunks(batch)])
    return Embedding(codes, images.labels, images.classes)


def plane(codes: Tensor, *, by: Literal["pca", "tsne"] = "pca") -> Tensor:
    """Codes as points of a plane.

    Args:
        codes: [N, D]; of D = 2, or 1, "pca" shows the codes as they are.
        by: "pca", the plane in which they vary most, so that distances mean something; or "tsne", a map that keeps
            neighbours together and whose distances mean nothing.

    Returns:
        [N, 2] float64.

    Raises:
        MissingExtraError: "tsne" without scikit-learn.
        DataError: fewer than two codes for "tsne".

    References:
        L. van der Maaten, G. Hinton, "Visualizing data using t-SNE", 2008.
    """
    points = codes.detach().double().cpu()
    if by == "tsne":
        return _neighbours(points)
    if points.shape[1] <= 2:
        return torch.cat([points, points.new_zeros(len(points), 2 - points.shape[1])], 1)
    centred = points - points.mean(0)
    some = centred[:: -(-len(centred) // ENOUGH)]
    directions: Tensor = torch.linalg.svd(some, full_matrices=False).Vh[:2]
    # The sign of a direction is arbitrary; fixed, so that a map comes out the same everywhere.
    peaks = directions.gather(1, directions.abs().argmax(1, keepdim=True))
    return centred @ (directions * peaks.sign()).T


def _neighbours(points: Tensor) -> Tensor:
    try:
        manifold = importlib.import_module("sklearn.manifold")
    except ImportError:
        raise MissingExtraError("t-SNE needs scikit-learn: pip install 'imprior[classical]'") from None
    if len(points) < 2:
        raise DataError("t-SNE needs at least two codes")
    perplexity = min(30.0, (len(points) - 1) / 3)
    found = manifold.TSNE(2, perplexity=perplexity, init="pca", random_state=0).fit_transform(points.numpy())
    return torch.from_numpy(found).double()
