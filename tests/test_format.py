"""docs/format.md is precise: a decoder in plain NumPy that was written from it gives the same integers and pixels."""

import itertools

import numpy as np
import pytest
import torch

import imprior as package
import numpy_decoder as plain
from imprior.coding import container, tiled
from imprior.coding.entropy import Decoder, Encoder
from imprior.errors import BitstreamError
from imprior.tasks.photo_file import Target, encode
from test_codec_whole import made
from test_coding import draw, some_tables
from test_compress import SIDE, coded, picture


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module", params=[(0.0, 0.0), (0.02, 0.0), (0.02, 0.125)])
def codec(request):
    """Small codecs that were not trained; the networks of all but the first do something."""
    return made(*request.param)


def weights(codec):
    return {name: tensor.numpy() for name, tensor in codec.whole.state_dict().items()}


def test_the_hash(codec):
    assert plain.hash_of(weights(codec)) == container.weights_hash(codec.decoder)
    other = weights(codec) | {"offset": weights(codec)["offset"] + 1}
    assert plain.hash_of(other) != plain.hash_of(weights(codec))


@pytest.mark.parametrize("quality", [0, 37, 50, 100])
def test_the_same_integers(codec, quality):
    given = picture(70, 130, seed=quality)
    (tile,) = coded(codec, given, quality).tiles
    assert tile.kind == "learned"
    ours = codec.read(Decoder(tile.payload), (1, 3, 70, 130), quality)
    theirs = plain.integers(tile.payload, 70, 130, quality, weights(codec))
    for block, found in zip(
        (ours.blocks[0], ours.blocks[1], ours.blocks[3]), (theirs.z, theirs.k, theirs.n), strict=True
    ):
        assert np.array_equal(block[0].numpy(), found)
    assert theirs.k.any()


@pytest.mark.parametrize("height, width", [(1, 1), (17, 300), (300, 530)])
def test_the_same_pixels(codec, height, width):
    given = picture(height, width)
    if height == 300:
        given[:256, 256:512] = np.arange(256)[:, None, None]  # a PNG tile among learned ones
        given[:100, 512:] = 0
        given[256:, 512:] = (1, 2, 3)
    data = tiled.pack(coded(codec, given, 60, side=SIDE))
    if height == 300:
        assert {tile.kind for tile in tiled.unpack(data).tiles} == set(tiled.KINDS)
    assert np.array_equal(plain.decode(data, weights(codec)), package.decompress(data, model=codec))


def test_the_same_pixels_where_all_tiles_have_all_neighbours(codec):
    data = tiled.pack(coded(codec, picture(560, 520), 30, side=SIDE))
    assert np.array_equal(plain.decode(data, weights(codec)), package.decompress(data, model=codec))


def test_grey(codec):
    data = encode(codec, picture(60, 70)[..., 0], Target(80)).data
    found = plain.decode(data, weights(codec))
    assert found.shape == (60, 70) and np.array_equal(found, package.decompress(data, model=codec))


def test_extras_are_where_the_page_says(codec):
    data = package.compress(np.dstack([picture(20, 30), picture(20, 30)[..., 0]]), exif=b"Exif\0\0MM\0*", model=codec)
    file = plain.container(data)
    assert file.extras["exif"] == b"MM\0*" and file.extras["transparency"][:4] == b"\x89PNG"


def test_values_far_out_and_escapes():
    from imprior.models import codec_symbols

    tables = codec_symbols.checked(codec_symbols.gaussian_tables())
    k = torch.tensor([0, 255, -255, 256, -256, 32767, -32767, 3, 400])
    index = torch.tensor([9, 5, 63, 1, 63, 30, 2, 9, 1])
    sink = Encoder()
    codec_symbols.put(k, index, tables, 255, sink)
    found = plain.RangeDecoder(sink.finish()).block(index.tolist(), tables.cumulative.tolist(), 255)
    assert found == k.tolist()


@pytest.mark.parametrize("seed", range(10))
def test_calls_are_coded_by_table(seed):
    tables, encoder, calls = some_tables(5, 7, seed), Encoder(), []
    for call in range(4):
        index = torch.randint(0, 5, (30 * call,), generator=rng(seed + call))
        calls.append((draw(tables, index, seed), index))
        encoder.put(*calls[-1], tables)
    decoder = plain.RangeDecoder(encoder.finish())
    for symbols, index in calls:
        assert decoder.call(index.tolist(), tables.cumulative.tolist()) == symbols.tolist()


@pytest.mark.parametrize("seed", range(20))
def test_both_make_the_same_of_bytes_that_no_encoder_wrote(codec, seed):
    data = np.random.default_rng(seed).bytes(seed * 7)
    results = []
    for read in (
        lambda: codec.read(Decoder(data), (1, 3, 64, 64), 50).blocks[1][0].numpy(),
        lambda: plain.integers(data, 64, 64, 50, weights(codec)).k,
    ):
        try:
            results.append(read())
        except (BitstreamError, plain.Damaged):
            results.append(np.zeros(0))
    assert np.array_equal(*results)


def test_the_example_of_the_page():
    from test_docs import DOCS

    text = (DOCS / "format.md").read_text()
    shown = text.rpartition("    8f49")[2].partition("\n")[0]
    file = plain.container(bytes.fromhex(f"8f49{shown}"))
    assert (file.width, file.height, file.side, file.hash.hex()) == (5, 3, 256, "01020304")
    assert file.tiles == [(2, 100, b"abc")]


def test_both_refuse_the_same_damage(codec):
    data = package.compress(picture(20, 30), model=codec)
    for place, bit in itertools.product(range(0, len(data), 7), range(8)):
        damaged = bytearray(data)
        damaged[place] ^= 1 << bit
        with pytest.raises(plain.Damaged):
            plain.decode(bytes(damaged), weights(codec))
        with pytest.raises(BitstreamError):
            package.decompress(bytes(damaged), model=codec)
