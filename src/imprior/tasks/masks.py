"""Which pixels of an image are known: named parts, pictures of a mask, and what no mask may be.

A mask is bool, True where a pixel is known. In a picture of one, white is what is to be filled in, black what stays.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from imprior.errors import DataError, nearest

PARTS = ("top", "bottom", "left", "right", "centre", "random")


def known(part: str, height: int, width: int, *, rng: torch.Generator | None = None) -> Tensor:
    """The mask that hides a named part of an image.

    Args:
        part: "top", "bottom", "left", "right" (half of the image), "centre" (half of each side) or "random:0.5"
            (that fraction of the pixels, wherever).
        height, width: of the image.
        rng: for "random".

    Returns:
        bool [1, 1, height, width], True where a pixel is known.

    Raises:
        DataError: no such part, or no such fraction.

    >>> known("bottom", 2, 2).squeeze().tolist()
    [[True, True], [False, False]]
    """
    mask = torch.ones(height, width, dtype=torch.bool)
    name, _, amount = part.partition(":")
    if name not in PARTS or (bool(amount) != (name == "random")):
        raise DataError(f"no part '{part}' to hide; there are {', '.join(PARTS)}:FRACTION{nearest(name, PARTS)}")
    if name == "random":
        try:
            fraction = float(amount)
        except ValueError:
            fraction = -1.0
        if not 0 < fraction < 1:
            raise DataError(f"random:{amount}: a fraction of the pixels between 0 and 1, as in random:0.5")
        order = torch.randperm(height * width, generator=rng)
        mask.view(-1)[order[: round(fraction * height * width)]] = False
    elif name == "centre":
        edge = (-(-height // 4), -(-width // 4))  # at least a pixel stays around it
        mask[edge[0] : height - edge[0], edge[1] : width - edge[1]] = False
    else:
        down = {"top": slice(0, height // 2), "bottom": slice(height - height // 2, height)}.get(name, slice(None))
        right = {"left": slice(0, width // 2), "right": slice(width - width // 2, width)}.get(name, slice(None))
        mask[down, right] = False
    return mask[None, None]


def of_picture(picture: NDArray[Any], height: int, width: int) -> Tensor:
    """The mask that a picture shows: white is to be filled in, black is known; greys go to the nearer one.

    Args:
        picture: [H, W] or [H, W, C] (transparency is not looked at); uint8, uint16, or float in [0, 1].
        height, width: of the image that it is for.

    Returns:
        bool [1, 1, height, width], True where a pixel is known.

    Raises:
        DataError: a mask of another size.
    """
    if picture.shape[:2] != (height, width):
        have, want = (f"{w}x{h}" for h, w in (picture.shape[:2], (height, width)))
        raise DataError(f"the mask has {have} pixels, the images have {want}: make them one size")
    top = np.iinfo(picture.dtype).max if picture.dtype.kind == "u" else 1.0
    colours = picture if picture.ndim == 2 else picture[..., : 3 if picture.shape[2] >= 3 else 1].mean(2)
    return torch.from_numpy(np.asarray(colours < top / 2))[None, None]


def checked(mask: Tensor, x: Tensor) -> Tensor:
    """A mask for each image, bool [N, 1, H, W], once it is known to hide something of each and not everything.

    Args:
        mask: bool [N, 1, H, W], or [1, 1, H, W] for all of them.
        x: images [N, C, H, W].

    Raises:
        DataError: a mask of another size, or one that hides all or nothing.
    """
    if mask.dtype != torch.bool:
        raise DataError(f"a mask is true where a pixel is known and false elsewhere, not {mask.dtype}")
    if mask.dim() != 4 or mask.shape[1:] != (1, *x.shape[2:]) or len(mask) not in (1, len(x)):
        raise DataError(f"a mask of shape {tuple(mask.shape)}, and the images want {(len(x), 1, *x.shape[2:])}")
    flat = mask.flatten(1)
    if bool(flat.all(1).any()):
        raise DataError("the mask hides no pixel (none of it is white): there is nothing to fill in")
    if not bool(flat.any(1).all()):
        raise DataError("the mask hides every pixel (all of it is white): nothing is known to go on from")
    return mask.expand(len(x), -1, -1, -1)
