"""Parts of a photograph's file that are stored without loss: plain PNGs, with nothing in them but pixels."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from imprior.data.images import BROKEN
from imprior.errors import BitstreamError

Pixels = NDArray[np.uint8]
BAND = 16  # rows
HEAD = 8  # bytes of a PNG before its first chunk


class Exactly:
    """Pixels [h, w, 3] or [h, w] without loss, worked out when it is first asked for."""

    def __init__(self, pixels: Pixels) -> None:
        self.pixels = pixels

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

    def within(self, most: int) -> bytes | None:
        """The bytes, if they are at most so many."""
        # The fastest compression takes at most a few times the bytes of the best, and shows that most photographs are
        # none for this.
        return self.data if self._about <= 4 * most and len(self.data) <= most else None


def from_png(data: bytes, size: tuple[int, int], *, grey: bool = False) -> Pixels:
    """The pixels of a plain PNG of this height and width.

    Raises:
        BitstreamError: it is damaged, of another size or kind, or holds more than pixels.
    """
    try:
        if any(kind not in (b"IHDR", b"IDAT", b"IEND") for kind in _chunks(data)):
            raise BitstreamError("damaged: a part that is stored without loss holds what no encoder writes")
        # Not Image.open, which has a limit of its own for sizes: this one was checked with the file's header.
        image = PngImagePlugin.PngImageFile(io.BytesIO(data))
        if image.size[::-1] != size or image.mode != ("L" if grey else "RGB"):
            raise BitstreamError(f"damaged: a part is {image.size[::-1]} {image.mode}, where {size} is due")
        return np.array(image)
    except BROKEN as error:
        raise BitstreamError(f"damaged: a part that is stored without loss can't be read ({error})") from None


def _png(pixels: Pixels, level: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=level)
    return file.getvalue()


def _chunks(data: bytes) -> Iterator[bytes]:
    """The types of a PNG's chunks."""
    place = HEAD
    while place < len(data):
        (length,) = struct.unpack_from(">I", data, place)
        yield data[place + 4 : place + 8]
        place += 12 + length
