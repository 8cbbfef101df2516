"""Images and pictures without their noise."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from imprior.data.images import from_batch, split_alpha, to_batch
from imprior.errors import DataError
from imprior.promises import Denoises, Shape, require
from imprior.tasks.protocol import evaluating

BATCH = 500


def run(model: Any, x: Tensor, *, sigma: float | None = None) -> Tensor:
    """Clean a batch.

    Args:
        model: keeps `Denoises`.
        x: noisy images [N, C, H, W], may leave [0, 1].
        sigma: standard deviation of the noise on the [0, 1] scale; None leaves it to the model.

    Returns:
        Estimates of the clean images, of the same shape.

    Raises:
        CapabilityError: the model does not denoise.
        DataError: images of another shape than the model's.
    """
    known = require(model, Denoises)
    with evaluating(model) as device:
        return torch.cat([known.denoise(part.to(device), sigma).to(x.device) for part in torch.split(x, BATCH)])


def denoise_picture(model: Any, picture: NDArray[Any], *, sigma: float | None = None) -> NDArray[Any]:
    """Clean one picture, computing in single precision.

    A model of grey images cleans a colour picture channel by channel; transparency is left as it is.

    Args:
        model: keeps `Denoises`.
        picture: [H, W] or [H, W, C] with 1 to 4 channels (2 and 4: with transparency); uint8, uint16 or floating in
            [0, 1], which noise may leave.
        sigma: standard deviation of the noise on the 8-bit scale, whatever the type; None leaves it to the model.

    Returns:
        A picture of the same shape and type; of whole levels, rounded and cut to their range.

    Raises:
        CapabilityError: the model does not denoise.
        DataError: a picture of another shape or type, or of another size than a model of one size takes.
    """
    known = require(model, Denoises)
    if sigma is not None and not 0 <= sigma < float("inf"):
        raise DataError(f"sigma is a standard deviation on the 8-bit scale, 0 or more; not {sigma}")
    colour, alpha = split_alpha(picture)
    y = to_batch(colour)  # [1, C, H, W]
    if known.shape[0] == 1:
        y = y.transpose(0, 1)  # [C, 1, H, W]: the channels as a batch
    _check_size(known.shape, y)
    cleaned = run(known, y, sigma=None if sigma is None else sigma / 255).reshape(-1, *y.shape[2:])  # [C, H, W]
    return with_alpha(from_batch(cleaned, picture.dtype), alpha, picture)


def with_alpha(cleaned: NDArray[Any], alpha: NDArray[Any] | None, picture: NDArray[Any]) -> NDArray[Any]:
    """`cleaned` in the shape of the picture that it came from, with its transparency back in place."""
    if alpha is None:
        return cleaned.reshape(picture.shape)
    return np.concatenate([np.atleast_3d(cleaned), alpha[..., None]], axis=2)


def _check_size(shape: Shape, y: Tensor) -> None:
    channels, *size = shape
    if channels not in (None, y.shape[1]):
        raise DataError(f"this model cleans pictures of {channels} channels, and the picture has {y.shape[1]}")
    if any(wanted not in (None, given) for wanted, given in zip(size, y.shape[2:], strict=True)):
        takes, has = ("x".join("any" if n is None else str(n) for n in s) for s in (size, y.shape[2:]))
        raise DataError(
            f"this model cleans pictures of {takes} pixels, and the picture is {has} (height x width); "
            "non-local-means, total-variation and wavelets take any size"
        )
