"""Patch mixtures as denoisers (EPLL), against loops over patches and linear algebra."""

import itertools
import math

import pytest
import torch

from imprior.errors import DataError, RecipeError
from imprior.metrics.psnr import psnr_db
from imprior.models import patch_mixture
from imprior.models.patch_mixture import BETAS, OPPONENT

DOUBLE = torch.float64
SIGMA = 0.1


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def pictures(n=20, size=24, seed=0):
    """Flat regions with straight edges in all directions: what patches of photographs are, at its simplest."""
    g = rng(seed)
    axis = torch.linspace(-1, 1, size, dtype=DOUBLE)
    x = torch.full((n, 1, size, size), 0.5, dtype=DOUBLE)
    for _ in range(3):
        angle = 2 * math.pi * torch.rand(n, 1, 1, 1, generator=g, dtype=DOUBLE)
        offset, step = torch.rand(2, n, 1, 1, 1, generator=g, dtype=DOUBLE) - 0.5
        side = (angle.cos() * axis[:, None] + angle.sin() * axis) > offset
        x = x + 0.6 * step * side
    return x


def fitted(components=4, patch=4, passes=8, dtype=DOUBLE):
    torch.manual_seed(0)
    model = patch_mixture.Config((1, 24, 24), components, patch).build().to(dtype)
    return model, [model.update([pictures()[:8], pictures()[8:]]) for _ in range(passes)]


def noisy(x, sigma=SIGMA):
    return x + sigma * torch.randn(x.shape, generator=rng(5), dtype=DOUBLE).to(x.dtype)


def test_every_step_lowers_what_it_minimises():
    _, reached = fitted(passes=20)
    assert all(b <= a + 1e-10 for a, b in itertools.pairwise(reached)) and reached[-1] < reached[0] - 1


def test_one_component_is_the_covariance_of_patches_less_their_mean():
    model, reached = fitted(components=1, passes=2)
    x = pictures()
    patches = torch.stack(
        [x[:, 0, i : i + 4, j : j + 4].flatten(1) for i in range(0, 24, 4) for j in range(0, 24, 4)], 1
    ).flatten(0, 1)
    patches = patches - patches.mean(1, keepdim=True)
    n, prior = len(patches), 10.0
    squares = patches.square().mean(0)
    covariance = (patches.T @ patches + prior * squares.diag()) / (n + prior)
    torch.testing.assert_close(model.components(DOUBLE).covariance[0], covariance)
    gaussian = torch.distributions.MultivariateNormal(torch.zeros(16, dtype=DOUBLE), covariance)
    penalty = gaussian.log_prob(torch.zeros(16, dtype=DOUBLE)) - 0.5 * (covariance.inverse().diagonal() @ squares)
    expected = -(gaussian.log_prob(patches).sum() + prior * penalty) / n
    assert reached[1] == pytest.approx(float(expected), abs=1e-9)


def by_loops(model, y, sigma):
    """EPLL of one small grey plane as the paper writes it, patch by patch."""
    components, side = model.components(DOUBLE).covariance, model.config.patch
    weights, x, one = model.log_weights.double().softmax(0), y.clone(), torch.eye(side**2, dtype=DOUBLE)
    for factor in BETAS:
        beta = factor / sigma**2
        total, count = torch.zeros_like(x), torch.zeros_like(x)
        for i, j in itertools.product(range(x.shape[0] - side + 1), range(x.shape[1] - side + 1)):
            patch = x[i : i + side, j : j + side].flatten()
            z = patch - patch.mean()
            scores = [
                torch.distributions.MultivariateNormal(torch.zeros_like(z), c + one / beta).log_prob(z) + w.log()
                for c, w in zip(components, weights, strict=True)
            ]
            c = components[int(torch.stack(scores).argmax())]
            cleaned = c @ torch.linalg.solve(c + one / beta, z) + patch.mean()
            total[i : i + side, j : j + side] += cleaned.view(side, side)
            count[i : i + side, j : j + side] += 1
        # (7): the noisy picture and, at each pixel, all patches over it, of which one counts beta / their number.
        x = (y / sigma**2 + beta * total / count) / (1 / sigma**2 + beta)
    return x


