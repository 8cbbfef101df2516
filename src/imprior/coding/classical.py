"""The codecs that learned ones are measured against, from libraries: 8-bit pictures to real files and back.

Each is used as a careful person would: optimised Huffman tables in JPEG, the slowest WebP, JPEG 2000 without its box
around it. jpeg halves the resolution of colour (4:2:0), as most JPEGs do, and jpeg-444 keeps it; avif is what Pillow
does by default, avif-slow the slowest, which keeps colour as well. Huffman coding comes from constriction, LZW and
run-length coding from TIFF.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imprior.errors import BitstreamError, DataError, MissingExtraError, nearest

Picture = NDArray[np.uint8]  # [H, W] grey or [H, W, 3] colour
Quality = float | None  # None: without loss

QUALITIES: tuple[Quality, ...] = (1, 5, 15, 30, 50, 70, 85, 95)
DECIBELS: tuple[Quality, ...] = (14, 17, 20, 24, 28, 32, 36, 40, 45)
DISTANCES: tuple[Quality, ...] = (15, 8, 4, 2, 1, 0.5, 0.2)


@dataclass(frozen=True)
class Codec:
    """A codec with its quality settings.

    Attributes:
        name: as in `CODECS`.
        scale: what its quality is: "quality", "dB", "distance"; "" where there is none.
        qualities: settings worth a point in a plot, worst picture first; None is lossless coding.
        writer: (picture, quality) -> file.
        reader: (file, number of channels) -> picture.
        grey_only: lossless for grey pictures, lossy for colour.
    """

    name: str
    scale: str
    qualities: tuple[Quality, ...]
    writer: Callable[[Picture, Quality], bytes]
    reader: Callable[[bytes, int], Picture]
    grey_only: bool = False

    def lossless(self, quality: Quality, channels: int) -> bool:
        """Whether pictures come back equal, whatever they are."""
        return quality is None and (channels == 1 or not self.grey_only)

    def label(self, quality: Quality, channels: int) -> str:
        """A setting in words: "quality 50", "lossless", "256 colours"."""
        if quality is not None:
            return f"{self.scale} {quality:g}"
        return "lossless" if self.lossless(quality, channels) else "256 colours"

    def encode(self, picture: Picture, quality: Quality) -> bytes:
        """The file of a picture.

        Raises:
            DataError: a picture that this format has no room for.
            MissingExtraError: the codec's library is not installed.
        """
        assert picture.dtype == np.uint8 and picture.shape[2:] in ((), (3,))
        try:
            return self.writer(picture, quality)
        except (OSError, ValueError) as error:
            height, width = picture.shape[:2]
            raise DataError(f"{self.name} can't encode a picture of {width} x {height} pixels ({error})") from None

    def decode(self, data: bytes, channels: int) -> Picture:
        """The picture of a file; `channels` is 1 or 3, as some formats store grey as colour.

        Raises:
            BitstreamError: the file is damaged.
            MissingExtraError: the codec's library is not installed.
        """
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", UserWarning)  # so Pillow reports some kinds of damage
                return self.reader(data, channels)
        except (OSError, ValueError, SyntaxError, UserWarning) as error:
            raise BitstreamError(f"damaged {self.name} file ({error})") from None


def codec(name: str) -> Codec:
    """The codec of that name.

    Raises:
        DataError: there is none; the nearest name is given.
    """
    if name not in CODECS:
        raise DataError(f"no codec '{name}'{nearest(name, CODECS)}; there are {', '.join(CODECS)}")
    return CODECS[name]


def _pillow(
    name: str, form: str, scale: str, qualities: tuple[Quality, ...], options: Callable[[Quality], dict[str, Any]]
) -> Codec:
    """A codec of Pillow's; `options` are what `Image.save` is told for a quality."""

    def write(picture: Picture, quality: Quality) -> bytes:
        from PIL import Image, ImageFile

        # Pillow gives libjpeg a byte a pixel where tables are optimised, and more only if it is told to: noise in
        # colour takes more.
        ImageFile.MAXBLOCK = max(ImageFile.MAXBLOCK, 2 * picture.size)
        file = io.BytesIO()
        Image.fromarray(picture).save(file, form, **options(quality))
        return file.getvalue()

    def read(data: bytes, channels: int) -> Picture:
        from PIL import Image

        with Image.open(io.BytesIO(data), formats=[form]) as image:
            return np.asarray(image.convert("L" if channels == 1 else "RGB"))

    return Codec(name, scale, qualities, write, read, grey_only=form == "GIF")


def _webp(quality: Quality) -> dict[str, Any]:
    return {"method": 6} | ({"lossless": True, "quality": 100} if quality is None else {"quality": quality})


def _jpeg(subsampling: str) -> Callable[[Quality], dict[str, Any]]:
    return lambda quality: {"quality": quality, "optimize": True, "subsampling": subsampling}


def _avif(**how: Any) -> Callable[[Quality], dict[str, Any]]:
    return lambda quality: {"quality": quality, "max_threads": 1} | how


