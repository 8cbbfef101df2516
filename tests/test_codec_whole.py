"""The half of the photo codec that both ends share: exact, near to the float one, and safe with damaged input."""

import dataclasses
import math

import pytest
import torch

from imprior import loading, packing
from imprior.coding.container import compress, decompress, weights_hash
from imprior.coding.entropy import Decoder, Encoder
from imprior.errors import BitstreamError, CapabilityError, ImpriorError, RunError
from imprior.models import codec, codec_symbols
from imprior.models.codec_symbols import get, put
from imprior.models.codec_whole import RATES
from test_codec import smooth
from zoo import EXAMPLES, build
from zoo.codec import SMALL

RATE = 40


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def made(noise, slope=0.0):
    """Untrained but for its transform, its networks moved by some noise, and calibrated."""
    torch.manual_seed(0)
    model = dataclasses.replace(SMALL, slope=slope).build()
    model.start([smooth(8), smooth(8, seed=1)])
    draws = rng(1)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(noise * torch.randn(p.shape, generator=draws))
    model.calibrate([smooth(8, seed=s) for s in range(2, 5)])
    return model.eval()


@pytest.fixture(scope="module")
def model():
    return made(0.02)


def test_what_is_written_is_read_and_decoded_to_the_same_levels(model):
    x = smooth(3, seed=9)
    for rate in (0, RATE, RATES - 1):
        latents = model.analyse(x, rate)
        sink = Encoder()
        model.write(latents, sink, rate)
        read = model.read(Decoder(sink.finish()), latents.shape, rate)
        assert all(torch.equal(a, b) for a, b in zip(latents.blocks, read.blocks, strict=True))
        assert all(block.dtype == torch.int32 for block in read.blocks)
        y = model.synthesise(read, rate)
        assert y.shape == x.shape and torch.equal(y, (y * 255).round() / 255)


def test_a_file_is_about_as_large_and_as_good_as_training_believes(model):
    x = smooth(4, seed=9)
    for rate in (8, RATE, RATES - 1):
        with torch.no_grad():
            sent = model.transmit(x, torch.full((4,), rate * (codec.LEVELS - 1) / (RATES - 1)), None)
        data = compress(model, x, rate, weights=weights_hash(model))
        y = decompress(model, data, weights=weights_hash(model))
        bits, believed = 8 * len(data), float(sent.bits.sum())
        assert bits == pytest.approx(believed, rel=0.05, abs=200)
        error, expected = (float((v.clamp(0, 1) - x).square().mean()) for v in (y, sent.x))
        assert 10 * math.log10(error / expected) < 0.3


def test_training_with_integers_sees_what_a_file_holds(model):
    x = smooth(4, seed=9)
    for rate in (8, RATE, RATES - 1):
        latents = model.analyse(x, rate)
        bits = model.whole.bits(*latents.blocks[:3], rate)
        with torch.no_grad():
            sent = model.transmit_settled(x, torch.full((4,), rate * (codec.LEVELS - 1) / (RATES - 1)))
        torch.testing.assert_close(sent.bits.double(), bits, rtol=0.02, atol=10)
        error, expected = (float((v - x).square().mean()) for v in (model.synthesise(latents, rate), sent.x))
        assert abs(10 * math.log10(error / expected)) < 0.4  # levels end at black and white


def test_decoding_is_the_same_whatever_computes_it(model):
    x = smooth(2, side=128, seed=5)
    latents = model.analyse(x, RATE)
    sink = Encoder()
    model.write(latents, sink, RATE)
    data = sink.finish()
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            for fast in (True, False):
                with torch.backends.mkldnn.flags(enabled=fast, allow_tf32=None):
                    read = model.read(Decoder(data), latents.shape, RATE)
                    found.append(model.synthesise(read, RATE))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(found[0], other) for other in found)
    n = latents.blocks[3].float()
    again = model.whole.pixels(n.contiguous(memory_format=torch.channels_last)).float() / 255
    assert torch.equal(again, found[0])
    one = [
        model.synthesise(type(latents)(tuple(b[i : i + 1] for b in latents.blocks), (1, 3, 128, 128)), RATE)
        for i in (0, 1)
    ]
    assert torch.equal(torch.cat(one), found[0])


