"""Laws of the entropy coder, of integer tables, of the container, and of models as codecs."""

from __future__ import annotations

import math
import subprocess
import sys
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from imprior.coding.container import Header, compress, decompress, pack, unpack, weights_hash
from imprior.coding.entropy import Decoder, Encoder
from imprior.coding.tables import PRECISION, TOTAL, FrequencyTables, frequencies
from imprior.errors import BitstreamError, CapabilityError, ImpriorError, RunError
from imprior.metrics.psnr import psnr_db
from imprior.models import autoencoder
from imprior.models.coded import CodesLatents
from imprior.nn.dense import Dense
from imprior.promises import Calibrates, Codes, Latents, kept
from imprior.runs import read_tensors, write_tensors
from zoo import EXAMPLES, build, images
from zoo.autoencoders import AUTOENCODERS, VAES


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def some_tables(count, symbols, seed=0, steepness=4.0):
    weights = torch.rand(count, symbols, generator=rng(seed), dtype=torch.float64) ** steepness
    return FrequencyTables.of(frequencies(weights))


def draw(tables, index, seed=0):
    """Symbols as likely as the tables say."""
    at = torch.randint(0, TOTAL, index.shape, generator=rng(seed))
    return (at[:, None] >= tables.cumulative[index.long(), 1:]).sum(1).int()


# ── a range coder in plain Python: the oracle ────────────────────────────────────────────────────────────────────────


class ReferenceEncoder:
    """A range coder with a state of 64 bits and words of 32, on integers without end."""

    def __init__(self):
        self.low, self.width, self.words = 0, 2**64 - 1, 0

    def put(self, cumulative, symbol):
        scale = self.width >> PRECISION
        self.low += scale * cumulative[symbol]
        self.width = scale * (cumulative[symbol + 1] - cumulative[symbol])
        if self.width < 2**32:
            self.low, self.width, self.words = self.low << 32, self.width << 32, self.words + 1

    def finish(self):
        if self.width == 2**64 - 1:
            return b""
        for bits in (56, 48, 40, 32):
            point = -(-self.low >> bits) << bits
            if point < self.low + self.width and point >> 64 == (self.low + 2**32 - 1) >> 64:
                break
        return point.to_bytes(8 + 4 * self.words, "big").rstrip(b"\0")


class ReferenceDecoder:
    def __init__(self, data):
        self.data, self.place, self.low, self.width = data, 8, 0, 2**64 - 1
        self.point = int.from_bytes(data[:8].ljust(8, b"\0"), "big")

    def get(self, cumulative):
        scale = self.width >> PRECISION
        place = (self.point - self.low) // scale
        symbol = next(s for s in range(len(cumulative) - 1) if place < cumulative[s + 1])
        self.low += scale * cumulative[symbol]
        self.width = scale * (cumulative[symbol + 1] - cumulative[symbol])
        if self.width < 2**32:
            word = int.from_bytes(self.data[self.place : self.place + 4].ljust(4, b"\0"), "big")
            self.low, self.width, self.place = self.low << 32, self.width << 32, self.place + 4
            self.point = (self.point << 32) + word
        return symbol


def coded(symbols, index, tables):
    encoder = Encoder()
    encoder.put(symbols, index, tables)
    return encoder.finish()


@pytest.mark.parametrize("seed", range(30))
def test_bytes_are_those_of_the_reference_coder_and_both_decode_both(seed):
    tables = some_tables(3, 2 + 7 * (seed % 5), seed, steepness=1 + 12 * (seed % 3))
    index = torch.arange(400 if seed % 2 else 7) % 3
    index, _ = index.sort()  # one call's symbols are coded table by table; the reference codes in order
    symbols = draw(tables, index, seed)
    data, rows = coded(symbols, index, tables), tables.cumulative.tolist()
    reference = ReferenceEncoder()
    for symbol, table in zip(symbols.tolist(), index.tolist(), strict=True):
        reference.put(rows[table], symbol)
    assert data == reference.finish()
    decoder = ReferenceDecoder(data)
    assert [decoder.get(rows[table]) for table in index.tolist()] == symbols.tolist()


