"""Parts of a photograph's file that are stored as pixels: plain PNGs, with nothing else in them.

Grey pixels take one channel, and at most 256 colours a palette: screens and drawings have few. Where that takes too
many bytes, pixels of fewer levels are the next best: for noise, and for sharp edges at high quality, nothing is better.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterator
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from imprior.data.images import BROKEN
from imprior.errors import BitstreamError

Pixels = NDArray[np.uint8]
BAND = 16  # rows
HEAD = 8  # bytes of a PNG before its first chunk
FEWER = (2, 3, 4, 5, 6, 8, 11, 16, 24, 32, 48, 64, 96, 128)  # levels of coarser pixels, of the 256


class Exactly:
    """Pixels [h, w, 3] or [h, w] without loss, worked out when it is first asked for."""

    def __init__(self, pixels: Pixels) -> None:
        grey = pixels.ndim == 3 and bool((pixels == pixels[..., :1]).all())
        self.pixels = pixels[..., 0] if grey else pixels

    @cached_property
    def data(self) -> bytes:
        """The bytes."""
        return _png(self.pixels, 9)

    @cached_property
    def _about(self) -> float:
        """How many bytes the fastest compression takes: of large tiles estimated from a band of rows in eight."""
        rows = len(self.pixels)
        some = np.arange(rows) // BAND % 8 == 3 if rows >= 32 * BAND else np.ones(rows, bool)
        return len(_png(self.pixels[some], 1)) * rows / int(some.sum())

    def instead(self, most: int, mse: Callable[[], float]) -> bytes | None:
        """The bytes of a PNG that is no worse than what a codec has made, in size and in error; None if there is none.

        Args:
            most: bytes of the codec.
            mse: tells its mean squared error, on the 8-bit scale; asked where it matters.
        """
        # The fastest compression takes at most a few times the bytes of the best, and shows that most photographs are
        # none for this.
        if self._about > 4 * most:
            return None
        return self.data if len(self.data) <= most else self._coarser(mse(), most)

    def _coarser(self, mse: float, most: int) -> bytes | None:
        """Pixels of as few levels, black and white among them, as this error allows, if that takes at most `most`."""
        for levels in FEWER:
            step = 255 / (levels - 1)
            pixels = np.rint(np.rint(np.arange(256) / step) * step).astype(np.uint8)[self.pixels]
            if np.square(pixels.astype(np.int32) - self.pixels).mean() <= mse:
                data = _png(pixels, 9)
                return data if len(data) <= most else None
        return None


def from_png(data: bytes, size: tuple[int, int], *, grey: bool = False) -> Pixels:
    """The pixels of a plain PNG of this height and width.

    Raises:
        BitstreamError: it is damaged, of another size or kind, or holds more than pixels.
    """
    try:
        kinds = set(_chunks(data))
        # Not Image.open, which has a limit of its own for sizes: this one was checked with the file's header.
        image = PngImagePlugin.PngImageFile(io.BytesIO(data))
        if image.size[::-1] != size or image.mode not in (("L",) if grey else ("L", "P", "RGB")):
            raise BitstreamError(f"damaged: a part is {image.size[::-1]} {image.mode}, where {size} is due")
        if kinds - {b"IHDR", b"IDAT", b"IEND"} - ({b"PLTE"} if image.mode == "P" else set()):
            raise BitstreamError("damaged: a part that is stored as pixels holds what no encoder writes")
        if image.mode == "P" and 3 * int(np.asarray(image).max()) >= len(image.getpalette() or ()):
            raise BitstreamError("damaged: a part that is stored as pixels has colours that its palette lacks")
        return np.array(image if grey else image.convert("RGB"))
    except BROKEN as error:
        raise BitstreamError(f"damaged: a part that is stored as pixels can't be read ({error})") from None


def _png(pixels: Pixels, level: int) -> bytes:
    file = io.BytesIO()
    few = _palette(pixels) if pixels.ndim == 3 else None
    if few is None:
        image = Image.fromarray(pixels)
    else:
        colours, index = few
        image = Image.fromarray(index)
        image.putpalette(colours.tobytes())
    image.save(file, "PNG", compress_level=level)
    return file.getvalue()


def _palette(pixels: Pixels) -> tuple[Pixels, Pixels] | None:
    """At most 256 colours [K, 3] and the number of each pixel's [h, w]; None where there are more."""

    def numbers(some: Pixels) -> NDArray[np.uint32]:
        return some.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)

    if len(np.unique(numbers(pixels[::BAND]))) > 256:  # most photographs are out at once
        return None
    found, index = np.unique(numbers(pixels), return_inverse=True)
    if len(found) > 256:
        return None
    colours = np.stack([found >> 16, found >> 8 & 255, found & 255], 1).astype(np.uint8)
    return colours, index.reshape(pixels.shape[:2]).astype(np.uint8)


def _chunks(data: bytes) -> Iterator[bytes]:
    """The types of a PNG's chunks."""
    place = HEAD
    while place < len(data):
        (length,) = struct.unpack_from(">I", data, place)
        yield data[place + 4 : place + 8]
        place += 12 + length
