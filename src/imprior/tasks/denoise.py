"""Images and pictures without their noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from imprior.data.arrays import to_8_bits
from imprior.data.images import check_picture, split_alpha
from imprior.errors import DataError
from imprior.promises import Denoises, DenoisesLocally, Shape, require
from imprior.tasks import tiles
from imprior.tasks.protocol import evaluating

BATCH = 500
VIEW = 1024  # pixels a side that a view of before and after shows at most


@dataclass(frozen=True)
class Denoised:
    """A cleaned picture.

    Attributes:
        picture: of the shape and type of the noisy one.
        sigma: lowest and highest standard deviation of the noise that the model was told, on the 8-bit scale; None
            where the model was told none.
        estimated: whether `sigma` was estimated from the picture.
    """

    picture: NDArray[Any]
    sigma: tuple[float, float] | None
    estimated: bool

    def record(self) -> dict[str, Any]:
        """JSON values."""
        return {"sigma": None if self.sigma is None else list(self.sigma), "estimated": self.estimated}


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


def denoise_picture(
    model: Any,
    picture: NDArray[Any],
    *,
    sigma: float | None = None,
    strength: float = 1.0,
    clamp: bool = False,
    tell: tiles.Tell | None = None,
) -> Denoised:
    """Clean one picture, computing in single precision.

    A model that keeps `DenoisesLocally` cleans in tiles, in bounded memory; others clean the picture as a whole. One
    of grey images cleans a colour picture channel by channel; transparency is left as it is. At sigma 0 or strength 0
    the picture comes back bit for bit.

    Args:
        model: keeps `Denoises`.
        picture: [H, W] or [H, W, C] with 1 to 4 channels (2 and 4: with transparency); uint8, uint16 or floating in
            [0, 1], which noise may leave.
        sigma: standard deviation of the noise on the 8-bit scale, whatever the type; None estimates it, region by
            region, if the model keeps `DenoisesLocally`, and else leaves it to the model.
        strength: of the result, from 0 (the picture as it is) to 1 (cleaned).
        clamp: whether a sigma beyond what the model was trained on becomes the strongest that it was trained on.
        tell: is told how far the work is: done, of how many.

    Returns:
        A picture of the same shape and type; of whole levels, rounded and cut to their range. And the noise level.

    Raises:
        CapabilityError: the model does not denoise.
        DataError: a picture of another shape or type, or of another size than a model of one size takes; sigma or
            strength out of range.
    """
    known = require(model, Denoises)
    check_amounts(sigma, strength)
    colour, alpha = split_alpha(picture)
    check_picture(colour)
    _check_size(known.shape, colour)
    told = None if sigma is None else sigma / 255
    if told is not None and isinstance(known, DenoisesLocally):
        told = _within(told, known.largest, clamp)
    if not strength or told == 0:
        return Denoised(picture.copy(), None if told is None else _range(told), False)
    result = np.empty(picture.shape, picture.dtype)
    cleaned, kept = split_alpha(result)
    if kept is not None:
        kept[...] = alpha
    if isinstance(known, DenoisesLocally):
        level: float | Tensor = told if told is not None else tiles.estimate(known, colour, tell=_half(tell, 0))
        if isinstance(level, float) and level == 0:
            return Denoised(picture.copy(), _range(level), True)
        tell = tell if told is not None else _half(tell, 1)
        tiles.clean(known, colour, level, cleaned, strength=strength, tell=tell)
        return Denoised(result, _range(level), told is None)
    y = tiles.planes(known, colour)
    tiles.put(torch.lerp(y, run(known, y, sigma=told), strength), cleaned)
    return Denoised(result, None if told is None else _range(told), False)


def check_amounts(sigma: float | None, strength: float) -> None:
    """Refuse a sigma (8-bit scale) or a strength that no picture can be cleaned with.

    Raises:
        DataError: one of them is out of range, or not a number.
    """
    if sigma is not None and not 0 <= sigma < float("inf"):
        raise DataError(f"sigma is a standard deviation on the 8-bit scale, 0 or more; not {sigma}")
    if not 0 <= strength <= 1:
        raise DataError(f"strength is from 0 (as it is) to 1 (cleaned), not {strength}")


def before_and_after(before: NDArray[Any], after: NDArray[Any]) -> NDArray[np.uint8]:
    """Two pictures of one size side by side, their middles at full resolution, in 8 bits without transparency."""
    height, width = before.shape[:2]
    top, left = max(height - VIEW, 0) // 2, max(width - VIEW, 0) // 2
    views = [_view(split_alpha(p)[0][top : top + VIEW, left : left + VIEW]) for p in (before, after)]
    line = np.full((len(views[0]), 4, *views[0].shape[2:]), 255, np.uint8)
    return np.concatenate([views[0], line, views[1]], axis=1)


def _view(picture: NDArray[Any]) -> NDArray[np.uint8]:
    if picture.dtype.kind == "f":
        picture = np.rint(255 * picture.clip(0, 1))
    return (to_8_bits(picture) if picture.dtype == np.uint16 else picture).astype(np.uint8, copy=False)


def _half(tell: tiles.Tell | None, past: int) -> tiles.Tell | None:
    """`tell` for one of two equal halves of the work, the first (0) or the second (1)."""
    return None if tell is None else lambda done, total: tell(past * total + done, 2 * total)


def _range(level: float | Tensor) -> tuple[float, float]:
    """Lowest and highest sigma, on the 8-bit scale."""
    ends = (level, level) if isinstance(level, float) else (float(level.min()), float(level.max()))
    return 255 * ends[0], 255 * ends[1]


def _within(sigma: float, largest: float, clamp: bool) -> float:
    if sigma <= largest * (1 + 1e-6):  # 75 / 255 must not fall on the wrong side of itself
        return min(sigma, largest)
    if clamp:
        return largest
    raise DataError(
        f"sigma {255 * sigma:g} is beyond this model's range, 0 to {255 * largest:g}; "
        f"to clean with {255 * largest:g} instead, choose to clamp it (--clamp, clamp=True)"
    )


def _check_size(shape: Shape, picture: NDArray[Any]) -> None:
    channels, *size = shape
    has = 1 if picture.ndim == 2 else picture.shape[2]
    if channels not in (None, 1, has):
        raise DataError(f"this model cleans pictures of {channels} channels, and the picture has {has}")
    if any(wanted not in (None, given) for wanted, given in zip(size, picture.shape, strict=False)):
        takes, given = ("x".join("any" if n is None else str(n) for n in s) for s in (size, picture.shape[:2]))
        raise DataError(
            f"this model cleans pictures of {takes} pixels, and the picture is {given} (height x width); "
            "non-local-means, total-variation and wavelets take any size"
        )