def test_golden_bytes():
    """The format: a change of these bytes, by us or by constriction, makes all older files unreadable."""
    tables = FrequencyTables.of(torch.tensor([[1, 2, 3, TOTAL - 6], [TOTAL // 2, TOTAL // 4, TOTAL // 8, TOTAL // 8]]))
    index = torch.arange(40) % 2
    symbols = torch.tensor([3, 0, 3, 1, 3, 2, 3, 3, 0, 0, 1, 1, 2, 2, 3, 3] + [3, 0, 3, 1] * 6)
    assert coded(symbols, index, tables).hex() == "000017ffff28ffe708260bf40618"
    header = Header(b"\x01\x02\x03\x04", rate=300, images=2, shape=(3, 20, 130), name="mnist-ae")
    assert pack(header, b"payload").hex() == "8f497101020304ac02086d6e6973742d616502031482017061796c6f6164508d2485"


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 6), st.integers(2, 40), st.lists(st.integers(0, 300), max_size=5), st.integers(0, 2**31))
def test_what_is_put_is_got_back_in_any_number_of_calls_and_any_order_of_tables(count, symbols, calls, seed):
    tables = some_tables(count, symbols, seed)
    other = some_tables(2, 3, seed + 1)
    put, encoder = [], Encoder()
    for call, size in enumerate(calls):
        index = torch.randint(0, count, (size,), generator=rng(seed + call))
        put.append((torch.randint(0, symbols, (size,), generator=rng(call)).int(), index, tables))
        put.append((torch.randint(0, 3, (3,), generator=rng(call)).int(), torch.tensor([1, 0, 1]), other))
    for values, index, which in put:
        encoder.put(values, index, which)
    decoder = Decoder(encoder.finish())
    for values, index, which in put:
        got = decoder.get(index, which)
        assert got.dtype == torch.int32
        assert torch.equal(got, values)


def test_the_size_is_the_information_plus_a_byte():
    tables = some_tables(5, 60)
    for count in (1, 10, 100, 10_000):
        index = torch.arange(count) % 5
        symbols = draw(tables, index)
        ideal = float(tables.bits(symbols, index).sum())
        size = 8 * len(coded(symbols, index, tables))
        # Up to a byte for the end, and 2^-8 at most (2^-20 typically) for the rounding of the coder's interval.
        assert ideal - 8 < size <= ideal * (1 + 2**-12) + 10
    assert coded(torch.zeros(0), torch.zeros(0, dtype=torch.long), tables) == b""


def test_certain_symbols_cost_nothing():
    tables = FrequencyTables.of(torch.tensor([[TOTAL - 1, 1]]))
    assert len(coded(torch.zeros(100_000), torch.zeros(100_000, dtype=torch.long), tables)) <= 1


def test_a_symbol_outside_the_tables_is_the_programmers_mistake():
    tables = some_tables(1, 3)
    for wrong in (-1, 3):
        with pytest.raises(AssertionError):
            Encoder().put(torch.tensor([wrong]), torch.tensor([0]), tables)


# ── integer tables ───────────────────────────────────────────────────────────────────────────────────────────────────


@settings(max_examples=100, deadline=None)
@given(st.integers(2, 300), st.integers(0, 10**6), st.sampled_from([0.0, 1.0, 30.0]))
def test_frequencies_are_the_nearest_integers_with_the_right_sum(symbols, seed, steepness):
    weights = torch.rand(2, symbols, generator=rng(seed), dtype=torch.float64) ** steepness
    weights[:, : symbols // 3] = 0
    found = frequencies(weights)
    assert found.sum(1).tolist() == [TOTAL, TOTAL]
    assert int(found.min()) >= 1
    exact = 1 + weights / weights.sum(1, keepdim=True) * (TOTAL - symbols)
    assert float((found - exact).abs().max()) < 1


def test_no_weights_at_all_are_shared_equally():
    assert frequencies(torch.zeros(1, 4), 10).tolist() == [[3, 3, 2, 2]]


@pytest.mark.parametrize(
    "row", [[0, 5, TOTAL - 1], [1, 5, TOTAL], [0, 5, 5, TOTAL], [0, TOTAL], [0, 7, 3, TOTAL]], ids=str
)
def test_tables_that_are_none_are_refused(row):
    with pytest.raises(ValueError, match="cumulative"):
        FrequencyTables(torch.tensor([row], dtype=torch.int32))
    with pytest.raises(ValueError, match="cumulative"):
        FrequencyTables(torch.tensor([[0.0, 1.0, TOTAL]]))
    with pytest.raises(ValueError, match="cumulative"):
        FrequencyTables.of(torch.tensor([[TOTAL, TOTAL, 2**40]]))


# ── the container ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["", "mnist-ae", "名字"])
@pytest.mark.parametrize("shape", [None, (1, 28, 28), (3, 70000, 1)])
@pytest.mark.parametrize("images", [1, 2, 10_000])
def test_header_and_payload_come_back(name, shape, images):
    header = Header(b"abcd", rate=images % 200, images=images, shape=shape, name=name)
    assert unpack(pack(header, b"\0payload\0")) == (header, b"\0payload\0")
    assert unpack(pack(header, b"")) == (header, b"")


def test_around_one_image_are_twelve_bytes():
    assert len(pack(Header(b"abcd", rate=5), b"")) == 12


def test_every_damaged_byte_and_every_truncation_is_noticed():
    data = pack(Header(b"abcd", rate=3, images=7, name="x"), bytes(range(40)))
    for place in range(len(data)):
        for change in (1, 128, 255):
            broken = bytearray(data)
            broken[place] ^= change
            with pytest.raises(BitstreamError):
                unpack(bytes(broken))
        with pytest.raises(BitstreamError):
            unpack(data[:place])


# ── models as codecs ─────────────────────────────────────────────────────────────────────────────────────────────────

SPREADS = torch.tensor([1.0, 0.5, 0.2, 0.05, 0.01])


class Linear(CodesLatents):
    """Orthogonal directions of known spread in images of 4x4; `ignored` ones are coded and never looked at."""

    levels = None
    classes = None

    def __init__(self, spreads=SPREADS, *, ignored=0, length=1.0):
        super().__init__()
        self.shape = (1, 4, 4)
        q = torch.linalg.qr(torch.randn(16, 16, generator=rng(5)))[0][:, : len(spreads)]
        self.register_buffer("directions", q)
        self.spreads, self.length = spreads, length
        self.seen = torch.ones(len(spreads))
        self.seen[len(spreads) - ignored :] = 0

    def encode(self, x):
        return (x.flatten(1) - 0.5) @ self.directions / self.length

    def decode(self, z, labels=None):
        return (0.5 + self.length * (z * self.seen) @ self.directions.T).view(-1, 1, 4, 4)

    def latent(self, n, rng):
        return self.spreads * torch.randn(n, len(self.spreads), generator=rng)

    def images(self, n, seed=0):
        z = 0.1 * self.spreads * torch.randn(n, len(self.spreads), generator=rng(seed))
        return 0.5 + (z @ self.directions.T).view(-1, 1, 4, 4)


class Grid(CodesLatents):
    """A small convolutional autoencoder for images of any size, with a grid at 1/4 as code."""

    levels = None
    classes = None

    def __init__(self):
        super().__init__()
        self.shape = (3, None, None)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.encoder = nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.SiLU(), nn.Conv2d(8, 5, 3, padding=1))
            self.decoder = nn.Sequential(nn.Conv2d(5, 8, 3, padding=1), nn.SiLU(), nn.Conv2d(8, 48, 3, padding=1))

    def encode(self, x):
        padded = nn.functional.pad(x, (0, -x.shape[3] % 4, 0, -x.shape[2] % 4), mode="replicate")
        return self.encoder(padded)

    def decode(self, z, labels=None):
        return nn.functional.pixel_shuffle(self.decoder(z), 4)

    def latent(self, n, rng):
        return torch.randn(n, 5, 8, 8, generator=rng)


def linear(**parts):
    model = Linear(**parts)
    model.calibrate(list(model.images(20_000).split(1000)))
    return model


@pytest.fixture(scope="module")
def line():
    return linear()


@pytest.fixture(scope="module")
def grid():
    model = Grid()
    model.calibrate([torch.rand(40, 3, 16, 24, generator=rng(i)) for i in range(3)])
    return model


def bits(model, x, rate):
    latents = model.analyse(x, rate)
    symbols = latents.blocks[0]
    units = torch.arange(symbols.shape[1]).view(1, -1, 1, 1).expand_as(symbols)
    return model._tables(rate).bits(symbols.reshape(-1), units.reshape(-1))


@pytest.mark.parametrize("rate", range(8))
def test_integers_come_back_through_bytes_and_bytes_are_what_the_tables_say(line, grid, rate):
    for model, x in ((line, line.images(300, 1)), (grid, torch.rand(3, 3, 17, 30, generator=rng(9)))):
        latents, encoder = model.analyse(x, rate), Encoder()
        model.write(latents, encoder, rate)
        data = encoder.finish()
        back = model.read(Decoder(data), tuple(x.shape), rate)
        assert torch.equal(back.blocks[0], latents.blocks[0])
        assert back.shape == tuple(x.shape)
        assert 8 * len(data) <= float(bits(model, x, rate).sum()) * 1.001 + 10
        assert torch.equal(model.synthesise(back, rate), model.synthesise(latents, rate))
        assert model.synthesise(back, rate).shape == x.shape


def test_the_rate_is_shannons_plus_a_quarter_bit_a_unit():
    """Independent Gaussians: R(D) = Σ ½ log2(variance / θ), reached by uniform steps up to ½ log2(2πe/12) = 0.254."""
    spreads = torch.tensor([1.0, 0.7, 0.4, 0.2])
    model = linear(spreads=spreads)
    x, rate = model.images(20_000, 1), model.rates - 1
    distortion = (model.synthesise(model.analyse(x, rate), rate) - x).square().flatten(1).sum(1).mean()
    theta = float(distortion) / len(spreads)
    variances = (0.1 * spreads.double()).square()
    assert float(variances.min()) > 30 * theta  # fine enough that every unit takes part, with many bins
    shannon = float((0.5 * (variances / theta).log2()).sum())
    rate_of = float(bits(model, x, rate).sum()) / len(x)
    # By chance 0.01 bits; tables of a hundred entries learned from 20,000 images cost 0.002 bits each.
    assert rate_of - shannon == pytest.approx(len(spreads) * 0.2546, abs=0.03)


def test_every_unit_costs_the_same_error_in_the_image(line):
    assert float((line.code_step.max(1).values / line.code_step.min(1).values)[-1]) == pytest.approx(1, rel=1e-4)
    longer = linear(length=7.0)  # codes in other units: the same files
    assert torch.allclose(longer.code_step * 7, line.code_step, rtol=1e-3)


def test_a_unit_that_the_decoder_ignores_costs_no_bits():
    model = linear(spreads=torch.tensor([1.0, 0.5, 3.0]), ignored=1)
    x = model.images(1000, 1)
    for rate in range(model.rates):
        assert float(bits(model, x, rate).view(-1, 3)[:, 2].sum()) / 1000 < 1e-4


def test_a_constant_unit_is_no_trouble():
    model = linear(spreads=torch.tensor([1.0, 0.0]))
    x = model.images(10)
    assert float(bits(model, x, 7).view(-1, 2)[:, 1].sum()) < 1e-2
    assert torch.allclose(model.synthesise(model.analyse(x, 7), 7), x, atol=0.01)


def test_more_rate_is_a_better_picture(line, grid):
    for model, x in ((line, line.images(500, 1)), (grid, torch.rand(8, 3, 16, 24, generator=rng(7)))):
        rates = [float(bits(model, x, r).sum()) for r in range(model.rates)]
        best = model.decode(model.encode(x))[..., : x.shape[2], : x.shape[3]].detach()
        errors = [float((model.synthesise(model.analyse(x, r), r) - best).square().mean()) for r in range(model.rates)]
        assert all(a < b for a, b in pairwise(rates))
        assert all(a > b for a, b in pairwise(errors))
    finest = grid.synthesise(grid.analyse(x, 7), 7)
    assert float((psnr_db(x, best) - psnr_db(x, finest)).mean()) < 0.4  # 0.2 dB by design, on other images


def test_centroids_are_better_than_the_middles_of_the_bins(line):
    x, rate = line.images(2000, 1), 0
    latents = line.analyse(x, rate)
    error = float((line.synthesise(latents, rate) - x).square().sum())
    middles = Linear()
    middles.load_state_dict(line.state_dict())
    middles.code_centroid.zero_()
    assert error < 0.98 * float((middles.synthesise(latents, rate) - x).square().sum())


def test_an_image_unlike_all_training_images_is_clamped_not_refused(line):
    x = torch.cat([line.images(2, 1), torch.full((1, 1, 4, 4), 1e6), torch.full((1, 1, 4, 4), -1e30)])
    weights = weights_hash(line)
    back = decompress(line, compress(line, x, 7, weights=weights), weights=weights)
    assert torch.allclose(back[:2], x[:2], atol=0.01)
    assert float(back.min()) >= 0
    assert float(back.max()) <= 1


def test_before_calibration_there_is_a_clear_error_and_no_garbage():
    model = Linear()
    assert not model.calibrated
    x = model.images(1)
    for ask in (
        lambda: model.analyse(x, 0),
        lambda: model.write(Latents((torch.zeros(1, 5, 1, 1).int(),), (1, 1, 4, 4)), Encoder(), 0),
        lambda: model.read(Decoder(b"abc"), (1, 1, 4, 4), 0),
        lambda: model.synthesise(Latents((torch.zeros(1, 5, 1, 1).int(),), (1, 1, 4, 4)), 0),
    ):
        with pytest.raises(CapabilityError, match="no entropy tables"):
            ask()


def test_rates_that_do_not_exist(line):
    for rate in (-1, 8):
        with pytest.raises(ImpriorError, match="levels 0 to 7"):
            line.analyse(line.images(1), rate)


def test_calibration_refuses_nothing_and_nonsense():
    model = Linear()
    with pytest.raises(ImpriorError, match="at least one"):
        model.calibrate([])
    with pytest.raises(ImpriorError, match="not numbers"):
        model.calibrate([torch.full((2, 1, 4, 4), math.nan)])
    assert not model.calibrated


def test_calibration_depends_on_the_images_only_and_leaves_the_model_as_it_was(line):
    x = line.images(20_000)
    again = Linear().train()
    again.calibrate(list(x.split(313)))
    assert again.training
    assert torch.equal(again.code_count, line.code_count)
    assert torch.equal(again.code_low, line.code_low)
    # Sums over other batches round otherwise, so a value on the edge of a bin may change sides.
    assert int((again.code_frequency - line.code_frequency).abs().max()) < TOTAL / 20_000 * 20


def test_the_promises(line, grid):
    for model in (line, grid):
        assert isinstance(model, Codes)
        assert isinstance(model, Calibrates)
        assert "Codes" in kept(model)
        assert (model.exact, model.lossless, model.rates) == (False, False, 8)
    assert (line.stride, line.halo) == (4, 0)
    assert (grid.stride, grid.halo) == (4, 2)


def test_a_block_with_its_halo_is_all_that_its_pixels_need(grid):
    x = torch.rand(1, 3, 64, 64, generator=rng(3))
    symbols = grid.analyse(x, 5).blocks[0]
    whole = grid.synthesise(Latents((symbols,), (1, 3, 64, 64)), 5)
    h, block = grid.halo, slice(4 - grid.halo, 9 + grid.halo)
    part = grid.synthesise(Latents((symbols[:, :, block, block],), (1, 3, (5 + 2 * h) * 4, (5 + 2 * h) * 4)), 5)
    inner = slice(4 * h, 4 * (h + 5))
    assert torch.allclose(part[:, :, inner, inner], whole[:, :, 16:36, 16:36], atol=1e-6)
    less = slice(4 * (h - 1), 4 * (h + 6))
    assert not torch.allclose(part[:, :, less, less], whole[:, :, 12:40, 12:40], atol=1e-4)


def test_a_batch_is_a_loop_of_singles(line, grid):
    for model, x in ((line, line.images(20, 2)), (grid, torch.rand(4, 3, 16, 16, generator=rng(2)))):
        together = model.analyse(x, 4).blocks[0]
        singles = torch.cat([model.analyse(image[None], 4).blocks[0] for image in x])
        assert torch.equal(together, singles)


def test_tables_travel_with_the_weights(line, tmp_path):
    write_tensors(tmp_path / "w.safetensors", line.state_dict())
    fresh = Linear()
    fresh.load_state_dict(read_tensors(tmp_path / "w.safetensors")[0])
    x, weights = line.images(50, 4), weights_hash(line)
    assert weights_hash(fresh) == weights
    assert (fresh.stride, fresh.halo) == (line.stride, line.halo)
    assert compress(fresh, x, 3, weights=weights) == compress(line, x, 3, weights=weights)
    assert all(b.dtype in (torch.int8, torch.int32, torch.int64) for n, b in fresh.named_buffers() if "_c" in n[5:7])


def test_weights_from_before_calibration_load_uncalibrated(line):
    state = {k: v for k, v in Linear().state_dict().items() if not k.startswith("code_")}
    model = linear()
    model.load_state_dict(state)
    assert not model.calibrated
    model.load_state_dict(Linear().state_dict())
    assert not model.calibrated


@pytest.mark.parametrize(
    "name", ["code_step", "code_low", "code_count", "code_frequency", "code_centroid", "code_grid"]
)
def test_foreign_tables_are_refused_at_load(line, name):
    state = dict(line.state_dict())
    state[name] = state[name].reshape(-1).repeat(2)
    with pytest.raises(RuntimeError, match="entropy tables of another shape"):
        Linear().load_state_dict(state)


def test_damaged_tables_are_refused_at_use(line):
    state = {k: v.clone() for k, v in line.state_dict().items()}
    state["code_frequency"][5] += 1
    model = Linear()
    model.load_state_dict(state)
    with pytest.raises(RunError, match="tables in this model's weights are damaged"):
        compress(model, line.images(1), 0, weights=b"abcd")


def test_a_file_of_another_model_or_damaged_inside_is_refused(line):
    weights, x = weights_hash(line), line.images(3)
    data = compress(line, x, 6, weights=weights, name="line")
    with pytest.raises(BitstreamError, match="another model 'line'"):
        decompress(line, data, weights=b"else")
    with pytest.raises(BitstreamError, match="rate level 8"):
        decompress(line, pack(Header(weights, rate=8), b"x"), weights=weights)
    with pytest.raises(BitstreamError, match="this model is for"):
        decompress(line, pack(Header(weights, rate=1, shape=(1, 5, 4)), b"x"), weights=weights)
    with pytest.raises(BitstreamError, match="can't be"):
        decompress(line, pack(Header(weights, rate=1, images=2**40), b"x"), weights=weights)
    with pytest.raises(BitstreamError, match="can't be"):
        decompress(line, pack(Header(weights, rate=1, images=0), b"x"), weights=weights)
    header, _ = unpack(data)
    outcomes = set()
    for seed in range(300):  # a checksum can be forged: any payload decodes to something or is refused
        junk = bytes(torch.randint(0, 256, (30,), generator=rng(seed)).tolist())
        try:
            outcomes.add(decompress(line, pack(header, junk), weights=weights).shape)
        except BitstreamError:
            outcomes.add("refused")
    assert outcomes <= {x.shape, "refused"}


def test_the_hash_is_of_the_weights(line):
    assert weights_hash(line) == weights_hash(line)
    other = Linear()
    other.load_state_dict(line.state_dict())
    other.directions[0, 0] += 1e-6
    assert weights_hash(other) != weights_hash(line)
    assert weights_hash(Linear()) != weights_hash(line)


@pytest.mark.parametrize("name", [*AUTOENCODERS, *VAES])
def test_every_model_that_encodes_is_a_codec(name):
    model, copy = build(EXAMPLES[name]), EXAMPLES[name].config.build().eval()
    copy.load_state_dict(model.state_dict())
    x = images(model, 3, seed=0)  # of those that it was calibrated on
    if model.shape[1] is None:
        x = torch.nn.functional.pad(x, (0, 5, 0, 2), mode="replicate")
    exact = model.decode(model.encode(x))[..., : x.shape[2], : x.shape[3]].detach().clamp(0, 1)
    weights, sizes, errors = weights_hash(model), [], []
    for rate in (0, model.rates - 1):
        data = compress(model, x, rate, weights=weights)
        back = decompress(copy, data, weights=weights)
        assert torch.equal(back, model.synthesise(model.analyse(x, rate), rate))
        assert back.shape == x.shape
        assert torch.isfinite(back).all()
        sizes.append(len(data))
        errors.append(float((back - exact).square().mean()))
    assert sizes[0] < sizes[1]
    assert errors[1] < errors[0] / 4
    grid = model.analyse(x, 0).blocks[0].shape
    assert grid[1:] == (EXAMPLES[name].config.latent, -(-x.shape[2] // model.stride), -(-x.shape[3] // model.stride))


OTHER_PROCESS = """
import sys, torch
torch.set_num_threads(2)
from pathlib import Path
import imprior.tasks.rate_distortion
from imprior.coding.container import unpack
from imprior.models import autoencoder
from imprior.nn.dense import Dense
from imprior.runs import read_tensors, write_tensors
assert "constriction" not in sys.modules and "PIL.Image" not in sys.modules, "imported before it is needed"
from imprior.coding.entropy import Decoder
folder = Path(sys.argv[1])
model = autoencoder.Config((1, 4, 4), Dense((8,)), 5).build()
model.load_state_dict(read_tensors(folder / "w.safetensors")[0])
header, payload = unpack((folder / "file").read_bytes())
decoder = Decoder(payload)
symbols = torch.cat([model.read(decoder, (n, 1, 4, 4), header.rate).blocks[0] for n in (256, 44)])
write_tensors(folder / "back.safetensors", {"symbols": symbols})
"""


def test_another_process_with_other_threads_decodes_the_same_integers(tmp_path):
    model = autoencoder.Config((1, 4, 4), Dense((8,)), 5).build()
    x = torch.rand(300, 1, 4, 4, generator=rng())
    model.calibrate([x])
    write_tensors(tmp_path / "w.safetensors", model.state_dict())
    (tmp_path / "file").write_bytes(compress(model, x, 6, weights=weights_hash(model)))
    subprocess.run([sys.executable, "-c", OTHER_PROCESS, str(tmp_path)], check=True, capture_output=True)
    back = read_tensors(tmp_path / "back.safetensors")[0]["symbols"]
    expected = torch.cat([model.analyse(part, 6).blocks[0] for part in (x[:256], x[256:])])
    assert torch.equal(back, expected)
