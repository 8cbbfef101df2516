"""PSNR, SSIM and MS-SSIM against scikit-image, BD-rate in closed form, and the laws that they obey."""

import math
import sys

import numpy as np
import pytest
import torch

from imprior.errors import DataError, MissingExtraError
from imprior.metrics.bd_rate import Curve, bd_rate
from imprior.metrics.ms_ssim import SMALLEST, WEIGHTS, ms_ssim
from imprior.metrics.psnr import psnr_db
from imprior.metrics.ssim import ssim


@pytest.fixture
def pair():
    rng = torch.Generator().manual_seed(0)
    x = torch.rand(3, 2, 17, 23, generator=rng)
    return x, (x + 0.2 * torch.randn(x.shape, generator=rng)).clamp(0, 1)


def test_psnr_is_scikit_images(pair):
    oracle = pytest.importorskip("skimage.metrics")
    x, y = pair
    expected = [oracle.peak_signal_noise_ratio(a.double().numpy(), b.double().numpy(), data_range=1)
                for a, b in zip(x, y, strict=True)]  # fmt: skip
    assert psnr_db(x, y).tolist() == pytest.approx(expected, abs=1e-10)  # both in float64


def test_ssim_is_scikit_images(pair):
    oracle = pytest.importorskip("skimage.metrics")
    x, y = pair
    options = {"data_range": 1, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    expected = [oracle.structural_similarity(a.double().numpy(), b.double().numpy(), channel_axis=0, **options)
                for a, b in zip(x, y, strict=True)]  # fmt: skip
    assert ssim(x, y).tolist() == pytest.approx(expected, abs=1e-10)  # both in float64


@pytest.mark.parametrize("metric", [psnr_db, ssim])
def test_each_image_is_judged_alone(pair, metric):
    x, y = pair
    assert torch.equal(metric(x, y), torch.cat([metric(a[None], b[None]) for a, b in zip(x, y, strict=True)]))
    assert metric(x, y).dtype == torch.float64


@pytest.mark.parametrize("metric", [psnr_db, ssim])
def test_what_leaves_the_unit_interval_is_clipped(pair, metric):
    x, y = pair
    wild = torch.where(y == 1, y + 3, torch.where(y == 0, y - 3, y))
    assert torch.equal(metric(x, wild), metric(x, y))
    assert not torch.equal(wild, y)


@pytest.mark.parametrize("metric", [psnr_db, ssim])
def test_both_are_symmetric_and_know_equality(pair, metric):
    x, y = pair
    assert torch.allclose(metric(x, y), metric(y, x), rtol=1e-12)
    assert metric(x, x).tolist() == pytest.approx([math.inf if metric is psnr_db else 1.0] * 3)


def test_ten_times_the_error_is_twenty_decibels():
    x = torch.zeros(1, 1, 12, 12, dtype=torch.float64)
    assert psnr_db(x, x + 0.01) - psnr_db(x, x + 0.1) == pytest.approx(20)


def test_ssim_is_negative_for_the_inverted_structure():
    x = torch.from_numpy(np.indices((12, 12)).sum(0) % 2).double()[None, None]
    assert ssim(x, 1 - x).item() < -0.9


def test_ssim_refuses_images_below_its_window():
    with pytest.raises(DataError, match="at least 11x11 pixels, these are 10x30"):
        ssim(torch.zeros(1, 1, 10, 30), torch.zeros(1, 1, 10, 30))


# MS-SSIM


@pytest.fixture(scope="module")
def large():
    """Coarse and fine structure, and the same with some noise; a side that is odd at one of the scales."""
    rng = torch.Generator().manual_seed(1)
    x = sum(
        torch.nn.functional.interpolate(torch.rand(2, 2, 184 // s, 192 // s, generator=rng), (184, 192)) / 4
        for s in (1, 2, 8, 23)
    )
    return x, (x + 0.1 * torch.randn(x.shape, generator=rng)).clamp(0, 1)


def test_ms_ssim_is_what_scikit_image_gives_scale_by_scale(large):
    """With a constant that makes luminance equal everywhere, its SSIM is contrast and structure alone."""
    oracle = pytest.importorskip("skimage.metrics")
    measure = pytest.importorskip("skimage.measure")
    options = {"data_range": 1, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    expected = []
    for a, b in zip(*large, strict=True):
        channels = []
        for one, other in zip(a.double().numpy(), b.double().numpy(), strict=True):
            product = 1.0
            for scale, weight in enumerate(WEIGHTS):
                if scale:
                    even = tuple(slice(0, side // 2 * 2) for side in one.shape)
                    one, other = (measure.block_reduce(v[even], (2, 2), np.mean) for v in (one, other))
                blind = {} if scale == len(WEIGHTS) - 1 else {"K1": 1e6}
                product *= oracle.structural_similarity(one, other, **options, **blind) ** weight
            channels.append(product)
        expected.append(np.mean(channels))
    assert ms_ssim(*large).tolist() == pytest.approx(expected, abs=1e-9)  # luminance is 1 but for 1e-12


def test_ms_ssim_falls_with_noise_from_one(large):
    x, noisy = large
    assert ms_ssim(x, x).tolist() == pytest.approx([1.0] * 2)
    found = torch.stack([ms_ssim(x, x + share * (noisy - x)) for share in (0.1, 0.3, 1.0)])
    assert (found < 1).all() and (found.diff(dim=0) < 0).all()
    inverted = ms_ssim(x, 1 - x)  # negative in structure, which counts as nothing
    assert (inverted == 0).all() and inverted.dtype == torch.float64


def test_ms_ssim_knows_no_order_and_no_direction(large):
    x, y = large
    expected = ms_ssim(x, y)
    assert torch.allclose(ms_ssim(y, x), expected, rtol=1e-12)
    assert torch.allclose(ms_ssim(x.flip(1), y.flip(1)), expected, rtol=1e-12)  # channels
    assert torch.allclose(ms_ssim(x.mT, y.mT), expected, rtol=1e-12)
    even = x[..., :176, :176], y[..., :176, :176]  # of odd sides the last row is left out, of the mirrored the first
    assert torch.allclose(ms_ssim(even[0].flip(3), even[1].flip(3)), ms_ssim(*even), rtol=1e-12)
    assert torch.equal(ms_ssim(x[1:], y[1:]), expected[1:])
    wild = torch.where(y == 1, y + 3, torch.where(y == 0, y - 3, y))
    assert torch.equal(ms_ssim(x, wild), expected)


def test_ms_ssim_refuses_images_that_have_no_five_scales():
    ms_ssim(*torch.zeros(2, 1, 1, SMALLEST, SMALLEST))
    with pytest.raises(DataError, match="at least 176x176 pixels, these are 175x300"):
        ms_ssim(*torch.zeros(2, 1, 1, SMALLEST - 1, 300))


# BD-rate

JPEG = Curve((0.33, 0.51, 0.73, 0.97, 1.37, 2.35, 3.4), (26.6, 29.0, 30.9, 32.4, 34.4, 37.9, 40.6))
OTHER = Curve((0.12, 0.29, 0.66, 1.31, 2.2), (26.1, 29.2, 32.7, 36.6, 39.9))


def times(curve, factor):
    return Curve([factor * bits for bits in curve.bits_per_pixel], curve.psnr_db)


@pytest.mark.parametrize("factor", [0.4, 1.0, 1.7])
def test_a_multiple_of_all_rates_is_that_bd_rate(factor):
    pytest.importorskip("scipy")
    found = bd_rate(JPEG, times(JPEG, factor))
    assert found.percent == pytest.approx(100 * (factor - 1), abs=1e-9)
    assert (found.low_db, found.high_db) == (27, 39)
    both = 1 + bd_rate(JPEG, times(OTHER, factor)).percent / 100
    assert both == pytest.approx(factor * (1 + bd_rate(JPEG, OTHER).percent / 100))


def test_bd_rate_turned_round_is_the_reciprocal():
    pytest.importorskip("scipy")
    there, back = bd_rate(JPEG, OTHER).percent, bd_rate(OTHER, JPEG).percent
    assert there < -30 and (1 + there / 100) * (1 + back / 100) == pytest.approx(1)


def test_between_lines_bd_rate_is_their_distance_in_the_middle():
    """ln(bits) = a + b·dB: the mean difference is that at the middle of the range, however many points there are."""
    pytest.importorskip("scipy")
    at = np.linspace(26, 40, 5)
    anchor, other = (lambda p: np.exp(0.14 * p - 4)), (lambda p: np.exp(0.17 * p - 5.9))
    expected = 100 * (other(33.0) / anchor(33.0) - 1)
    for points in (at, np.sort(np.concatenate([at, [28.1, 33.3, 38.7]])), at[::-1]):
        found = bd_rate(Curve(anchor(at).tolist(), at.tolist()), Curve(other(points).tolist(), points.tolist()))
        assert found.percent == pytest.approx(expected, abs=1e-9)
    middle = other(30.0) / anchor(30.0)
    short = bd_rate(Curve(anchor(at).tolist(), at.tolist()), Curve([other(24.0), other(33.0)], [24.0, 33.0]))
    assert (short.low_db, short.high_db) == (27, 33) and short.percent == pytest.approx(100 * (middle - 1))


def test_the_points_of_a_curve_lie_on_it():
    pytest.importorskip("scipy")
    assert [OTHER.bits_at(db) for db in OTHER.psnr_db] == pytest.approx(list(OTHER.bits_per_pixel))
    assert OTHER.bits_at(26.0) is None and OTHER.bits_at(40.0) is None


def test_curves_that_say_nothing_are_refused():
    for bits, psnr in (((1.0,), (30.0,)), ((1, 2), (30, 30)), ((0, 1), (30, 31)), ((1, 2), (30, math.inf)), ((1,), ())):
        with pytest.raises(DataError):
            Curve(bits, psnr)
    with pytest.raises(DataError, match="from 27 to 39 dB in common"):
        bd_rate(JPEG, Curve((0.1, 0.2), (22.0, 26.5)))


def test_bd_rate_without_scipy_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.interpolate", None)
    with pytest.raises(MissingExtraError, match=r"imprior\[classical\]"):
        bd_rate(JPEG, OTHER)
