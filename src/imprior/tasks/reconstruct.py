"""What is left of images after the code: encode, decode, compare.

x ──► encode ──► z ──► decode ──► mean ──► PSNR
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from imprior.metrics.psnr import psnr_db
from imprior.promises import Encodes, require
from imprior.tasks.protocol import evaluating

BATCH = 500


@dataclass(frozen=True)
class Reconstruction:
    """Images and what a model makes of their codes.

    Attributes:
        x: originals, [N, C, H, W].
        mean: reconstructions, of the same shape; linear models may leave [0, 1].
        psnr_db: [N] float64, of each, both clipped to [0, 1].
    """

    x: Tensor
    mean: Tensor
    psnr_db: Tensor

    def record(self) -> dict[str, Any]:
        """JSON values: images and their mean PSNR in dB, null where an image came back exactly."""
        mean = float(self.psnr_db.mean())
        return {"n": len(self.x), "psnr_db": mean if math.isfinite(mean) else None}


def run(model: Any, x: Tensor) -> Reconstruction:
    """Encode and decode images.

    Args:
        model: keeps `Encodes`.
        x: [N, C, H, W] in [0, 1].

    Raises:
        CapabilityError: the model has no codes.
        DataError: images of another shape than the model's.
    """
    known = require(model, Encodes)
    with evaluating(model) as device:
        # Networks with strides give sides that are multiples of them: cut to the image.
        parts = [
            known.decode(known.encode(p.to(device)))[..., : x.shape[2], : x.shape[3]] for p in torch.split(x, BATCH)
        ]
    mean = torch.cat(parts).to(x.device)
    return Reconstruction(x, mean, psnr_db(x, mean))
