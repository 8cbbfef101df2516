"""Damaged photographs are refused with a BitstreamError, whatever the damage; `benchmarks/fuzz_codec.py` tries more."""

import random
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import imprior as package
from imprior.coding.tiled import unpack
from imprior.errors import BitstreamError
from imprior.tasks.photo_file import decode

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import fuzz_codec

MODEL = fuzz_codec.untrained()
FILES = fuzz_codec.sound(MODEL)
WHOLE = {file: decode(MODEL, file).picture for file in FILES}
SEEDS = st.integers(0, 2**32)


@pytest.mark.parametrize("number", range(0, len(FILES), 2))
def test_every_length_and_every_byte(number):
    data = FILES[number]
    for length in range(len(data)):
        with pytest.raises(BitstreamError):
            package.decompress(data[:length], model=MODEL)
    for place in range(len(data)):
        damaged = bytearray(data)
        damaged[place] ^= 1 + place % 255
        with pytest.raises(BitstreamError):
            package.decompress(bytes(damaged), model=MODEL)


@settings(max_examples=200, deadline=None)
@given(SEEDS)
def test_what_checksums_show_is_refused(seed):
    rng = random.Random(seed)
    data = fuzz_codec.mutated(rng.choice(FILES), rng, FILES)
    if fuzz_codec.outcome(MODEL, data) == "decoded":
        assert np.array_equal(decode(MODEL, data).picture, WHOLE[data])


@settings(max_examples=200, deadline=None)
@given(SEEDS)
def test_what_reaches_the_decoder_is_refused_or_a_picture(seed):
    rng = random.Random(seed)
    data = fuzz_codec.repaired(fuzz_codec.mutated(rng.choice(FILES), rng, FILES))
    fuzz_codec.outcome(MODEL, data)
    try:
        found = decode(MODEL, data, salvage=True, most_pixels=fuzz_codec.MOST)
    except BitstreamError:
        return  # of its header, which nothing can be salvaged without
    file = unpack(data, salvage=True)
    assert found.picture.shape[:2] == (file.height, file.width)


def test_repair_leaves_whole_files_as_they_are():
    for data in FILES:
        assert fuzz_codec.repaired(data) == data
        damaged = bytearray(data)
        damaged[-1] ^= 1
        assert fuzz_codec.repaired(bytes(damaged)) != bytes(damaged)
