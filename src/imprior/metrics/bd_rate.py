"""How many bytes a codec saves at equal PSNR: Bjøntegaard's difference of two curves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from imprior.errors import DataError, MissingExtraError

RANGE_DB = (27.0, 39.0)


@dataclass(frozen=True)
class Curve:
    """Points of a codec, one for each of its settings, in any order.

    Attributes:
        bits_per_pixel: more than 0, of whole files.
        psnr_db: finite, no two alike.
    """

    bits_per_pixel: Sequence[float]
    psnr_db: Sequence[float]

    def __post_init__(self) -> None:
        if len(self.bits_per_pixel) != len(self.psnr_db) or len(set(self.psnr_db)) < max(2, len(self.psnr_db)):
            raise DataError("a curve has two or more points, each of a rate and a PSNR, no two of the same PSNR")
        if not all(0 < bits < math.inf for bits in self.bits_per_pixel) or not all(map(math.isfinite, self.psnr_db)):
            raise DataError("the points of a curve have more than 0 bits and a finite PSNR: leave out lossless ones")

    def bits_at(self, psnr_db: float) -> float | None:
        """Bits a pixel at a PSNR, interpolated; None beyond the ends of the curve."""
        within = min(self.psnr_db) <= psnr_db <= max(self.psnr_db)
        return math.exp(float(self.logarithm()(psnr_db))) if within else None

    def logarithm(self) -> Any:
        """ln(bits a pixel) as a function of PSNR: SciPy's PchipInterpolator.

        It is monotone where the points are, so it can't swing between them as a polynomial does.

        Raises:
            MissingExtraError: SciPy is not installed.
        """
        try:
            from scipy.interpolate import PchipInterpolator
        except ImportError:
            raise MissingExtraError("BD-rate needs SciPy: pip install 'imprior[classical]'") from None
        points = sorted(zip(self.psnr_db, self.bits_per_pixel, strict=True))
        return PchipInterpolator([psnr for psnr, _ in points], [math.log(bits) for _, bits in points])


@dataclass(frozen=True)
class BdRate:
    """A difference in rate, and where on the curves it was taken.

    Attributes:
        percent: by how much the rate is larger than the anchor's; negative where bytes are saved.
        low_db, high_db: ends of the range.
    """

    percent: float
    low_db: float
    high_db: float


def bd_rate(anchor: Curve, other: Curve, *, low_db: float = RANGE_DB[0], high_db: float = RANGE_DB[1]) -> BdRate:
    """The mean difference in rate at equal PSNR: 100 (exp(mean of ln(other's bits) - ln(anchor's bits)) - 1).

    The mean is over PSNR, from `low_db` to `high_db` or as far as both curves go.

    Args:
        anchor: what is compared with.
        other: what is judged.
        low_db, high_db: the range that is wanted.

    Raises:
        DataError: the curves have nothing of that range in common.
        MissingExtraError: SciPy is not installed.

    Reference:
        G. Bjøntegaard, "Calculation of average PSNR differences between RD-curves", VCEG-M33, 2001; interpolated piece
        by piece, as later practice has it.

    Example:
        >>> jpeg, half = Curve([0.5, 1, 2], [30, 34, 38]), Curve([0.25, 0.5, 1], [30, 34, 38])
        >>> bd_rate(jpeg, half)
        BdRate(percent=-50.0, low_db=30, high_db=38)
    """
    low = max(low_db, min(anchor.psnr_db), min(other.psnr_db))
    high = min(high_db, max(anchor.psnr_db), max(other.psnr_db))
    if low >= high:
        raise DataError(f"the curves have no PSNR from {low_db:g} to {high_db:g} dB in common")
    mean = float(other.logarithm().integrate(low, high) - anchor.logarithm().integrate(low, high)) / (high - low)
    return BdRate(100 * math.expm1(mean), low, high)
