"""The latent of a person's own image, and how much of the image comes back from it.

x ──► encode (exact for flows, near for autoencoders), or latent search where a model only decodes ──► z ──► decode
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from imprior.errors import DataError
from imprior.metrics.psnr import psnr_db
from imprior.promises import Decodes, Encodes, check_shape, require
from imprior.tasks import search
from imprior.tasks.protocol import evaluating

BATCH = 500
Method = Literal["encoder", "search"]


@dataclass(frozen=True)
class Inversion:
    """Latents of images.

    Attributes:
        x: the images, [N, C, H, W].
        z: their latents, [N, …].
        labels: int64 [N] that the latents are decoded with; None of an unconditional model.
        mean: the decoded latents, [N, C, H, W].
        psnr_db: [N] float64, of `mean`; infinite where an image comes back exactly.
        method: "encoder" or "search".
    """

    x: Tensor
    z: Tensor
    labels: Tensor | None
    mean: Tensor
    psnr_db: Tensor
    method: Method

    def record(self) -> dict[str, Any]:
        """JSON values: the root mean squared error on the 8-bit scale and the PSNR of each image."""
        error = (self.mean.clamp(0, 1) - self.x).double().square().flatten(1).mean(1).sqrt()
        psnr = [value if math.isfinite(value) else None for value in self.psnr_db.tolist()]
        return {"inversion": self.method, "rmse": (255 * error).tolist(), "psnr_db": psnr}


def run(
    model: object,
    x: Tensor,
    *,
    rng: torch.Generator,
    method: Method | None = None,
    labels: Tensor | None = None,
) -> Inversion:
    """Find the latent of each image.

    Args:
        model: keeps `Decodes`; `Encodes` for the method "encoder".
        x: images, [N, C, H, W] in [0, 1].
        rng: where the starts of a search come from.
        method: None takes the encoder where there is one.
        labels: int64 [N], of a conditional model; None lets a search try several.

    Raises:
        CapabilityError: the model can't decode, or has no encoder.
        DataError: images of another shape than the model's.
    """
    decodes = require(model, Decodes)
    check_shape(x, decodes.shape)
    if len(x) == 0:
        raise DataError("no images to find latents of")
    chosen = method or ("encoder" if isinstance(model, Encodes) else "search")
    if chosen == "encoder":
        encodes = require(model, Encodes)
        with evaluating(model) as device:
            z = torch.cat([encodes.encode(part.to(device)) for part in torch.split(x, BATCH)])
    else:
        z, labels = search.run(model, x, rng=rng, labels=labels)
    mean = decoded(decodes, z, labels, x)
    return Inversion(x, z, labels, mean, psnr_db(x, mean), chosen)


def decoded(model: Decodes, z: Tensor, labels: Tensor | None, like: Tensor) -> Tensor:
    """Images of latents [N, …], cut to the size of `like` and put where it is: [N, C, H, W]."""
    with evaluating(model) as device:
        parts = [
            model.decode(z[i : i + BATCH].to(device), None if labels is None else labels[i : i + BATCH].to(device))
            for i in range(0, len(z), BATCH)
        ]
    # Networks with strides give sides that are multiples of them: cut to the image.
    return torch.cat(parts)[..., : like.shape[2], : like.shape[3]].to(like)
