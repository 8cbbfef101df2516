"""The file of a photograph: a header, an index of tiles, and a payload for each, so that a part can be read alone.

All numbers are big-endian. `docs/format.md` specifies every byte; nothing here knows what payloads mean.

    0   2  magic, 8F 49                                      16  1  log2 of a tile's side, 8 to 12
    2   1  version, 2                                        17  …  index: for each tile, row by row,
    3   1  flags: 1 grey, 2 alpha, 4 ICC profile, 8 EXIF             1 kind, 1 rate, 4 length, 4 CRC-32
    4   4  hash of what decodes it                               …  for each of alpha, ICC, EXIF: 4 length, 4 CRC-32
    8   4  width                                                 4  CRC-32 of all before
    12  4  height                                                …  payloads: the tiles', then alpha, ICC, EXIF
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from imprior.errors import BitstreamError

SUFFIX = ".imp"  # of its name
MAGIC = b"\x8fI"
VERSION = 2
GREY = 1
EXTRAS = {"alpha": 2, "icc": 4, "exif": 8}
Kind = Literal["learned", "png", "colour"]
KINDS: tuple[Kind, ...] = ("learned", "png", "colour")
SMALLEST_TILE, LARGEST_TILE = 8, 12  # log2 of its side
MOST_PIXELS = 1 << 28  # of a picture, unless its owner says otherwise
HEAD = struct.Struct(">2sBB4sIIB")
ENTRY = struct.Struct(">BBII")
LENGTH = struct.Struct(">II")


@dataclass(frozen=True)
class Tile:
    """One tile as it is stored.

    Attributes:
        kind: how.
        rate: quality, 0 to 100 (100 of tiles that no network decodes).
        payload: its bytes; of a damaged tile None.
    """

    kind: Kind
    rate: int
    payload: bytes | None


@dataclass(frozen=True)
class Photograph:
    """What a file holds.

    Attributes:
        weights: four bytes of the hash of what decodes it.
        width, height: of the picture.
        side: of a tile, a power of two; those at the right and the lower edge are smaller.
        grey: whether it is a grey picture.
        tiles: row by row.
        extras: alpha, ICC profile and EXIF, those that are there.
    """

    weights: bytes
    width: int
    height: int
    side: int
    grey: bool
    tiles: Sequence[Tile]
    extras: dict[str, bytes] = field(default_factory=dict)

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of tiles."""
        return -(-self.height // self.side), -(-self.width // self.side)


def is_tiled(data: bytes) -> bool:
    """Whether a file is of this kind (it may still be damaged)."""
    return data[:2] == MAGIC and len(data) > 2 and data[2] & 0x0F == VERSION


def pack(photograph: Photograph) -> bytes:
    """The file.

    >>> tile = Tile("colour", 100, b"abc")
    >>> pack(Photograph(b"\\1\\2\\3\\4", 5, 3, 256, False, [tile])).hex(" ", 4)
    '8f49 02000102 03040000 00050000 00030802 64000000 03352441 c26324bd fe616263'
    """
    flags = GREY * photograph.grey | sum(bit for name, bit in EXTRAS.items() if name in photograph.extras)
    log_side = photograph.side.bit_length() - 1
    assert photograph.side == 1 << log_side and SMALLEST_TILE <= log_side <= LARGEST_TILE
    rows, columns = photograph.grid
    assert len(photograph.tiles) == rows * columns
    head = [HEAD.pack(MAGIC, VERSION, flags, photograph.weights, photograph.width, photograph.height, log_side)]
    payloads = []
    for tile in photograph.tiles:
        assert tile.payload is not None
        head.append(ENTRY.pack(KINDS.index(tile.kind), tile.rate, len(tile.payload), zlib.crc32(tile.payload)))
        payloads.append(tile.payload)
    for name in EXTRAS:
        if name in photograph.extras:
            head.append(LENGTH.pack(len(photograph.extras[name]), zlib.crc32(photograph.extras[name])))
            payloads.append(photograph.extras[name])
    begun = b"".join(head)
    return b"".join([begun, zlib.crc32(begun).to_bytes(4, "big"), *payloads])


def unpack(data: bytes, *, salvage: bool = False, most_pixels: int = MOST_PIXELS) -> Photograph:
    """What a file holds.

    Args:
        data: the file.
        salvage: whether damaged payloads are passed over (None, or left out of the extras) instead of refused.
        most_pixels: larger pictures are refused.

    Raises:
        BitstreamError: not such a file, of another version, damaged, truncated, or too large.
    """
    if data[:2] != MAGIC:
        raise BitstreamError("not a file of this program's codecs (" + ("it is empty)" if not data else "other magic)"))
    if len(data) < HEAD.size:
        raise BitstreamError(f"truncated: {len(data)} bytes are less than the shortest file has")
    _, version, flags, weights, width, height, log_side = HEAD.unpack_from(data)
    if version != VERSION:
        raise BitstreamError(f"a file of version {version}, but this program reads {VERSION}: it wants a newer imprior")
    if flags >= 16 or not SMALLEST_TILE <= log_side <= LARGEST_TILE or not (width and height):
        raise BitstreamError("damaged: its header holds a value that no file has")
    if width * height > most_pixels:
        raise BitstreamError(f"claims {width} x {height} pixels, more than the {most_pixels:,} that are allowed")
    begun = Photograph(weights, width, height, 1 << log_side, bool(flags & GREY), [])
    rows, columns = begun.grid
    names = [name for name, bit in EXTRAS.items() if flags & bit]
    end = HEAD.size + rows * columns * ENTRY.size + len(names) * LENGTH.size
    if len(data) < end + 4:
        raise BitstreamError(f"truncated: {len(data)} bytes, and its index alone takes {end + 4}")
    if zlib.crc32(data[:end]) != int.from_bytes(data[end : end + 4], "big"):
        raise BitstreamError("damaged: the checksum of its header does not match")
    place = end + 4
    tiles = []
    for number in range(rows * columns):
        kind, rate, length, checksum = ENTRY.unpack_from(data, HEAD.size + number * ENTRY.size)
        if kind >= len(KINDS) or rate > 100:
            raise BitstreamError("damaged: its index holds a value that no file has")
        payload = _payload(data, place, length, checksum, f"tile {number}", salvage)
        tiles.append(Tile(KINDS[kind], rate, payload))
        place += length
    extras = {}
    for number, name in enumerate(names):
        length, checksum = LENGTH.unpack_from(data, end - (len(names) - number) * LENGTH.size)
        payload = _payload(data, place, length, checksum, name, salvage)
        if payload is not None:
            extras[name] = payload
        place += length
    if place < len(data) and not salvage:
        raise BitstreamError(f"damaged: {len(data) - place} bytes follow its end")
    return Photograph(weights, width, height, begun.side, begun.grey, tiles, extras)


@dataclass(frozen=True)
class Index:
    """How many bytes the parts of a file have, whole or not.

    Attributes:
        tiles: row by row.
        extras: by name.
        end: of the file, where it should be.
    """

    tiles: list[int]
    extras: dict[str, int]
    end: int


def index(data: bytes) -> Index:
    """The index of a file that `unpack` lets pass."""
    _, _, flags, _, width, height, log_side = HEAD.unpack_from(data)
    count = -(-height >> log_side) * -(-width >> log_side)
    names = [name for name, bit in EXTRAS.items() if flags & bit]
    tiles = [ENTRY.unpack_from(data, HEAD.size + number * ENTRY.size)[2] for number in range(count)]
    place = HEAD.size + count * ENTRY.size
    extras = {name: LENGTH.unpack_from(data, place + n * LENGTH.size)[0] for n, name in enumerate(names)}
    end = place + len(names) * LENGTH.size + 4 + sum(tiles) + sum(extras.values())
    return Index(tiles, extras, end)


def _payload(data: bytes, place: int, length: int, checksum: int, name: str, salvage: bool) -> bytes | None:
    payload = data[place : place + length]
    if len(payload) == length and zlib.crc32(payload) == checksum:
        return payload
    if salvage:
        return None
    what = "truncated" if len(payload) < length else "damaged"
    raise BitstreamError(f"{what}: {name} is not whole (--salvage decodes what is)")
