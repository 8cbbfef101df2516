"""Pictures of 16 bits: Pillow reads and writes them in grey, but silently reduces colour to 8 bits.

Reading: its unpackers for 16-bit colour keep one byte of each number. The one for big-endian numbers keeps the first,
the one for little-endian numbers the second; so decoding twice, once with each, gives both bytes of every number,
whatever the file's compression. Writing: a PNG with one filter type is a few lines, and of a TIFF Pillow writes all but
the pixels. PNG, TIFF and PPM are covered; colour of more than 8 bits in JPEG 2000 and AVIF is reduced to 8 by their
decoders.
"""

from __future__ import annotations

import struct
import sys
import zlib
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps, TiffImagePlugin, TiffTags

from imprior.errors import DataError

Array = NDArray[Any]
PNG_COLOUR = {1: 0, 2: 4, 3: 2, 4: 6}  # channels -> colour type, PNG specification, table 11.1
BITS_PER_SAMPLE = 258  # TIFF tag


def has_16_bits(image: Image.Image) -> bool:
    """Whether an opened, not yet decoded picture holds integers of more than 8 bits."""
    raw, argument = _raw(image)
    tags = getattr(image, "tag_v2", {})
    deep_tiff = image.mode not in ("F", "I") and 16 in tuple(tags.get(BITS_PER_SAMPLE, ()))
    return image.mode.startswith("I") or ";16" in raw or deep_tiff or (image.format == "PPM" and argument > 255)


def read_16_bits(file: IO[bytes], image: Image.Image, name: str) -> Array:
    """uint16 [H, W] or [H, W, C] of an encoded picture for which `has_16_bits`, orientation applied.

    Args:
        file: the encoded picture.
        image: the same, opened.
        name: for messages.

    Raises:
        DataError: a kind whose 16 bits can't be had, or numbers beyond 16 bits.
    """
    raw, argument = _raw(image)
    if image.mode.startswith("I"):
        array = np.asarray(ImageOps.exif_transpose(image))
        if array.size and (array.min() < 0 or array.max() > 65535):
            raise DataError(f"{name}: values from {array.min()} to {array.max()}, beyond 16 bits")
        return array.astype(np.uint16)
    if raw in ("RGB;16B", "RGB;16L", "RGB;16N", "RGBA;16B", "RGBA;16L", "RGBA;16N"):
        big, little = (_planes(file, image, raw[:-1] + order).astype(np.uint16) for order in "BL")
        first_is_high = raw.endswith("B") or (raw.endswith("N") and sys.byteorder == "big")
        return (big << 8 | little) if first_is_high else (little << 8 | big)
    if raw == "LA;16B":  # as four bytes a pixel
        four = _planes(file, image, "RGBA").astype(np.uint16)
        return four[..., 0::2] << 8 | four[..., 1::2]
    if raw == "RGB" and argument > 255 and isinstance(image, ImageFile.ImageFile) and _starts(file, b"P6"):
        file.seek(image.tile[0].offset)
        count = image.width * image.height * 3
        numbers = np.frombuffer(file.read(2 * count), ">u2", count)
        scaled = np.rint(numbers.astype(np.float64) * (65535 / argument))
        return scaled.astype(np.uint16).reshape(image.height, image.width, 3)
    raise DataError(f"{name}: 16 bits of this kind ({image.format}, {raw or image.mode}) can't be read; save it as PNG")


def save_png16(out: IO[bytes], array: Array, *, exif: bytes = b"", profile: bytes = b"") -> None:
    """Write a PNG of 16 bits from uint16 [H, W, C], C up to 4; `exif` begins with "Exif", `profile` is an ICC one."""
    height, width, channels = array.shape
    rows = np.ascontiguousarray(array, ">u2").reshape(height, width * channels).view(np.uint8)  # [H, W·C·2]
    filtered = np.empty((height, 1 + rows.shape[1]), np.uint8)
    filtered[:, 0] = 1  # filter type "Sub": each byte minus the byte one pixel before
    filtered[:, 1:] = rows
    filtered[:, 1 + 2 * channels :] -= rows[:, : -2 * channels]
    header = struct.pack(">IIBBBBB", width, height, 16, PNG_COLOUR[channels], 0, 0, 0)
    chunks = [(b"IHDR", header)]
    if profile:
        chunks.append((b"iCCP", b"ICC Profile\0\0" + zlib.compress(profile)))
    if exif:
        chunks.append((b"eXIf", exif.removeprefix(b"Exif\0\0")))
    chunks += [(b"IDAT", zlib.compress(filtered.data, 6)), (b"IEND", b"")]
    out.write(b"\x89PNG\r\n\x1a\n")
    for kind, data in chunks:
        out.write(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(kind))))


def save_tiff16(out: IO[bytes], array: Array, *, exif: bytes = b"", profile: bytes = b"") -> None:
    """Write a TIFF of 16 bits (deflated, one strip) from uint16 [H, W, 3 or 4]; `exif`, `profile` as for PNG."""
    height, width, channels = array.shape
    pixels = zlib.compress(np.ascontiguousarray(array, "<u2").data, 6)
    tags = TiffImagePlugin.ImageFileDirectory_v2(b"II*\0\0\0\0\0")
    told = Image.Exif()
    told.load(exif)
    for tag in told:
        tags[tag] = told.get_ifd(tag) if tag in TiffTags.TAGS_V2_GROUPS else told[tag]
    tags[TiffImagePlugin.IMAGEWIDTH], tags[TiffImagePlugin.IMAGELENGTH] = width, height
    tags[TiffImagePlugin.BITSPERSAMPLE] = (16,) * channels
    tags[TiffImagePlugin.COMPRESSION] = 8  # Adobe's deflate
    tags[TiffImagePlugin.PHOTOMETRIC_INTERPRETATION] = 2  # RGB
    tags[TiffImagePlugin.SAMPLESPERPIXEL] = channels
    tags[TiffImagePlugin.ROWSPERSTRIP] = height
    tags[TiffImagePlugin.STRIPBYTECOUNTS] = len(pixels)
    tags[TiffImagePlugin.STRIPOFFSETS] = 0  # behind the tags: Pillow adds where they end
    if channels == 4:
        tags[TiffImagePlugin.EXTRASAMPLES] = 2  # transparency that is not multiplied into the colours
    if profile:
        tags[TiffImagePlugin.ICCPROFILE] = profile
    tags.save(out)
    out.write(pixels)


def _raw(image: Image.Image) -> tuple[str, int]:
    """How Pillow will unpack a picture's bytes, and the largest number of a PPM (else 0)."""
    if not isinstance(image, ImageFile.ImageFile) or not image.tile:
        return "", 0
    args = image.tile[0].args
    values = args if isinstance(args, tuple) else (args,)
    largest = values[1] if image.tile[0].codec_name.startswith("ppm") and len(values) > 1 else 0
    return str(values[0]), int(largest)


def _starts(file: IO[bytes], word: bytes) -> bool:
    file.seek(0)
    return file.read(len(word)) == word


def _planes(file: IO[bytes], image: Image.Image, raw: str) -> Array:
    """uint8 [H, W, C]: the picture decoded with another unpacker."""
    file.seek(0)
    again = Image.open(file, formats=[image.format or ""])
    assert isinstance(again, ImageFile.ImageFile), "opened from a file, so it has tiles"
    again.tile = [
        tile._replace(args=(raw, *tile.args[1:]) if isinstance(tile.args, tuple) else raw) for tile in again.tile
    ]
    return np.asarray(ImageOps.exif_transpose(again))
