"""Tiles leave no trace: what they give is what the whole picture gives, and no more than a tile is ever in floats."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from imprior.tasks import tiles
from toys import LocalShrinkage


class Convolutions(nn.Module):
    """Three random convolutions on unshuffled pixels, told sigma by a map; keeps DenoisesLocally."""

    levels, classes = None, None
    stride, reach, largest = 4, 12, 75 / 255

    def __init__(self, channels=3):
        super().__init__()
        torch.manual_seed(0)
        self.shape = (channels, None, None)
        self.layers = nn.ModuleList(
            nn.Conv2d(a, b, 3, padding=1) for a, b in ((16 * (channels + 1), 8), (8, 8), (8, 16 * channels))
        )
        self.seen = []

    def denoise(self, y, sigma=None):
        self.seen.append(tuple(y.shape))
        plane = sigma if isinstance(sigma, torch.Tensor) else torch.full_like(y[:, :1], sigma)
        height, width = y.shape[2:]
        z = F.pad(torch.cat([y, plane], 1), (0, -width % 4, 0, -height % 4), mode="replicate")
        z = F.pixel_unshuffle(z, 4)
        for layer in self.layers[:-1]:
            z = layer(z).relu()
        return y + F.pixel_shuffle(self.layers[-1](z), 4)[..., :height, :width]

    def noise(self, y):
        return LocalShrinkage().noise(y)


def picture(*form, seed=0):
    return np.random.default_rng(seed).uniform(0, 1, form).astype(np.float32)


def cleaned(model, noisy, sigma, **options):
    result = np.empty_like(noisy)
    tiles.clean(model, noisy, sigma, result, **options)
    return result


@given(st.integers(1, 300), st.integers(0, 30), st.sampled_from([1, 4, 8]), st.sampled_from([16, 24, 100]))
def test_an_axis_is_covered_once_and_every_part_has_its_surroundings(length, reach, stride, side):
    parts = tiles.spans(length, reach=reach, stride=stride, side=side)
    halo = -(-reach // stride) * stride
    assert [i for part in parts for i in range(part.start, part.stop)] == list(range(length))
    for part in parts:
        assert part.start < part.stop and part.start % stride == part.low % stride == 0
        assert part.high % stride == 0 or part.high == length
        assert part.low == 0 or part.start - part.low >= reach
        assert part.high == length or part.high - part.stop >= reach
        assert part.high - part.low <= side + stride + 2 * halo
        assert list(range(length))[part.around][part.inside] == list(range(length))[part.core]


@pytest.mark.parametrize("size", [(64, 64), (65, 131), (90, 33), (1, 200), (37, 3)])
@pytest.mark.parametrize("kind", ["one sigma", "a map"])
@pytest.mark.parametrize("model", [Convolutions(3), Convolutions(1), LocalShrinkage()], ids=["colour", "grey", "toy"])
def test_tiles_give_what_the_whole_picture_gives(model, kind, size):
    noisy = picture(*size, 3)
    blocks = torch.from_numpy(picture(1, 1, -(-size[0] // 4), -(-size[1] // 4), seed=1)) * 0.3
    sigma = 0.1 if kind == "one sigma" else blocks
    whole, tiled = (cleaned(model, noisy, sigma, side=side) for side in (1024, 16))
    assert np.abs(whole - tiled).max() < 1e-5  # summation order; the promise is 1e-4
    assert np.abs(whole - noisy).max() > 1e-3


@pytest.mark.parametrize("size", [(64, 64), (65, 131), (5, 90)])
def test_the_estimate_does_not_depend_on_tiles(size):
    noisy = picture(*size) * np.linspace(0.1, 1, size[1], dtype=np.float32)
    whole, tiled = (tiles.estimate(Convolutions(1), noisy, side=side) for side in (1024, 16))
    assert isinstance(whole, torch.Tensor) and torch.allclose(whole, tiled, atol=1e-6)


def test_only_a_tile_is_ever_in_floats():
    model, noisy = Convolutions(3), np.zeros((200, 300, 3), np.uint8)
    cleaned(model, noisy, 0.1, side=32)
    assert len(model.seen) > 30
    assert max(h * w for _, _, h, w in model.seen) <= (32 + 4 + 2 * 12) ** 2
    assert sum(h * w for _, _, h, w in model.seen) < 5 * 200 * 300


def test_noise_that_is_alike_is_one_number():
    rng = np.random.default_rng(0)
    for sigma in (5, 25, 60):
        noisy = (0.5 + sigma / 255 * rng.standard_normal((201, 303))).astype(np.float32)
        found = tiles.estimate(LocalShrinkage(), noisy)
        assert isinstance(found, float)
        assert found * 255 == pytest.approx(sigma * np.sqrt(15 / 16), rel=0.01)  # the toy's blocks hold 16 pixels


def test_noise_that_differs_is_a_map():
    rng = np.random.default_rng(0)
    noisy = 0.5 + rng.standard_normal((400, 400)) / 255 * np.where(np.arange(400) < 200, 10, 40)
    found = tiles.estimate(LocalShrinkage(), noisy.astype(np.float32))
    assert isinstance(found, torch.Tensor) and found.shape == (1, 1, 100, 100)
    assert (found[..., :40] * 255).mean() == pytest.approx(10, rel=0.1)
    assert (found[..., 60:] * 255).mean() == pytest.approx(40, rel=0.1)


def test_estimates_end_where_the_model_s_range_ends():
    loud = picture(64, 64)
    loud[:, 32:] = 3 * loud[:, 32:]
    for noisy in (3 * picture(64, 64), loud):
        assert float(torch.as_tensor(tiles.estimate(LocalShrinkage(), noisy)).max()) == pytest.approx(75 / 255)


@settings(max_examples=30)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 5))
def test_the_map_is_interpolated_by_place_in_the_picture(height, width, seed):
    blocks = torch.from_numpy(picture(1, 1, -(-height // 4), -(-width // 4), seed=seed))
    whole = tiles.Span(0, height, 0, height), tiles.Span(0, width, 0, width)
    full = tiles.sigma_at(blocks, *whole, 4)
    assert full.shape == (1, 1, height, width)
    assert blocks.min() - 1e-6 <= full.min() and full.max() <= blocks.max() + 1e-6
    for rows in tiles.spans(height, reach=5, stride=4, side=8):
        part = tiles.sigma_at(blocks, rows, whole[1], 4)
        assert torch.equal(part, full[:, :, rows.around])
    if height % 4 == 0 and width % 4 == 0:
        expected = F.interpolate(blocks, scale_factor=4, mode="bilinear", align_corners=False)
        assert (full - expected).abs().max() < 1e-5
