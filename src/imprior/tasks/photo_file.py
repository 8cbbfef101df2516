"""Pictures of every kind to the bytes of a photograph's file, and back.

[H,W] or [H,W,C] ──► 8 bits ──┬─► colour, or three times grey ──► tiles          ─┐
                              └─► transparency ──► PNG                            ├─► file
EXIF, colour profile ─────────────────────────────────────────────────────────────┘
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imprior.coding.classical import Codec
from imprior.coding.tiled import EXTRAS, MOST_PIXELS, Photograph, pack, unpack
from imprior.data.arrays import to_8_bits
from imprior.data.extras import NONE, Extras
from imprior.data.images import check_picture, split_alpha
from imprior.errors import BitstreamError, DataError
from imprior.promises import CodesTiles
from imprior.tasks import rate_control
from imprior.tasks.coder import KEPT, STEPS, Coder, to_grey
from imprior.tasks.compress import SIDE, Area, Tell, decompress
from imprior.tasks.exactly import Exactly, from_png

Array = NDArray[Any]
Levels = NDArray[np.uint8]
NAME = "imprior"  # among codecs
QUALITIES = (0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100)
EXIF = b"Exif\0\0"  # what stands before EXIF in memory, and not in the file


@dataclass(frozen=True)
class Target:
    """What a file shall be like; the first of these that is not None counts.

    Attributes:
        size: at most so many bytes.
        bpp: at most so many bits a pixel, all headers included.
        psnr_db: the PSNR of the picture.
        quality: from 0 to 100.
    """

    quality: int = 50
    bpp: float | None = None
    psnr_db: float | None = None
    size: int | None = None

    def __post_init__(self) -> None:
        given = [value for value in (self.bpp, self.psnr_db, self.size) if value is not None]
        if len(given) > 1:
            raise DataError("ask for a size, for bits a pixel or for a PSNR, one of them")
        if given and not 0 < given[0] < float("inf"):
            raise DataError(f"a target is more than 0, not {given[0]:g}")
        if not 0 <= self.quality <= 100:
            raise DataError(f"quality {self.quality}: from 0 (smallest) to 100 (best)")


@dataclass(frozen=True)
class Coded:
    """A photograph's file, and what became of the picture.

    Attributes:
        data: the file.
        width, height: of the picture.
        quality: from 0 to 100.
        psnr_db: where it was measured.
        uncompressed: bytes of the picture, 8 bits a channel.
        told: what a person should know, or "".
    """

    data: bytes
    width: int
    height: int
    quality: float
    psnr_db: float | None
    uncompressed: int
    told: str

    def record(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "width": self.width,
            "height": self.height,
            "quality": round(self.quality, 2),
            "bytes": len(self.data),
            "bits_per_pixel": 8 * len(self.data) / (self.width * self.height),
            "ratio": self.uncompressed / len(self.data),
        } | ({} if self.psnr_db is None else {"psnr_db": self.psnr_db})


def encode(
    model: CodesTiles,
    picture: Array,
    target: Target,
    *,
    extras: Extras = NONE,
    effort: int = 0,
    strict: bool = False,
    most_pixels: int = MOST_PIXELS,
    side: int = SIDE,
    tell: Tell | None = None,
) -> Coded:
    """A picture as a file.

    Args:
        model: the codec.
        picture: [H, W] or [H, W, C] (2: grey and alpha, 3: colour, 4: colour and alpha); uint8, uint16 or floating
            numbers in [0, 1], which become 8 bits.
        target: what the file shall be like.
        extras: EXIF and colour profile to keep.
        effort: from 0 (fast) to 3 (a long search for what takes fewer bytes).
        strict: whether pictures of more than 8 bits are refused.
        most_pixels: larger pictures are refused.
        side: of a tile.
        tell: is told how far the work is.

    Raises:
        DataError: no picture, one that is refused, or a target that it can't reach.
    """
    if not 0 <= effort < len(STEPS):
        raise DataError(f"effort {effort}: from 0 (fast) to {len(STEPS) - 1} (small files)")
    colour, alpha = split_alpha(picture)
    check_picture(colour)
    height, width = colour.shape[:2]
    if height * width > most_pixels:
        raise DataError(f"{width} x {height} pixels are more than {most_pixels:,}: allow them with --max-pixels")
    deep = colour.dtype != np.uint8
    if deep and strict:
        raise DataError(f"{_bits(colour)} would be reduced to 8 bits, which --strict refuses")
    grey = colour.ndim == 2 or colour.shape[2] == 1
    levels = _levels(colour)
    planes = np.broadcast_to(levels.reshape(height, width, 1), (height, width, 3)) if grey else levels
    kept = {} if alpha is None else {"alpha": Exactly(_levels(alpha)).data}
    profile = extras.profile_for(grey=grey)
    kept |= {"icc": profile} if profile else {}
    kept |= {"exif": extras.exif.removeprefix(EXIF)} if extras.exif else {}
    keep = 0 if target == Target(target.quality) else KEPT  # one quality is one pass
    coder = Coder(model, planes, side=side, grey=grey, extras=kept, tell=tell, effort=effort, keep=keep)
    found = _reach(coder, target)
    channels = (1 if grey else 3) + (alpha is not None)
    told = "; ".join(filter(None, [f"{_bits(colour)} reduced to 8" if deep else "", found.told]))
    data = pack(found.photograph)
    return Coded(data, width, height, found.quality, found.psnr_db, height * width * channels, told)


@dataclass(frozen=True)
class Decoded:
    """A picture, and what could not be had of it.

    Attributes:
        picture: uint8 [H, W], [H, W, 2] (grey and alpha), [H, W, 3] or [H, W, 4].
        extras: EXIF and colour profile.
        lost: numbers of tiles, row by row, that are damaged and stay grey.
        missing: what else is damaged, of "alpha", "icc" and "exif".
        tiles: how many there are.
    """

    picture: Levels
    extras: Extras
    lost: tuple[int, ...]
    missing: tuple[str, ...]
    tiles: int


def decode(
    model: CodesTiles, data: bytes, *, region: Area | None = None, salvage: bool = False,
    most_pixels: int = MOST_PIXELS, tell: Tell | None = None,
) -> Decoded:  # fmt: skip
    """The picture of a file.

    Args:
        model: the codec that made it.
        data: the file.
        region: only this part of it; None for all.
        salvage: whether damaged parts are passed over.
        most_pixels: larger pictures are refused.
        tell: is told how far the work is.

    Raises:
        BitstreamError: no such file, damaged, too large, or of another model.
        DataError: a region that is not in the picture.
    """
    photograph = unpack(data, salvage=salvage, most_pixels=most_pixels)
    whole = Area(0, photograph.height, 0, photograph.width)
    if region is not None and (min(region.size) < 1 or region.within(whole) != region):
        raise DataError(
            f"a region of {region.size[1]} x {region.size[0]} pixels from {region.left},{region.top} is not in a "
            f"picture of {photograph.width} x {photograph.height}"
        )
    missing = [name for name, bit in EXTRAS.items() if data[3] & bit and name not in photograph.extras]
    lost: list[int] = []
    try:
        parts = _parts(photograph, region or whole, salvage, missing)
        found = decompress(model, photograph, region=region, tell=tell, lost=lost if salvage else None)
    except MemoryError:
        raise DataError(f"{photograph.width} x {photograph.height} pixels are too many for the memory") from None
    colour = to_grey(found)[..., None] if photograph.grey else found
    picture = colour if parts.alpha is None else np.dstack([colour, parts.alpha])
    if picture.shape[2] == 1:
        picture = picture[..., 0]
    return Decoded(picture, parts.extras, tuple(lost), tuple(missing), len(photograph.tiles))


def as_codec(model: CodesTiles) -> Codec:
    """A photo codec as one beside the classical ones."""

    def write(picture: Levels, quality: float | None) -> bytes:
        assert quality is not None
        return encode(model, picture, Target(int(quality))).data

    return Codec(NAME, "quality", QUALITIES, write, lambda data, channels: decode(model, data).picture)


@dataclass(frozen=True)
class _Parts:
    alpha: Levels | None
    extras: Extras


def _parts(photograph: Photograph, area: Area, salvage: bool, missing: list[str]) -> _Parts:
    """What a file holds beside its tiles; what is damaged joins the missing."""
    alpha: Levels | None = None
    if "alpha" in photograph.extras:
        try:
            alpha = area.of(from_png(photograph.extras["alpha"], (photograph.height, photograph.width), grey=True))
        except BitstreamError:
            if not salvage:
                raise
            missing.append("alpha")
    exif = photograph.extras.get("exif", b"")
    return _Parts(alpha, Extras(EXIF + exif if exif else b"", photograph.extras.get("icc", b"")))


def _reach(coder: Coder, target: Target) -> rate_control.Reached:
    if target.psnr_db is not None:
        return rate_control.at_psnr(coder, target.psnr_db)
    pixels = coder.picture.shape[0] * coder.picture.shape[1]
    size = int(target.bpp * pixels / 8) if target.bpp is not None else target.size
    return rate_control.at_quality(coder, target.quality) if size is None else rate_control.at_size(coder, size)


def _levels(array: Array) -> Levels:
    """8 bits of any kind of pixels.

    Raises:
        DataError: floating numbers beyond [0, 1].
    """
    if array.dtype == np.uint16:
        array = to_8_bits(array)
    if array.dtype.kind == "f":
        if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1):
            raise DataError("floating numbers outside [0, 1] are no picture")
        array = np.rint(array * 255).astype(np.uint8)
    assert array.dtype == np.uint8
    levels: Levels = array
    return levels


def _bits(array: Array) -> str:
    return "16 bits" if array.dtype == np.uint16 else "floating numbers"
