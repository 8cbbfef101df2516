"""Denoisers that were never trained: non-local means, total variation, wavelet shrinkage, by scikit-image.

They keep the promise `Denoises` for grey and colour pictures of any size, so that everything a trained denoiser is put
through can be asked of them too. Each has one `strength` in units of the noise level, so one setting serves every
sigma (the defaults suit photographs at sigma 25 and 50 of 255); where sigma is not given it is estimated from the
picture.

    y ──► (sigma) ──► average of similar patches | least total variation nearby | shrunken wavelet details ──► x

References: A. Buades, B. Coll, J.-M. Morel, "A non-local algorithm for image denoising", 2005; L. Rudin, S. Osher,
E. Fatemi, "Nonlinear total variation based noise removal algorithms", 1992, solved as in A. Chambolle, "An algorithm
for total variation minimization and applications", 2004; S. G. Chang, B. Yu, M. Vetterli, "Adaptive wavelet
thresholding for image denoising and compression" (BayesShrink), 2000.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from imprior.errors import DataError, MissingExtraError
from imprior.promises import Shape

Picture = NDArray[np.float64]  # [H, W, C]

ANY_SIZE: Shape = (None, None, None)
# The median of |N(0, 1)|: turns a median of absolute values into a standard deviation.
MEDIAN_OF_ABSOLUTE_NORMAL = 0.6744897501960817


@dataclass
class NonLocalMeans:
    """Each pixel becomes a mean of the pixels whose surroundings look like its own.

    Attributes:
        strength: the distance at which patches stop looking alike, in sigmas (0 = hardly any smoothing).
        patch: side of the compared patches in pixels, odd.
        distance: how far away similar patches are looked for, in pixels.
        shape, levels, classes: any picture.
    """

    strength: float = 0.65
    patch: int = 5
    distance: int = 6
    shape: Shape = field(default=ANY_SIZE, init=False, repr=False)
    levels: int | None = field(default=None, init=False, repr=False)
    classes: int | None = field(default=None, init=False, repr=False)

    def denoise(self, y: Tensor, sigma: float | None = None) -> Tensor:
        """Noisy [N, C, H, W] -> estimate of the clean image; `sigma` on the [0, 1] scale, estimated when None."""
        restoration = _restoration()

        def clean(picture: Picture, level: float) -> Picture:
            return restoration.denoise_nl_means(  # type: ignore[no-any-return]
                picture,
                patch_size=self.patch,
                patch_distance=self.distance,
                h=self.strength * level,
                sigma=level,
                fast_mode=True,
                channel_axis=-1,
            )

        return _each(y, sigma, clean)


@dataclass
class TotalVariation:
    """The picture that is near the noisy one and has the least sum of gradient lengths: flat regions, sharp edges.

    Attributes:
        strength: weight of the total variation, in sigmas (0 = no smoothing).
        shape, levels, classes: any picture.
    """

    strength: float = 0.85
    shape: Shape = field(default=ANY_SIZE, init=False, repr=False)
    levels: int | None = field(default=None, init=False, repr=False)
    classes: int | None = field(default=None, init=False, repr=False)

    def denoise(self, y: Tensor, sigma: float | None = None) -> Tensor:
        """Noisy [N, C, H, W] -> estimate of the clean image; `sigma` on the [0, 1] scale, estimated when None."""
        restoration = _restoration()

        def clean(picture: Picture, level: float) -> Picture:
            weight = self.strength * level
            return restoration.denoise_tv_chambolle(picture, weight=weight, channel_axis=-1)  # type: ignore[no-any-return]

        return _each(y, sigma, clean)


@dataclass
class Wavelets:
    """Details of an orthogonal wavelet transform, shrunk by a threshold that adapts to each sub-band (BayesShrink).

    Attributes:
        strength: the noise level that is assumed, in sigmas (0 = no smoothing).
        wavelet: its name in PyWavelets.
        shape, levels, classes: any picture.
    """

    strength: float = 1.0
    wavelet: str = "sym4"
    shape: Shape = field(default=ANY_SIZE, init=False, repr=False)
    levels: int | None = field(default=None, init=False, repr=False)
    classes: int | None = field(default=None, init=False, repr=False)

    def denoise(self, y: Tensor, sigma: float | None = None) -> Tensor:
        """Noisy [N, C, H, W] -> estimate of the clean image; `sigma` on the [0, 1] scale, estimated when None."""
        restoration, pywt = _restoration(), _optional("pywt")
        # Noise is in all scales, so all are shrunk: scikit-image's default leaves out the three coarsest, which on
        # 28x28 pixels are all but one (1 dB). A picture smaller than the wavelet has one scale, edges and all.
        depth = max(1, pywt.dwt_max_level(min(y.shape[2:]), pywt.Wavelet(self.wavelet).dec_len))

        def clean(picture: Picture, level: float) -> Picture:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="Level value of 1 is too high")
                return restoration.denoise_wavelet(  # type: ignore[no-any-return]
                    picture,
                    sigma=self.strength * level,
                    wavelet=self.wavelet,
                    wavelet_levels=depth,
                    method="BayesShrink",
                    mode="soft",
                    channel_axis=-1,
                )

        return _each(y, sigma, clean)


Denoiser = NonLocalMeans | TotalVariation | Wavelets
# The names by which people ask for them.
BY_NAME: dict[str, type[NonLocalMeans] | type[TotalVariation] | type[Wavelets]] = {
    "non-local-means": NonLocalMeans,
    "total-variation": TotalVariation,
    "wavelets": Wavelets,
}


def noise_level(y: Tensor) -> float:
    """Standard deviation of white noise in an image, from its finest diagonal Haar details.

    The details (a - b - c + d) / 2 of disjoint 2x2 blocks have the standard deviation of the noise and hold little of
    a picture; their median absolute value hardly sees the few blocks with an edge in them.

    Args:
        y: an image [C, H, W], at least 2x2.

    Returns:
        sigma on the scale of `y`.

    Raises:
        DataError: a side is one pixel only.

    Reference:
        D. L. Donoho, I. M. Johnstone, "Ideal spatial adaptation by wavelet shrinkage", 1994.
    """
    height, width = y.shape[1] // 2 * 2, y.shape[2] // 2 * 2
    if not height or not width:
        raise DataError(f"the noise level of a picture of {y.shape[1]}x{y.shape[2]} can't be estimated: give sigma")
    even = y[:, :height, :width].double()
    details = (even[:, ::2, ::2] - even[:, 1::2, ::2] - even[:, ::2, 1::2] + even[:, 1::2, 1::2]) / 2
    return float(details.abs().median()) / MEDIAN_OF_ABSOLUTE_NORMAL


def _each(y: Tensor, sigma: float | None, clean: Callable[[Picture, float], Picture]) -> Tensor:
    """`clean` applied to each image of a batch, with its noise level; what has no noise is left alone."""
    cleaned = []
    for image in y:
        level = noise_level(image) if sigma is None else sigma
        picture = image.detach().cpu().double().permute(1, 2, 0).numpy()
        result = clean(picture, level) if level > 0 else picture
        cleaned.append(torch.from_numpy(np.ascontiguousarray(result).reshape(picture.shape)).permute(2, 0, 1))
    return torch.stack(cleaned).to(y) if cleaned else y


def _restoration() -> Any:
    return _optional("skimage.restoration")


def _optional(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"classical denoisers need {error.name or module}: pip install 'imprior[classical]'"
        ) from None
