"""PSNR and SSIM against scikit-image, and the laws that they obey."""

import math

import numpy as np
import pytest
import torch

from imprior.errors import DataError
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