def test_it_is_the_algorithm_of_the_paper(monkeypatch):
    model, _ = fitted()
    y = noisy(pictures(1, 24, seed=7))[:, :, :9, :11]
    wanted = by_loops(model, y[0, 0], SIGMA)
    torch.testing.assert_close(model.denoise(y, SIGMA)[0, 0], wanted)
    monkeypatch.setattr(patch_mixture, "AT_ONCE", 17)  # strips of two rows of patches
    torch.testing.assert_close(model.denoise(y, SIGMA)[0, 0], wanted)


def test_it_gains_on_pictures_that_it_has_not_seen():
    model, _ = fitted()
    x = pictures(4, 24, seed=7)
    before, after = (psnr_db(x, z).mean() for z in (noisy(x), model.denoise(noisy(x), SIGMA)))
    assert after > before + 5
    assert psnr_db(x, model.denoise(noisy(x))).mean() > before + 4  # sigma estimated


def test_brighter_pictures_are_cleaned_alike():
    model, _ = fitted()
    y = noisy(pictures(1, 24, seed=7))
    torch.testing.assert_close(model.denoise(y + 0.3, SIGMA), model.denoise(y, SIGMA) + 0.3)


def test_colour_is_cleaned_as_grey_and_two_differences():
    model, _ = fitted()
    turn = torch.tensor(OPPONENT, dtype=DOUBLE)
    torch.testing.assert_close(turn @ turn.T, torch.eye(3, dtype=DOUBLE))
    grey = noisy(pictures(1, 24, seed=7), SIGMA / 3**0.5)
    cleaned = model.denoise(grey.expand(-1, 3, -1, -1), SIGMA)
    # No colour in it: the mean of the channels is cleaned of the noise that a mean has.
    torch.testing.assert_close(cleaned, model.denoise(grey, SIGMA / 3**0.5).expand(-1, 3, -1, -1))
    x = torch.cat([pictures(1, 24, seed=7), pictures(1, 24, seed=8), pictures(1, 24, seed=7)], 1)
    y = noisy(x)
    before, after = (float(psnr_db(x, z).mean()) for z in (y, model.denoise(y, SIGMA)))
    assert after > before + 4


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 1, 3, 30), (1, 3, 2, 5), (1, 2, 9, 9)])
def test_any_size_and_any_channels(shape):
    model, _ = fitted(passes=2, dtype=torch.float32)
    y = torch.rand(shape, generator=rng())
    cleaned = model.denoise(y, SIGMA)
    assert cleaned.shape == y.shape and cleaned.dtype == y.dtype and cleaned.isfinite().all()
    assert torch.equal(model.denoise(y, 0.0), y)


def test_single_precision_is_enough():
    model, _ = fitted()
    y = noisy(pictures(1, 24, seed=7))
    exact = model.denoise(y, SIGMA)
    error = (model.float().denoise(y.float(), SIGMA) - exact).abs().max()
    assert error < 2e-3  # a patch between two components may change sides


def test_what_is_no_patch_mixture_is_refused():
    for wrong in ({"components": 0}, {"patch": 1}, {"smoothing": 0.0}):
        with pytest.raises(RecipeError):
            patch_mixture.Config((1, 24, 24), **wrong)
    with pytest.raises(RecipeError, match=r"data\.channels=1"):
        patch_mixture.Config((3, 24, 24)).build()
    with pytest.raises(RecipeError, match="no patch"):
        patch_mixture.Config((1, 24, 7)).build()
    with pytest.raises(DataError, match="fitted on"):
        patch_mixture.Config((1, 24, 24)).build().update([torch.zeros(2, 1, 20, 24)])
    with pytest.raises(DataError, match="too few"):
        patch_mixture.Config((1, 8, 8)).build().update([torch.rand(20, 1, 8, 8)])
