"""A decoder of .imp files in plain NumPy, written from docs/format.md alone: nothing here comes from the package.

decode(data, weights) ──► uint8 [H, W, 3] or [H, W]        weights: name -> array, as in the safetensors file
"""

from __future__ import annotations

import bisect
import hashlib
import io
import struct
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

Array = np.ndarray[Any, Any]
Weights = dict[str, Array]


class Damaged(Exception):
    """Not a file that the page allows."""


# Container


@dataclass
class File:
    version: int
    flags: int
    hash: bytes
    width: int
    height: int
    side: int
    tiles: list[tuple[int, int, bytes]]  # kind, quality, payload
    extras: dict[str, bytes]


def container(data: bytes) -> File:
    if data[:2] != bytes.fromhex("8f49") or len(data) < 17:
        raise Damaged("no such file")
    version, flags, named, width, height, log_side = struct.unpack(">BB4sIIB", data[2:17])
    if version != 2 or flags >= 16 or not 8 <= log_side <= 12 or width == 0 or height == 0:
        raise Damaged("header")
    side = 2**log_side
    tiles = -(-height // side) * -(-width // side)
    extras = [name for bit, name in ((2, "transparency"), (4, "profile"), (8, "exif")) if flags & bit]
    end = 17 + 10 * tiles + 8 * len(extras)
    if len(data) < end + 4 or struct.pack(">I", zlib.crc32(data[:end])) != data[end : end + 4]:
        raise Damaged("index")
    place = end + 4

    def payload(length: int, checksum: int) -> bytes:
        nonlocal place
        found = data[place : place + length]
        if len(found) < length or zlib.crc32(found) != checksum:
            raise Damaged("payload")
        place += length
        return found

    found = []
    for kind, quality, length, checksum in struct.iter_unpack(">BBII", data[17 : 17 + 10 * tiles]):
        if kind > 2 or quality > 100:
            raise Damaged("tile")
        found.append((kind, quality, payload(length, checksum)))
    ends = struct.iter_unpack(">II", data[17 + 10 * tiles : end])
    more = {name: payload(*lengths) for name, lengths in zip(extras, ends, strict=True)}
    if place != len(data):
        raise Damaged("more follows")
    return File(version, flags, named, width, height, side, found, more)


def hash_of(weights: Weights) -> bytes:
    sha = hashlib.sha256()
    for name in sorted(weights):
        values = weights[name]
        shape = "(" + ", ".join(map(str, values.shape)) + ("," if values.ndim == 1 else "") + ")"
        sha.update(f"{name} torch.{values.dtype.name} {shape};".encode())
        sha.update(values.astype(values.dtype.newbyteorder("<")).tobytes())
    return sha.digest()[:4]


# Entropy coder


class RangeDecoder:
    def __init__(self, data: bytes) -> None:
        self.data, self.place = data, 0
        self.width = 2**64 - 1
        self.point = self.word() << 32
        self.point |= self.word()

    def word(self) -> int:
        found = self.data[self.place : self.place + 4].ljust(4, b"\0")
        self.place += 4
        return int.from_bytes(found, "big")

    def symbol(self, table: list[int]) -> int:
        scale = self.width >> 24
        place = self.point // scale
        if place >= 1 << 24:
            raise Damaged("no encoder writes this")
        symbol = bisect.bisect_right(table, place) - 1
        self.point -= scale * table[symbol]
        self.width = scale * (table[symbol + 1] - table[symbol])
        if self.width < 1 << 32:
            self.width <<= 32
            self.point = self.point << 32 | self.word()
        return symbol

    def call(self, numbers: list[int], tables: list[list[int]]) -> list[int]:
        found = [0] * len(numbers)
        for place in sorted(range(len(numbers)), key=lambda place: numbers[place]):  # stable
            found[place] = self.symbol(tables[numbers[place]])
        return found

    def block(self, numbers: list[int], tables: list[list[int]], m: int) -> list[int]:
        symbols = self.call(numbers, tables)
        values = [symbol - m for symbol in symbols]
        escaped = [place for place, symbol in enumerate(symbols) if symbol == 2 * m + 1]
        digits = self.call([0] * (2 * len(escaped)), [[i << 16 for i in range(257)]])
        for place, high, low in zip(escaped, digits[0::2], digits[1::2], strict=True):
            values[place] = 256 * high + low - 32768
            if abs(values[place]) <= m:
                raise Damaged("escaped without need")
        return values


# Whole numbers


def rounded(x: Array, shift: Any) -> Array:
    """floor(x 2^-shift + 1/2)."""
    shift = np.broadcast_to(np.asarray(shift, np.int64), x.shape)
    right, left = np.maximum(shift, 0), np.maximum(-shift, 0)
    return ((x << left) + (np.int64(1) << right >> 1)) >> right


def clamp(x: Array, most: int) -> Array:
    return np.clip(x, -most, most)


def depth_to_space(x: Array, by: int) -> Array:
    channels, height, width = x.shape
    split = x.reshape(channels // by**2, by, by, height, width)
    return split.transpose(0, 3, 1, 4, 2).reshape(channels // by**2, by * height, by * width)


class Network:
    def __init__(self, weights: Weights, name: str) -> None:
        self.weights = {k.removeprefix(f"{name}.layers."): v for k, v in weights.items() if k.startswith(f"{name}.")}
        self.bend = int(weights.get("bend", 0))
        self.layers = sorted({int(key.partition(".")[0]) for key in self.weights})

    def act(self, x: Array) -> Array:
        return np.maximum(x, rounded(x, self.bend) if self.bend else 0)

    def convolution(self, x: Array, layer: str) -> Array:
        weight, bias, shift, entry = (
            self.weights[f"{layer}.{part}"].astype(np.int64) for part in ("weight", "bias", "shift", "entry")
        )
        x = clamp(rounded(x, entry[0]), int(entry[1]))
        size = weight.shape[2]
        _, height, width = x.shape
        padded = np.pad(x, ((0, 0), (size // 2,) * 2, (size // 2,) * 2))
        y = np.broadcast_to(bias[:, None, None], (len(weight), height, width)).copy()
        for a in range(size):
            for b in range(size):
                y += np.tensordot(weight[:, :, a, b], padded[:, a : a + height, b : b + width], 1)
        return clamp(rounded(y, shift[:, None, None]), 2**20)

    def block(self, x: Array, layer: int) -> Array:
        inside = self.act(self.convolution(x, f"{layer}.first"))
        return clamp(x + self.convolution(inside, f"{layer}.second"), 2**20)

    def doubling(self, x: Array, layer: int) -> Array:
        return depth_to_space(self.convolution(x, str(layer)), 2)


def from_side(weights: Weights, x: Array) -> Array:
    network = Network(weights, "from_side")
    for layer in (0, 2, 4, 6):
        x = network.convolution(x, str(layer)) if layer in (0, 4) else network.doubling(x, layer)
        x = network.act(x)
    return x


def context(weights: Weights, number: int, x: Array) -> Array:
    network = Network(weights, f"contexts.{number}")
    x = network.act(network.convolution(x, "0"))
    x = network.act(network.convolution(x, "2"))
    return network.convolution(x, "4")


def deep(weights: Weights, x: Array) -> Array:
    network = Network(weights, "deep")
    for layer in network.layers:
        if f"{layer}.first.weight" in network.weights:
            x = network.block(x, layer)
        elif layer and network.weights[f"{layer}.weight"].shape[2] == 1:
            x = network.doubling(x, layer)
        else:
            x = network.convolution(x, str(layer))
    return depth_to_space(x, 4)


# A tile


@dataclass
class Integers:
    z: Array  # [N, h/64, w/64]
    k: Array  # [U, h/16, w/16]
    n: Array  # [U, h/16, w/16]


def integers(payload: bytes, height: int, width: int, quality: int, weights: Weights) -> Integers:
    decoder = RangeDecoder(payload)
    rows, columns = -(-height // 64), -(-width // 64)
    count = len(weights["side_tables"]) // 8
    anchor = (14 * quality + 100) // 200
    numbers = [anchor * count + i for i in range(count) for _ in range(rows * columns)]
    z = np.array(decoder.block(numbers, weights["side_tables"].tolist(), 31), np.int64).reshape(count, rows, columns)
    told = (2 * 1024 * quality + 100) // 200
    known = [np.full((1, 4 * rows, 4 * columns), told, np.int64), from_side(weights, 1024 * z)]
    tables = weights["scale_tables"].tolist()
    ks, place = [], 0
    slices = len({key.split(".")[1] for key in weights if key.startswith("contexts.")})
    for number in range(slices):
        e, g = np.split(context(weights, number, np.concatenate(known)), 2)
        here = slice(place, place + len(e))
        place += len(e)
        unit, offset, inverse = (
            weights[name][quality, here].astype(np.int64)[:, None, None] for name in ("unit", "offset", "inverse")
        )
        mean = rounded(e * unit, 12)
        table = np.clip(rounded(rounded(g * 8521212, 10) + offset, 20), 0, 63)
        k = np.zeros(e.shape, np.int64)
        k[table > 0] = decoder.block(table[table > 0].tolist(), tables, 255)
        ks.append(k)
        known.append(clamp(rounded((64 * k + mean) * inverse, 10), 2**20))
    return Integers(z, np.concatenate(ks), np.concatenate(known[2:]))


def pixels(n: Array, weights: Weights) -> Array:
    """uint8 [16 h, 16 w, 3] of a grid [U, h, w]."""
    p = depth_to_space(rounded(np.tensordot(weights["linear"].astype(np.int64), n, 1), 16), 16)
    level = np.clip(p + deep(weights, n) + 512, 0, 1024)
    return rounded(255 * level, 10).astype(np.uint8).transpose(1, 2, 0)


# A file


def decode(data: bytes, weights: Weights) -> Array:
    file = container(data)
    if file.hash != hash_of(weights):
        raise Damaged("another model")
    rows, columns = -(-file.height // file.side), -(-file.width // file.side)
    result = np.zeros((file.height, file.width, 3), np.uint8)
    grids: dict[tuple[int, int], Array] = {}
    boxes = {
        (r, c): (
            slice(r * file.side, min((r + 1) * file.side, file.height)),
            slice(c * file.side, min((c + 1) * file.side, file.width)),
        )
        for r in range(rows)
        for c in range(columns)
    }
    sizes = {at: (down.stop - down.start, across.stop - across.start) for at, (down, across) in boxes.items()}
    for at, (kind, quality, payload) in zip(boxes, file.tiles, strict=True):
        if kind == 0:
            grids[at] = integers(payload, *sizes[at], quality, weights).n
        elif kind == 1:
            image = Image.open(io.BytesIO(payload))
            if image.size[::-1] != sizes[at] or image.mode not in ("L", "P", "RGB"):
                raise Damaged("PNG tile")
            result[boxes[at]] = np.asarray(image.convert("RGB"))
        else:
            result[boxes[at]] = np.frombuffer(payload, np.uint8)
    for (r, c), own in grids.items():

        def beside(r: int, c: int) -> tuple[int, int]:
            """Places that the tile at (r, c) lends, down and across; none where there is none."""
            height, width = sizes.get((r, c), (0, 0))
            return min(8, 4 * -(-height // 64)), min(8, 4 * -(-width // 64))

        above, below = beside(r - 1, c)[0], beside(r + 1, c)[0]
        left, right = beside(r, c - 1)[1], beside(r, c + 1)[1]
        n = np.pad(own, ((0, 0), (above, below), (left, right)), "edge")
        _, h, w = own.shape
        rows_of = {-1: slice(0, above), 0: slice(above, above + h), 1: slice(above + h, above + h + below)}
        columns_of = {-1: slice(0, left), 0: slice(left, left + w), 1: slice(left + w, left + w + right)}
        takes = {-1: lambda count: slice(-count, None), 0: lambda _: slice(None), 1: lambda count: slice(0, count)}
        for down in (-1, 0, 1):
            for across in (-1, 0, 1):
                other = grids.get((r + down, c + across))
                if other is not None and (down, across) != (0, 0):
                    high, wide = (above, 0, below)[down + 1], (left, 0, right)[across + 1]
                    n[:, rows_of[down], columns_of[across]] = other[:, takes[down](high), takes[across](wide)]
        height, width = sizes[r, c]
        found = pixels(n, weights)
        result[boxes[r, c]] = found[16 * above : 16 * above + height, 16 * left : 16 * left + width]
    if file.flags & 1:
        return ((result.astype(np.int64).sum(2) + 1) // 3).astype(np.uint8)
    return result
