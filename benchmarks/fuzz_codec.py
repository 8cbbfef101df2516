"""Damaged .imp files by the thousand: each is refused with a BitstreamError, or decodes to a picture; nothing else.

    python benchmarks/fuzz_codec.py [--count 100000] [--seed 0] [--model NAME]

Half of the files have their checksums repaired after the damage, so that it reaches the decoder (these may decode to
wrong pixels); the others must be refused unless they are whole. Without --model a small codec that was not trained
does: what is tried is code, not weights. Ends with exit code 1 at the first file that does anything else, which it
leaves as fuzz-failure.imp.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import time
import traceback
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import torch

from imprior import loading
from imprior.coding.tiled import ENTRY, EXTRAS, HEAD, LENGTH
from imprior.data.extras import Extras
from imprior.errors import BitstreamError
from imprior.models import codec
from imprior.nn.block_transform import Transforms
from imprior.promises import CodesTiles
from imprior.tasks.photo_file import Target, decode, encode

MOST = 1 << 18  # pixels: damage of the size must not make decoding slow
SIDE = 256


def untrained() -> codec.PhotoCodec:
    """A small codec, its networks moved by some noise."""
    transforms = Transforms(12, (6, 8), (1, 1), (8, 6, 4), (1, 1, 1))
    model = codec.Config((3, 64, 64), transforms, hyper=6, side=4, slices=(4, 8), context=6).build()
    rng = torch.Generator().manual_seed(0)
    coarse = torch.rand(16, 3, 8, 8, generator=rng)
    x = torch.nn.functional.interpolate(coarse, 64, mode="bicubic").clamp(0, 1)
    model.start([x])
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=rng))
    model.calibrate([x])
    return model.eval()


def sound(model: CodesTiles) -> list[bytes]:
    """Whole files with everything that a file can have."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (70, 90, 4), np.uint8)
    smooth = np.kron(rng.integers(0, 256, (9, 10, 3)), np.ones((8, 9, 1))).astype(np.uint8)
    drawn = np.zeros((40, 600, 3), np.uint8)
    drawn[5:9, 20:580] = 200
    drawn[:, 512:] = noise[:40, :88, :3]
    drawn[:, :256] = 7
    grey = noise[..., 0]
    pictures = [
        (noise, Extras(b"Exif\0\0MM\0*", b"")),
        (smooth, Extras()),
        (drawn, Extras()),
        (grey, Extras()),
    ]
    return [
        encode(model, picture, Target(quality), extras=extras, side=SIDE).data
        for picture, extras in pictures
        for quality in (10, 90)
    ]


def mutated(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    """A file with one to four changes of its bytes."""
    found = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        place = rng.randrange(len(found) + 1) if rng.random() < 0.6 else rng.randrange(min(len(found), 60) + 1)
        length = rng.choice((1, 1, 2, 4, 16, 200))
        what = rng.randrange(6)
        if what == 0 and place < len(found):
            found[place] ^= 1 << rng.randrange(8)
        elif what == 1:
            found[place : place + length] = rng.randbytes(len(found[place : place + length]))
        elif what == 2:
            found[place : place + length] = rng.choice((b"\0", b"\xff")) * len(found[place : place + length])
        elif what == 3:
            del found[place : place + length]
        elif what == 4:
            found[place:place] = rng.randbytes(length)
        else:
            other = rng.choice(others)
            begin = rng.randrange(len(other))
            found[place : place + length] = other[begin : begin + length]
    return bytes(found)


def repaired(data: bytes) -> bytes:
    """The file with checksums that match, as far as it has an index; its last payload ends where the file does."""
    if len(data) < HEAD.size:
        return data
    magic, version, flags, weights, width, height, log_side = HEAD.unpack_from(data)
    tiles = -(-height // (1 << log_side)) * -(-width // (1 << log_side)) if log_side < 32 else 0
    names = [name for name, bit in EXTRAS.items() if flags & bit]
    end = HEAD.size + tiles * ENTRY.size + len(names) * LENGTH.size
    if len(data) < end + 4:
        return data
    place, head = end + 4, bytearray(HEAD.pack(magic, version, flags, weights, width, height, log_side))
    for number in range(tiles + len(names)):
        if number < tiles:
            kind, rate, length, _ = ENTRY.unpack_from(data, HEAD.size + number * ENTRY.size)
        else:
            length, _ = LENGTH.unpack_from(data, HEAD.size + tiles * ENTRY.size + (number - tiles) * LENGTH.size)
        if number == tiles + len(names) - 1 or place + length > len(data):
            length = max(len(data) - place, 0)
        checksum = zlib.crc32(data[place : place + length])
        head += ENTRY.pack(kind, rate, length, checksum) if number < tiles else LENGTH.pack(length, checksum)
        place += length
    return bytes(head) + zlib.crc32(head).to_bytes(4, "big") + data[end + 4 :]


def outcome(model: CodesTiles, data: bytes) -> str:
    """What becomes of a file: "decoded", or the first words of why it is refused; any other exception passes."""
    try:
        picture = decode(model, data, most_pixels=MOST).picture
    except BitstreamError as error:
        return re.sub(r"\b[0-9a-f]*\d[0-9a-f,]*\b", "…", str(error))[:60]
    assert picture.dtype == np.uint8 and picture.ndim in (2, 3)
    return "decoded"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model")
    wanted = parser.parse_args()
    torch.set_num_threads(1)
    model = loading.load(wanted.model) if wanted.model else untrained()
    files, rng = sound(model), random.Random(wanted.seed)
    whole = {file: decode(model, file).picture for file in files}
    found: Counter[str] = Counter()
    begun, slowest = time.monotonic(), 0.0
    for number in range(wanted.count):
        data = mutated(rng.choice(files), rng, files)
        if number % 2:
            data = repaired(data)
        before = time.monotonic()
        try:
            told = outcome(model, data)
            if told == "decoded" and not number % 2:
                assert data in whole, "damage was not noticed"
        except Exception:
            Path("fuzz-failure.imp").write_bytes(data)
            traceback.print_exc()
            sys.exit(f"file {number} of seed {wanted.seed}: see fuzz-failure.imp")
        slowest = max(slowest, time.monotonic() - before)
        found[told] += 1
        if number % 5000 == 4999:
            print(f"{number + 1:,} files, {time.monotonic() - begun:.0f} s", file=sys.stderr)
    print(f"{wanted.count:,} files, slowest {slowest:.2f} s")
    for told, count in found.most_common():
        print(f"{count:>8,}  {told}")


if __name__ == "__main__":
    main()