def test_a_tile_needs_no_more_than_its_surroundings(model):
    x, place, stride = smooth(1, side=512, seed=6), model.place, model.stride
    grid = model.transform(x)
    around = -(-model.sees // stride) * stride
    part = model.transform(x[..., 192 - around : 256 + around, 192 - around : 256 + around])
    part = part[..., around // place : -around // place, around // place : -around // place]
    torch.testing.assert_close(part, grid[..., 192 // place : 256 // place, 192 // place : 256 // place])
    n = model.arrived(model.settle(grid, RATE))
    whole, halo = model.picture(n), model.halo * stride
    cut = n[..., (192 - halo) // place : (256 + halo) // place, (192 - halo) // place : (256 + halo) // place]
    tile = model.picture(cut)[..., halo:-halo, halo:-halo]
    assert torch.equal(tile, whole[..., 192:256, 192:256])


def test_more_bits_for_a_better_picture_from_rate_to_rate():
    model, x = made(0.0), smooth(4, seed=9)
    sizes, errors = [], []
    for rate in range(0, RATES, 20):
        data = compress(model, x, rate, weights=b"test")
        sizes.append(len(data))
        errors.append(float((decompress(model, data, weights=b"test") - x).square().mean()))
    assert sizes == sorted(sizes) and errors == sorted(errors, reverse=True)


def test_a_search_finds_coefficients_that_cost_less_or_show_more(model):
    x = smooth(2, seed=9)
    grid = model.transform(x)
    weight = model.weight(torch.tensor(RATE / (RATES - 1) * (codec.LEVELS - 1)))

    def cost(grid):
        latents = model.settle(grid, RATE)
        sink = Encoder()
        model.write(latents, sink, RATE)
        square = (model.picture(model.arrived(latents)) - x).square().sum()
        return float(8 * len(sink.finish()) + weight * 255**2 * square / 3)

    with torch.inference_mode():
        told = []
        found = model.refine(grid, x, RATE, 30, tell=lambda *done: told.append(done))
    assert told[-1] == (30, 30) and torch.equal(found, model.refine(grid, x, RATE, 30))
    assert cost(found) < 0.97 * cost(grid)
    assert all(p.grad is None for p in model.parameters())


def test_values_far_out_are_written_behind_an_escape():
    tables = codec_symbols.checked(codec_symbols.gaussian_tables())
    k = torch.tensor([0, 255, -255, 256, -256, 32767, -32767, 3])
    index = torch.tensor([1, 5, 63, 1, 63, 30, 2, 9])
    sink = Encoder()
    put(k, index, tables, 255, sink)
    assert torch.equal(get(index, tables, 255, Decoder(sink.finish())).long(), k)
    sink = Encoder()
    sink.put(torch.tensor([511], dtype=torch.int32), torch.tensor([1]), tables)
    sink.put(torch.tensor([128, 5], dtype=torch.int32), torch.zeros(2, dtype=torch.int64), codec_symbols.RAW)
    with pytest.raises(BitstreamError):
        get(torch.tensor([1]), tables, 255, Decoder(sink.finish()))


def test_noise_and_flat_pictures_come_back(model):
    for x in (torch.rand(1, 3, 40, 70, generator=rng()), torch.zeros(1, 3, 5, 5), torch.ones(1, 3, 64, 64)):
        data = compress(model, x, RATE, weights=b"test")
        assert decompress(model, data, weights=b"test").shape == x.shape


def test_what_cannot_be_coded_is_refused(model):
    with pytest.raises(CapabilityError, match="training"):
        SMALL.build().analyse(smooth(1), 0)
    with pytest.raises(ImpriorError, match="levels 0 to 100"):
        model.analyse(smooth(1), RATES)


def test_weights_without_what_the_whole_numbers_imply_are_enough(model):
    stored = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith(model.implied)}
    again = SMALL.build()
    loading.fill(again, packing.pack(stored, large=10**9), where="here")
    assert weights_hash(again.whole) == weights_hash(model.whole)
    x, level = smooth(3, seed=9), torch.tensor([1.0, 3.0, 6.0])
    with torch.no_grad():
        wanted, found = (m.transmit(x, level, None) for m in (model, again.eval()))
    torch.testing.assert_close(found.bits, wanted.bits, rtol=0.02, atol=0)
    assert (found.x - wanted.x).square().mean() < 0.02 * (wanted.x - x).square().mean()
    del stored["basis"]
    with pytest.raises(RunError, match="basis"):
        loading.fill(SMALL.build(), stored, where="here")


def test_damaged_weights_are_refused():
    sound = build(EXAMPLES["codec"])
    sound.analyse(smooth(1), 0)
    for name, value, words in (("scale_tables", -1, "tables"), ("linear", 2**31 - 1, "2\\^52")):
        damaged = EXAMPLES["codec"].config.build()
        state = sound.state_dict()
        damaged.load_state_dict(state | {f"whole.{name}": torch.full_like(state[f"whole.{name}"], value)})
        with pytest.raises(RunError, match=words):
            damaged.analyse(smooth(1), 0)


def test_training_may_begin_with_weights_of_another_slope():
    plain, leaky = (dataclasses.replace(SMALL, slope=slope).build() for slope in (0.0, 0.125))
    for ours, theirs in ((leaky, plain), (plain, leaky)):
        ours.load_state_dict(ours.converted(theirs.state_dict()))
        assert torch.equal(ours.log_gain, theirs.log_gain)
    assert int(leaky.whole.bend) == 3 and plain.whole.bend is None


def test_weights_that_bend_otherwise_than_the_recipe_says_are_refused():
    model = made(0.02, 0.125)
    model.whole.load_state_dict(model.whole.state_dict() | {"bend": torch.tensor(2, dtype=torch.int8)})
    with pytest.raises(RunError, match="another slope"):
        model.whole.prove()
