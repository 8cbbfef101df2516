"""Kernel densities, against scikit-learn, quadrature and enumeration."""

import math

import numpy as np
import pytest
import torch

from imprior.distributions.draws import uniform
from imprior.errors import DataError, RecipeError
from imprior.models import kernel_density
from imprior.models.kernel_density import FLIPS, WIDTHS
from imprior.packing import pack, unpack
from imprior.randomness import generator
from test_mixtures import bits, completions_by_enumeration, grey

DOUBLE = torch.float64


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def fitted(config, x):
    torch.manual_seed(0)
    model = config.build().double()
    return model, model.update([x[:50], x[50:]])


def levels(n=150, shape=(1, 3, 2), seed=0):
    return (255 * grey(n, shape, seed).clamp(0, 1)).round() / 255


def test_the_density_and_the_best_width_are_those_of_scikit_learn():
    neighbors = pytest.importorskip("sklearn.neighbors")
    model, reached = fitted(kernel_density.Config((1, 3, 2), 100), levels())
    centres = (model.images.flatten(1).double() + 0.5).numpy() / 256

    def peer(width):
        # One leaf for all: scikit-learn's bounds on whole nodes are off by up to a nat far from the data.
        return neighbors.KernelDensity(bandwidth=float(width), leaf_size=1000).fit(centres)

    x = grey(20, (1, 3, 2), seed=4)
    found = peer(model.width).score_samples(x.flatten(1).numpy())
    np.testing.assert_allclose(-model.score(x).nats.numpy(), found, rtol=1e-6)
    stored = {tuple(row.tolist()) for row in model.images.flatten(1)}
    others = [row for row in (255 * levels()).round().byte().flatten(1) if tuple(row.tolist()) not in stored]
    held_out = (torch.stack(others).double() + 0.5).numpy() / 256
    assert len(held_out) == 50
    means = [peer(w).score(held_out) / 50 for w in WIDTHS]
    assert reached == pytest.approx(-max(means), rel=1e-9)
    assert float(model.width) == pytest.approx(float(WIDTHS[int(np.argmax(means))]))


def test_one_pass_is_all_and_levels_made_continuous_are_stored_as_they_were():
    config, x = kernel_density.Config((1, 3, 2), 100), levels()
    model, reached = fitted(config, x)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert model.update([x]) == pytest.approx(reached)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    continuous = ((255 * x).round() + torch.rand(x.shape, generator=rng(), dtype=DOUBLE)) / 256
    assert torch.equal(fitted(config, continuous)[0].images, model.images)


def test_bits_choose_the_best_probability_of_a_flip():
    config, x = kernel_density.Config((1, 3, 3), 100, "bernoulli"), levels(150, (1, 3, 3))
    model, reached = fitted(config, x)
    chosen = torch.randperm(150, generator=generator(model.seed, "stored"))
    held_out = x[chosen[100:]]
    held_out = (uniform(held_out.flatten(1).shape, generator(model.seed, "bits"), held_out) < held_out.flatten(1)).view(
        held_out.shape
    )
    found = []
    for flip in FLIPS:
        model.width.copy_(flip)
        found.append(model.score(held_out.to(DOUBLE)).nats.mean())
    assert reached == pytest.approx(float(min(found)), abs=1e-9)
    model.update([x])
    assert float(model.width) == pytest.approx(float(FLIPS[int(torch.stack(found).argmin())]))


def test_the_probability_of_bits_is_that_of_flipped_ones():
    model, _ = fitted(kernel_density.Config((1, 3, 3), 20, "bernoulli"), bits(60))
    x, flip = bits(5, seed=3), float(model.width)
    wrong = (x[:, None] != model.images / 255).flatten(2).sum(2).to(DOUBLE)  # [5, 20]
    expected = (flip**wrong * (1 - flip) ** (9 - wrong)).mean(1).log()
    torch.testing.assert_close(-model.score(x).nats, expected)


