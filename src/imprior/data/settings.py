"""What a recipe says about its data: size, cropping, binarization, the held-out part, corruption."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from imprior.errors import RecipeError


@dataclass(frozen=True)
class Corruption:
    """What is done to an image before a denoiser sees it, drawn afresh at every presentation.

    Attributes:
        kind: "gaussian" (additive, standard deviation on the [0, 1] scale), "masking" (a fraction of the pixels set
            to 0), "salt-pepper" (a fraction set to 0 or 1), "poisson" (photon noise; the amount is the standard
            deviation at white, so 1 / amount² photons there) or "photographic" (gaussian, its level uneven across a
            quarter of the images, and for a third of the images what a camera makes of them: `imprior.data.camera`;
            a denoiser is told the level as a map).
        low, high: the amount is drawn from [low, high] for each image; equal ends fix it.
        power: the amount is low + (high - low) · u ** power with u uniform in [0, 1): below 1 strong corruption is
            drawn more often than weak.
    """

    kind: Literal["none", "gaussian", "masking", "salt-pepper", "poisson", "photographic"] = "none"
    low: float = 0.5
    high: float = 0.5
    power: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.high:
            raise RecipeError(f"corruption wants 0 <= low <= high, not {self.low} and {self.high}")
        if not self.power > 0:
            raise RecipeError(f"corruption.power is above 0, not {self.power}")
        if self.kind in ("masking", "salt-pepper") and self.high > 1:
            raise RecipeError(f"corruption '{self.kind}' is a fraction of the pixels: high is {self.high}, above 1")


@dataclass(frozen=True)
class Data:
    """How images are prepared.

    Attributes:
        size: side in pixels: the short side is resized to it and the centre cut out; None leaves images as they are.
        channels: 1 (grey) or 3 (colour); None leaves them as they are.
        crop: side in pixels of a crop: at random places in training, in the centre in evaluation; None takes all.
        scales: with `crop`, images are also prepared at these scales (1 = full size), so that crops show more.
        flip: mirror half of the training images left to right.
        turn: turn training images by a random number of quarters (square images or crops).
        halved_colours: share of the training images, in colour, whose colours are brought to half the resolution, as
            most JPEG files have them; brightness stays.
        binarize: pixels become 0 or 1, drawn afresh at every presentation with the grey level as probability.
        dequantise: 8-bit levels k become continuous, (k + u) / 256 with a fresh u in [0, 1) at every presentation: what
            densities are judged on.
        validation: fraction of the training images held out where the source has no validation part.
        limit: use only so many training images.
        corruption: what a denoiser is given.
    """

    size: int | None = None
    channels: int | None = None
    crop: int | None = None
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    turn: bool = False
    halved_colours: float = 0.0
    binarize: bool = False
    dequantise: bool = False
    validation: float = 0.1
    limit: int | None = None
    corruption: Corruption = field(default_factory=Corruption)

    def __post_init__(self) -> None:
        if self.channels not in (None, 1, 3):
            raise RecipeError(f"channels is 1 or 3, not {self.channels}")
        for name in ("size", "crop", "limit"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise RecipeError(f"{name} is at least 1, not {value}")
        if self.binarize and self.dequantise:
            raise RecipeError("data.binarize and data.dequantise exclude each other")
        if not 0 <= self.validation < 1:
            raise RecipeError(f"validation is a fraction from 0 to below 1, not {self.validation}")
        if not 0 <= self.halved_colours <= 1:
            raise RecipeError(f"halved_colours is a share from 0 to 1, not {self.halved_colours}")
        if not self.scales or not all(0 < s <= 1 for s in self.scales):
            raise RecipeError(f"scales are fractions above 0 and at most 1, not {self.scales}")
