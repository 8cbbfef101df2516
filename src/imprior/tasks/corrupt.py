"""Pictures with noise or holes, to try things on."""

from __future__ import annotations

from typing import Any, get_args, get_type_hints

import numpy as np
import torch
from numpy.typing import NDArray

from imprior.data.corrupt import apply
from imprior.data.images import from_batch, split_alpha, to_batch
from imprior.data.settings import Corruption
from imprior.errors import DataError, nearest
from imprior.randomness import generator

# "photographic" is a mixture that only a training asks for, with no one amount.
KINDS: tuple[str, ...] = tuple(
    kind for kind in get_args(get_type_hints(Corruption)["kind"]) if kind not in ("none", "photographic")
)
FRACTIONS = ("masking", "salt-pepper")


def corrupt_picture(picture: NDArray[Any], kind: str, amount: float, *, seed: int = 0) -> NDArray[Any]:
    """Corrupt one picture as training corrupts images (`data.corrupt`).

    Args:
        picture: [H, W] or [H, W, C] with 1 to 4 channels (2 and 4: with transparency, which is left as it is); uint8,
            uint16 or floating in [0, 1].
        kind: "gaussian" (white noise), "poisson" (photon noise), "masking" (pixels become black) or "salt-pepper"
            (half of them black, half white); a pixel is lost in all its channels at once.
        amount: of gaussian the standard deviation, of poisson that at white, both on the 8-bit scale whatever the
            type; of the others the fraction of the pixels.
        seed: equal seeds give equal noise.

    Returns:
        A picture of the same shape and type. Whole levels can't leave their range, so noise is cut there; floating
        pictures keep it whole.

    Raises:
        DataError: no such kind, an amount that it can't have, or a picture of another shape or type.
    """
    if kind not in KINDS:
        raise DataError(f"no corruption '{kind}': there are {', '.join(KINDS)}{nearest(kind, KINDS)}")
    if not 0 <= amount < float("inf"):
        raise DataError(f"the amount of corruption is 0 or more, not {amount}")
    if kind in FRACTIONS and amount > 1:
        raise DataError(f"the amount of {kind} is a fraction of the pixels, at most 1; not {amount}")
    colour, alpha = split_alpha(picture)
    x = to_batch(colour)
    strength = torch.tensor([amount if kind in FRACTIONS else amount / 255])
    y = apply(x, kind, strength, generator(seed, "corrupt", kind))
    return _with_alpha(from_batch(y, picture.dtype), alpha, picture)


def _with_alpha(cleaned: NDArray[Any], alpha: NDArray[Any] | None, picture: NDArray[Any]) -> NDArray[Any]:
    """`cleaned` in the shape of the picture that it came from, with its transparency back in place."""
    if alpha is None:
        return cleaned.reshape(picture.shape)
    return np.concatenate([np.atleast_3d(cleaned), alpha[..., None]], axis=2)