def test_completions_of_bits_come_as_often_as_their_probability_says():
    model, _ = fitted(kernel_density.Config((1, 3, 3), 20, "bernoulli"), levels(60, (1, 3, 3)))
    completions_by_enumeration(model)


def two_pixels():
    return fitted(kernel_density.Config((1, 2, 1), 8), levels(60, (1, 2, 1), seed=5))[0]


def test_denoising_is_the_posterior_mean():
    """By quadrature over two pixels: ∫ x p(x) N(y; x, sigma²) dx / ∫ p(x) N(y; x, sigma²) dx."""
    model, sigma = two_pixels(), 0.2
    axis = torch.linspace(-3, 4, 801, dtype=DOUBLE)
    grid = torch.cartesian_prod(axis, axis)
    density = (-model.score(grid.view(-1, 1, 2, 1)).nats).exp()
    assert float(density.sum() * (axis[1] - axis[0]) ** 2) == pytest.approx(1, abs=1e-6)
    y = torch.tensor([[0.2, 0.9], [0.6, 0.4]], dtype=DOUBLE)
    weights = density * (-(y[:, None] - grid).square().sum(2) / (2 * sigma**2)).exp()
    wanted = weights @ grid / weights.sum(1, keepdim=True)
    cleaned = model.denoise(y.view(-1, 1, 2, 1), sigma).flatten(1)
    torch.testing.assert_close(cleaned, wanted, atol=1e-6, rtol=0)
    torch.testing.assert_close(model.denoise(y.view(-1, 1, 2, 1), 0.0).flatten(1), y)


def test_missing_pixels_follow_their_conditional_distribution():
    model, n = two_pixels(), 20_000
    axis = torch.linspace(-3, 4, 2001, dtype=DOUBLE)
    density = (-model.score(torch.stack([torch.full_like(axis, 0.45), axis], 1).view(-1, 1, 2, 1)).nats).exp()
    wanted = density.cumsum(0) / density.sum()
    known = torch.tensor([True, False]).view(1, 1, 2, 1).expand(n, -1, -1, -1)
    x = torch.tensor([0.45, math.nan], dtype=DOUBLE).view(1, 1, 2, 1).expand(n, -1, -1, -1)
    drawn = model.complete(x, known, rng())
    assert torch.equal(drawn[:, 0, 0, 0], x[:, 0, 0, 0])
    found = torch.searchsorted(drawn[:, 0, 1, 0].sort().values, axis) / n
    assert (found - wanted).abs().max() < 1.95 / math.sqrt(n)  # Kolmogorov: exceeded once in a thousand


def test_draws_are_stored_images_and_noise():
    model, n = two_pixels(), 40_000
    x = model.sample(n, rng()).flatten(1)
    centres = (model.images.flatten(1).double() + 0.5) / 256
    covariance = centres.T.cov(correction=0) + model.width**2 * torch.eye(2)
    assert ((x.mean(0) - centres.mean(0)).abs() < 5 * (covariance.diagonal() / n).sqrt()).all()
    assert (x.T.cov() - covariance).abs().max() < 0.04 * covariance.diagonal().max()


def test_stored_images_survive_packing_bit_for_bit():
    model, _ = fitted(kernel_density.Config((1, 28, 28), 20), levels(40, (1, 28, 28)))
    packed = unpack(pack(model.state_dict()))
    assert packed["images"].dtype == torch.uint8 and torch.equal(packed["images"], model.images)
    assert float(packed["width"]) == pytest.approx(float(model.width), rel=1e-3)


def test_settings_and_data_that_make_no_density_are_refused():
    with pytest.raises(RecipeError):
        kernel_density.Config(size=0)
    with pytest.raises(DataError, match=r"model\.size=50 or less"):
        kernel_density.Config((1, 3, 2), 100).build().update([levels(100)])
    with pytest.raises(DataError, match="binar"):
        kernel_density.Config((1, 3, 2), 5, "bernoulli").build().score(levels(3))
