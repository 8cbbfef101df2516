"""What preparing does to decoded pictures, uint8 or float32 in [0, 1]: grey and colour, scale, square."""

from __future__ import annotations

import numpy as np
from PIL import Image

from imprior.data.arrays import Array


def to_channels(pictures: Array, channels: int | None) -> Array:
    """[..., 1 or 3] with as many channels as asked for; None leaves them.

    Grey is the luma 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601), for uint8 by Pillow's integers; colour of grey repeats.
    """
    if channels is None or pictures.shape[-1] == channels:
        return pictures
    if channels == 3:
        return np.repeat(pictures, 3, axis=-1)
    if pictures.dtype.kind == "f":
        return (pictures @ np.array([0.299, 0.587, 0.114], np.float32))[..., None]
    red, green, blue = (pictures[..., i].astype(np.uint32) for i in range(3))
    return ((19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16).astype(np.uint8)[..., None]


def to_scale(picture: Array, scale: float) -> Array:
    """A picture [H, W, C] with its sides multiplied by `scale` (1 pixel at least)."""
    height, width = picture.shape[:2]
    return _resized(picture, max(1, round(height * scale)), max(1, round(width * scale)))


def to_square(picture: Array, size: int) -> Array:
    """A picture [H, W, C] resized until its short side is `size`, then its centre [size, size, C]."""
    height, width = picture.shape[:2]
    short = min(height, width)
    picture = _resized(picture, max(size, round(height * size / short)), max(size, round(width * size / short)))
    top, left = (picture.shape[0] - size) // 2, (picture.shape[1] - size) // 2
    return picture[top : top + size, left : left + size]


def _resized(picture: Array, height: int, width: int) -> Array:
    """Resampled with a Lanczos window as wide as the reduction asks for, so that fine detail doesn't alias."""
    if picture.shape[:2] == (height, width):
        return picture

    def resample(plane: Array) -> Array:
        image = Image.fromarray(np.ascontiguousarray(plane))
        return np.asarray(image.resize((width, height), Image.Resampling.LANCZOS))

    resized = np.stack([resample(picture[..., c]) for c in range(picture.shape[2])], axis=-1)
    return np.clip(resized, 0, 1) if picture.dtype.kind == "f" else resized
