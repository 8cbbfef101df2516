"""Files that were written once decode to the same pixels, whatever computes them.

They are made by benchmarks/golden_codec.py.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch

import imprior
import numpy_decoder as plain
from imprior.exact import layers
from imprior.face.compressing import codec

FOLDER = Path(__file__).parent / "golden"
PIXELS = json.loads((FOLDER / "pixels.json").read_text())


def sha256(pixels):
    return hashlib.sha256(pixels.tobytes()).hexdigest()


@pytest.fixture(params=[1, 2])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("fast", [True, False], ids=["oneDNN", "plain"])
@pytest.mark.parametrize("name", PIXELS)
def test_the_pixels_of_then(name, threads, fast):
    with torch.backends.mkldnn.flags(enabled=fast, allow_tf32=None):
        found = imprior.decompress((FOLDER / f"{name}.imp").read_bytes())
    assert list(found.shape) == PIXELS[name]["shape"] and sha256(found) == PIXELS[name]["sha256"]


@pytest.mark.parametrize("form", [torch.contiguous_format, torch.channels_last])
def test_in_any_order_of_memory(form, monkeypatch):
    plainly = layers.whole_convolution

    def ordered(x, weight, bias, **how):
        return plainly(x.contiguous(memory_format=form), weight.contiguous(memory_format=form), bias, **how)

    monkeypatch.setattr(layers, "whole_convolution", ordered)
    assert sha256(imprior.decompress((FOLDER / "tiles.imp").read_bytes())) == PIXELS["tiles"]["sha256"]


def test_a_part_is_that_of_the_whole():
    data = (FOLDER / "tiles.imp").read_bytes()
    whole = imprior.decompress(data)
    assert np.array_equal(imprior.decompress(data, region=(70, 100, 90, 60)), whole[100:160, 70:160])


def test_without_torch():
    weights = {name: tensor.numpy() for name, tensor in codec().whole.state_dict().items()}
    assert sha256(plain.decode((FOLDER / "small.imp").read_bytes(), weights)) == PIXELS["small"]["sha256"]
