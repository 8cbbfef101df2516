"""The file around compressed images: who wrote it, what is in it, and whether it is whole.

    0   2  magic, 8F 49
    2   1  low four bits: version 1; 10h: a model name follows; 20h: a number of images (else 1);
           40h: a shape (else the model's own)
    3   4  first bytes of the hash of the model's weights
    7   …  rate; name (length, UTF-8); images; channels, height, width: whole numbers in 7-bit groups, lowest first
        …  payload of the entropy coder
    -4  4  CRC-32 of all before, big-endian

A digit's file has 12 bytes around its payload. The weights' hash is what ties a file to the model that can read it
(decoding with other weights would give a wrong picture without any error); the name is for people and optional.
"""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass

import torch
from torch import Tensor

from imprior.coding.entropy import Decoder, Encoder
from imprior.errors import BitstreamError
from imprior.promises import Codes

MAGIC = b"\x8fI"
VERSION = 1
NAMED, COUNTED, SHAPED = 0x10, 0x20, 0x40
# A few bytes can claim any size, and memory is taken before the first symbol is decoded: 2^28 are 1 GiB of floats.
MOST_PIXELS = 1 << 28
BLOCK = 256  # images that are analysed and written together; part of the format, as it decides the order of symbols


@dataclass(frozen=True)
class Header:
    """What a file says about itself.

    Attributes:
        weights: first four bytes of the hash of the model's weights.
        rate: rate level.
        images: how many.
        shape: (channels, height, width), None for the model's own.
        name: the model's, or "".
    """

    weights: bytes
    rate: int
    images: int = 1
    shape: tuple[int, int, int] | None = None
    name: str = ""


def pack(header: Header, payload: bytes) -> bytes:
    """The file.

    >>> pack(Header(b"abcd", rate=3), b"xyz").hex(" ")
    '8f 49 01 61 62 63 64 03 78 79 7a 1e 8a d5 97'
    """
    name = header.name.encode()
    flags = NAMED * bool(name) | COUNTED * (header.images != 1) | SHAPED * (header.shape is not None)
    numbers = [header.images] * (header.images != 1) + list(header.shape or ())
    text = _varint(len(name)) + name if name else b""
    head = MAGIC + bytes([VERSION | flags]) + header.weights[:4] + _varint(header.rate) + text
    data = head + b"".join(map(_varint, numbers)) + payload
    return data + zlib.crc32(data).to_bytes(4, "big")


def unpack(data: bytes) -> tuple[Header, bytes]:
    """Header and payload of a file.

    Raises:
        BitstreamError: not such a file, of a later version, damaged, truncated, or of an unreasonable size.
    """
    if data[:2] != MAGIC:
        raise BitstreamError("not a file of this program's codecs (it begins with other bytes)")
    if len(data) < 12:
        raise BitstreamError(f"truncated: {len(data)} bytes are less than the shortest file has")
    if data[2] & 0x8F != VERSION:
        raise BitstreamError(f"a file of version {data[2] & 0x8F}, this program reads version {VERSION}")
    if zlib.crc32(data[:-4]) != int.from_bytes(data[-4:], "big"):
        raise BitstreamError("damaged or truncated: the checksum does not match")
    flags, body = data[2], data[:-4]
    rate, at = _read_varint(body, 7)
    name, images, shape = "", 1, None
    if flags & NAMED:
        length, at = _read_varint(body, at)
        name, at = body[at : at + length].decode(errors="replace"), at + length
    if flags & COUNTED:
        images, at = _read_varint(body, at)
    if flags & SHAPED:
        channels, at = _read_varint(body, at)
        height, at = _read_varint(body, at)
        width, at = _read_varint(body, at)
        shape = (channels, height, width)
    return Header(body[3:7], rate, images, shape, name), body[at:]


def compress(model: Codes, x: Tensor, rate: int, *, weights: bytes, name: str = "") -> bytes:
    """Images as one file.

    Args:
        model: the codec.
        x: [N, C, H, W] in [0, 1].
        rate: level, 0 is the smallest file.
        weights: `weights_hash(model)`, which is worth computing once.
        name: the model's, if it shall be in the file.
    """
    encoder = Encoder()
    for start in range(0, len(x), BLOCK):
        model.write(model.analyse(x[start : start + BLOCK], rate), encoder, rate)
    count, *shape = x.shape
    own = tuple(shape) == tuple(model.shape)
    header = Header(weights, rate, count, None if own else (shape[0], shape[1], shape[2]), name)
    return pack(header, encoder.finish())


def decompress(model: Codes, data: bytes, *, weights: bytes) -> Tensor:
    """The images of a file that `compress` made with the same model: [N, C, H, W] in [0, 1].

    Raises:
        BitstreamError: damaged, truncated, or written with another model.
    """
    header, payload = unpack(data)
    if header.weights != weights[:4]:
        named = f" '{header.name}'" if header.name else ""
        raise BitstreamError(f"written with another model{named} (weights {header.weights.hex()}, not {weights.hex()})")
    channels, height, width = (n or 0 for n in header.shape or model.shape)
    if not 0 < header.images * channels * height * width <= MOST_PIXELS:
        raise BitstreamError(f"claims {header.images} images of {channels} x {height} x {width}, which can't be")
    if header.rate >= model.rates:
        raise BitstreamError(f"damaged: rate level {header.rate}, the model has {model.rates}")
    decoder, found = Decoder(payload), []
    for start in range(0, header.images, BLOCK):
        shape = (min(BLOCK, header.images - start), channels, height, width)
        found.append(model.synthesise(model.read(decoder, shape, header.rate), header.rate))
    return torch.cat(found)


def weights_hash(model: object) -> bytes:
    """The first four bytes of the SHA-256 over names, types, shapes and values of a module's weights and tables.

    Of a model without weights (a toy), over its class name.
    """
    sha = hashlib.sha256()
    if not isinstance(model, torch.nn.Module):
        sha.update(type(model).__qualname__.encode())
        return sha.digest()[:4]
    for name, tensor in sorted(model.state_dict().items()):
        sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        sha.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return sha.digest()[:4]


def _varint(number: int) -> bytes:
    groups = []
    while number > 127:
        groups.append(number & 127 | 128)
        number >>= 7
    return bytes([*groups, number])


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    number = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            break
        number |= (data[at] & 127) << shift
        at += 1
        if data[at - 1] < 128:
            return number, at
    raise BitstreamError("damaged: a number in the header does not end")
