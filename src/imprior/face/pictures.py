"""Single pictures, as NumPy arrays on their own scale."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Picture = NDArray[np.generic]


# What cleans pictures unless another model is named: one for colour, one for grey.
COLOUR, GREY = "photo-denoiser", "photo-denoiser-grey"


def denoise(
    picture: Picture, sigma: float | None = None, strength: float = 1.0, *, model: Any = None, clamp: bool = False
) -> Picture:
    """A picture without its noise.

    For batches of tensors, `load("photo-denoiser").denoise(x, sigma)`; for many pictures with one model, load it once
    and hand it over.

    Args:
        picture: [H, W] or [H, W, C], transparency left as it is; uint8, uint16 or float in [0, 1] (which noise
            may leave).
        sigma: standard deviation of the noise on the 8-bit scale, whatever the type; None estimates it from the
            picture, region by region.
        strength: from 0 (the picture as it is) to 1 (cleaned).
        model: keeps `Denoises`; None takes the photo denoiser for grey pictures or the one for colour.
        clamp: whether a sigma beyond what the model was trained on becomes the strongest that it was trained on.

    Returns:
        A picture of the same shape and type; at sigma 0 or strength 0 the same picture, bit for bit.

    Raises:
        CapabilityError: the model does not denoise.
        DataError: a picture that the model can't take; sigma or strength out of range.
    """
    from imprior import opening
    from imprior.promises import Denoises
    from imprior.tasks import denoise as task

    opened = opening.model(default_denoiser(picture) if model is None else model, Denoises)
    return task.denoise_picture(opened.model, picture, sigma=sigma, strength=strength, clamp=clamp).picture


def default_denoiser(picture: Picture) -> str:
    """The name of the model that cleans a picture unless another one is named."""
    return GREY if picture.ndim == 2 or picture.shape[2] < 3 else COLOUR


def corrupt(picture: Picture, kind: str = "gaussian", amount: float = 25.0, *, seed: int = 0) -> Picture:
    """A picture with noise or holes.

    Args:
        picture: [H, W] or [H, W, C], transparency left as it is; uint8, uint16 or float in [0, 1].
        kind: "gaussian", "poisson", "masking" or "salt-pepper".
        amount: standard deviation (of poisson: at white) on the 8-bit scale; of the others a fraction of the pixels.
        seed: of the draws.

    Returns:
        A picture of the same shape and type.

    Raises:
        DataError: no such kind, or an amount that it can't have.
    """
    from imprior.tasks import corrupt as task

    return task.corrupt_picture(picture, kind, amount, seed=seed)
