"""The photo codec as it is trained: what rounding costs, the transform it begins with, rate and distortion."""

import math

import pytest
import torch

from imprior.distributions.quantised import (
    LEAST_SCALE,
    LogisticTables,
    between,
    gaussian_bits,
    noisy,
    rounded_by_worth,
    straight_through,
)
from imprior.errors import DataError, RecipeError
from imprior.models import codec
from imprior.nn.block_transform import Transforms, cosine_blocks
from imprior.objectives.rate_distortion import RateDistortion
from imprior.parts import Batch
from zoo import EXAMPLES, build
from zoo.codec import SMALL

DOUBLE = torch.float64


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def smooth(n, side=64, seed=0):
    """Pictures whose neighbouring pixels are alike, as those of photographs are."""
    coarse = torch.rand(n, 3, side // 8, side // 8, generator=rng(seed))
    return torch.nn.functional.interpolate(coarse, (side, side), mode="bicubic").clamp(0, 1)


@pytest.mark.parametrize("scale", [0.2, 1.0, 7.0])
def test_masses_of_all_integers_sum_to_one(scale):
    v = torch.arange(-200.0, 201.0, dtype=DOUBLE)
    gaussian = 2 ** -gaussian_bits(v, torch.full_like(v, scale))
    assert gaussian.sum() == pytest.approx(1, abs=1e-6)  # 1e-9 each is the least
    tables = LogisticTables(2, 3).double()
    with torch.no_grad():
        tables.log_scale.fill_(math.log(scale))
        tables.location.copy_(torch.randn(tables.location.shape, generator=rng()))
        tables.logits.copy_(torch.randn(tables.logits.shape, generator=rng(1)))
        mass = 2 ** -tables.bits(v.view(1, 1, -1, 1).expand(1, 2, -1, 1), torch.tensor([1.3]))
    torch.testing.assert_close(mass.sum((2, 3)), torch.ones(1, 2, dtype=DOUBLE), rtol=0, atol=1e-6)


def test_bits_are_those_of_the_distribution_function():
    v, scale = torch.linspace(-9, 9, 50, dtype=DOUBLE), torch.full((50,), 2.5, dtype=DOUBLE)
    normal = torch.distributions.Normal(0.0, scale)
    torch.testing.assert_close(gaussian_bits(v, scale), -(normal.cdf(v + 0.5) - normal.cdf(v - 0.5)).log2())


def test_noise_stands_for_rounding_and_the_gradient_goes_through():
    v = torch.randn(10_000, generator=rng(), dtype=DOUBLE).requires_grad_()
    error = noisy(v, rng(1)) - v
    assert error.abs().max() <= 0.5 and error.square().mean().item() == pytest.approx(1 / 12, rel=0.05)
    assert torch.equal(noisy(v, None), v.round())
    (gradient,) = torch.autograd.grad(straight_through(v).square().sum(), v)
    torch.testing.assert_close(gradient, 2 * v.detach().round())


@pytest.mark.parametrize("worth", [0.0, 0.7, 1e6])
def test_integers_by_worth_cost_least_among_the_nearest_and_the_next_towards_zero(worth):
    v = 3 * torch.randn(2000, generator=rng(), dtype=DOUBLE)
    scale = torch.full_like(v, 0.8)
    k = rounded_by_worth(v, scale, torch.tensor(worth))

    def cost(k):
        return gaussian_bits(k, scale) + worth * (k - v).square()

    nearest = v.round()
    torch.testing.assert_close(cost(k), torch.minimum(cost(nearest), cost(nearest - nearest.sign())))
    assert torch.equal(k, nearest) == (worth > 1000)
    assert not rounded_by_worth(v, torch.full_like(v, LEAST_SCALE), torch.tensor(worth)).any()


def test_between_anchors_levels_are_linear():
    anchors = torch.randn(4, 3, generator=rng())
    assert torch.equal(between(anchors, torch.arange(4.0)), anchors)
    torch.testing.assert_close(between(anchors, torch.tensor([2.25]))[0], 0.75 * anchors[2] + 0.25 * anchors[3])


def test_the_transform_begins_with_cosines_in_principal_colours():
    x = smooth(6) - 0.5
    basis, spread = cosine_blocks([x[:3], x[3:]], 768)
    torch.testing.assert_close(basis @ basis.t(), torch.eye(768), rtol=0, atol=1e-5)
    assert (spread.diff() <= 0).all()
    blocks = torch.nn.functional.pixel_unshuffle(x, 16).movedim(1, -1).flatten(0, -2)
    torch.testing.assert_close((blocks @ basis.t()).square().mean(0).sqrt(), spread, rtol=1e-3, atol=1e-4)
    # The first vector is one colour all over the block, and coefficients of a pixel's colours are uncorrelated.
    first = basis[0].view(3, 256)
    torch.testing.assert_close(first, first[:, :1].expand(3, 256), rtol=0, atol=1e-6)
    constant = [row for row in basis.view(768, 3, 256) if (row - row[:, :1]).abs().max() < 1e-6]
    colours = torch.stack(constant)[:, :, 0] * 16
    assert colours.shape == (3, 3)
    means = colours @ x.movedim(1, 0).flatten(1)
    moments = means @ means.t() / means.shape[1]
    assert (moments - moments.diagonal().diag()).abs().max() < 1e-3 * moments.max()
    torch.testing.assert_close(cosine_blocks([x], 12)[0], basis[:12], rtol=0, atol=1e-4)


def test_before_any_training_more_bits_buy_a_better_picture():
    model = SMALL.build()
    x = smooth(4)
    model.start([x, smooth(8, seed=1)])
    with torch.no_grad():
        sent = [model.transmit(x, torch.full((4,), float(level)), None) for level in range(codec.LEVELS)]
    bits = torch.stack([s.bits.mean() for s in sent])
    errors = torch.stack([(s.x - x).square().mean() for s in sent])
    assert (bits.diff() > 0).all() and (errors.diff() < 0).all()
    assert all((s.side_bits < s.bits).all() for s in sent)


@pytest.mark.parametrize("height, width", [(1, 1), (17, 64), (65, 30)])
def test_images_of_any_size_come_back_in_their_size(height, width):
    model = build(EXAMPLES["codec"])
    x = torch.rand(2, 3, height, width, generator=rng())
    with torch.no_grad():
        sent = model.transmit(x, torch.tensor([0.0, 6.5]), None)
        again = model.transmit(x[1:], torch.tensor([6.5]), None)
    assert sent.x.shape == x.shape and sent.bits.shape == (2,) and (sent.bits > 0).all()
    torch.testing.assert_close(sent.x[1:], again.x, rtol=0, atol=1e-5)
    with pytest.raises(DataError):
        model.transmit(x[:, :1], torch.zeros(2), None)


class Channel:
    """A codec of known answers."""

    anchors = 5

    def __init__(self, error, bits):
        self.error, self.bits, self.seen = error, bits, []

    def weight(self, level):
        return 0.01 * 2**level

    def transmit(self, x, level, rng):
        self.seen.append(level)
        return codec.Transmission(torch.full((len(x),), self.bits), torch.zeros(len(x)), x + self.error)


def test_the_loss_is_rate_and_distortion_at_levels_from_the_whole_range():
    x = torch.rand(8, 3, 4, 5, generator=rng())
    channel = Channel(0.1, 50.0)
    parts = RateDistortion()(channel, Batch(x, None, None, None, torch.arange(8)), rng=rng(), progress=0.0)
    level = channel.seen[0]
    weight = channel.weight(level)
    expected = ((50 + weight * 255**2 * 0.01 * 20) * math.log(2) / weight.sqrt()).mean()
    torch.testing.assert_close(parts.loss, expected)
    assert ((level.sort().values / 4 * 8).floor() == torch.arange(8)).all()  # one in each eighth
    assert parts.report["bpp"] == 50 / 20 and parts.report["psnr"] == pytest.approx(20, abs=1e-3)


def test_at_the_end_both_ends_learn_from_integers_and_the_encoder_rests():
    model = build(EXAMPLES["codec"])
    with torch.no_grad():
        for p in model.parameters():  # some begin at zero, and keep others from learning
            p.add_(0.05 * torch.randn(p.shape, generator=rng()))
    x = smooth(4)
    batch = Batch(x, None, None, None, torch.arange(4))
    for progress, settled in ((0.0, False), (0.74, False), (0.75, True), (1.0, True)):
        model.zero_grad(set_to_none=True)
        RateDistortion(settled=0.25)(model, batch, rng=rng(), progress=progress).loss.backward()
        for name, p in model.named_parameters():
            encoder = name.split(".")[0] in ("analysis", "to_side", "log_gain")
            assert (p.grad is None or not p.grad.any()) == (settled and encoder), name


def test_settings_that_make_no_codec_are_refused():
    for wrong in (
        lambda: codec.Config(slices=(1, 2)),
        lambda: codec.Config(lowest=0.2),
        lambda: codec.Config(side=0),
        lambda: RateDistortion(settled=1.5),
        lambda: Transforms(units=0),
        lambda: Transforms(analysis_blocks=(-1, 0)),
    ):
        with pytest.raises(RecipeError):
            wrong()
