"""Single pictures, as NumPy arrays on their own scale."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Picture = NDArray[np.generic]


def denoise(picture: Picture, sigma: float | None = None, *, model: Any = "non-local-means") -> Picture:
    """A picture without its noise.

    Args:
        picture: [H, W] or [H, W, C], transparency left as it is; uint8, uint16 or float in [0, 1] (which noise
            may leave).
        sigma: standard deviation of the noise on the 8-bit scale; None leaves it to the model.
        model: keeps `Denoises`.

    Returns:
        A picture of the same shape and type.

    Raises:
        CapabilityError: the model does not denoise.
        DataError: a picture that the model can't take.
    """
    from imprior import opening
    from imprior.promises import Denoises
    from imprior.tasks import denoise as task

    return task.denoise_picture(opening.model(model, Denoises).model, picture, sigma=sigma)


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