def _jpeg2000(quality: Quality) -> dict[str, Any]:
    lossy = {} if quality is None else {"irreversible": True, "quality_mode": "dB", "quality_layers": [quality]}
    return {"no_jp2": True, "mct": 1} | lossy  # colours are decorrelated only where that is asked for


def _imagecodecs() -> Any:
    try:
        import imagecodecs
    except ImportError:
        raise MissingExtraError("the codec 'jxl' needs imagecodecs: pip install 'imprior[bench]'") from None
    return imagecodecs


def _write_jxl(picture: Picture, quality: Quality) -> bytes:
    how = {"lossless": True} if quality is None else {"distance": quality}
    return bytes(_imagecodecs().jpegxl_encode(picture, numthreads=1, **how))


def _read_jxl(data: bytes, channels: int) -> Picture:
    library = _imagecodecs()
    try:
        found: Picture = library.jpegxl_decode(data, numthreads=1)
    except library.JpegxlError as error:
        raise ValueError(error) from None
    return found


# A Huffman file: height, width (16 bits each), channels (8), which of the 256 levels occur (256 bits), the length in
# bits of each one's code word (8 bits), then the code words. Both ends build the tree of the probabilities 2^-length,
# which has code words of just these lengths, so no counts need to be sent.
_HEAD = 5 + 32


def _write_huffman(picture: Picture, quality: Quality) -> bytes:
    from constriction import symbol

    height, width = picture.shape[:2]
    if max(height, width) > 0xFFFF:
        raise ValueError("a side has more than 65,535 pixels")
    counts = np.bincount(picture.ravel(), minlength=256)
    present = counts > 0
    rank = (np.cumsum(present) - 1)[picture.ravel()]
    tree = symbol.huffman.EncoderHuffmanTree(counts[present].astype(np.float64))
    lengths = []
    for level in range(int(present.sum())):
        probe = symbol.QueueEncoder()
        probe.encode_symbol(level, tree)
        lengths.append(probe.get_compressed_and_bitrate()[1])
    tree = symbol.huffman.EncoderHuffmanTree(2.0 ** -np.array(lengths, np.float64))
    coder = symbol.QueueEncoder()
    for level in rank.tolist():
        coder.encode_symbol(level, tree)
    words, bits = coder.get_compressed_and_bitrate()
    head = height.to_bytes(2, "big") + width.to_bytes(2, "big") + bytes([picture.size // (height * width)])
    payload = words.astype("<u4").tobytes()[: -(-bits // 8)]
    return bytes(head + np.packbits(present).tobytes() + bytes(lengths) + payload)


def _read_huffman(data: bytes, channels: int) -> Picture:
    from constriction import symbol

    if len(data) <= _HEAD:
        raise ValueError("truncated")
    height, width = int.from_bytes(data[:2], "big"), int.from_bytes(data[2:4], "big")
    levels = np.flatnonzero(np.unpackbits(np.frombuffer(data, np.uint8, 32, 5)))
    lengths = np.frombuffer(data, np.uint8, len(levels), _HEAD)
    tree = symbol.huffman.DecoderHuffmanTree(2.0 ** -lengths.astype(np.float64))
    payload = data[_HEAD + len(levels) :]
    padded = payload + b"\0" * (-len(payload) % 4)
    coder = symbol.QueueDecoder(np.frombuffer(padded, "<u4").astype(np.uint32))
    count = height * width * data[4]
    ranks = np.fromiter((coder.decode_symbol(tree) for _ in range(count)), np.int64, count)
    shape = (height, width) if data[4] == 1 else (height, width, data[4])
    return levels[ranks].astype(np.uint8).reshape(shape)


CODECS: dict[str, Codec] = {
    c.name: c
    for c in (
        _pillow("png", "PNG", "", (None,), lambda quality: {"optimize": True}),
        _pillow("gif", "GIF", "", (None,), lambda quality: {"optimize": True}),
        _pillow("webp", "WEBP", "quality", (*QUALITIES, None), _webp),
        _pillow("jpeg", "JPEG", "quality", QUALITIES, _jpeg("4:2:0")),
        _pillow("jpeg-444", "JPEG", "quality", QUALITIES, _jpeg("4:4:4")),
        _pillow("jpeg2000", "JPEG2000", "dB", (*DECIBELS, None), _jpeg2000),
        _pillow("avif", "AVIF", "quality", QUALITIES, _avif()),
        _pillow("avif-slow", "AVIF", "quality", QUALITIES, _avif(speed=0, subsampling="4:4:4")),
        Codec("jxl", "distance", (*DISTANCES, None), _write_jxl, _read_jxl),
        Codec("huffman", "", (None,), _write_huffman, _read_huffman),
        _pillow("lzw", "TIFF", "", (None,), lambda quality: {"compression": "tiff_lzw"}),
        _pillow("rle", "TIFF", "", (None,), lambda quality: {"compression": "packbits"}),
    )
}
