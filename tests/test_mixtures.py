"""Mixtures of Bernoulli images and of Gaussians: against scikit-learn, closed forms, quadrature and enumeration."""

import itertools
import math

import numpy as np
import pytest
import torch

from imprior.distributions.components import Full, LowRank
from imprior.errors import DataError, RecipeError
from imprior.models import bernoulli_mixture, gaussian_mixture
from imprior.models.seeding import spread
from imprior.packing import pack, unpack
from toys import every_image

DOUBLE = torch.float64


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def grey(n=120, shape=(1, 4, 3), seed=0):
    """Images of two kinds, correlated within each."""
    g = rng(seed)
    pixels = math.prod(shape)
    mixing = 0.3 * torch.randn(2, pixels, 3, generator=g, dtype=DOUBLE)
    which = torch.randint(2, (n,), generator=g)
    z = torch.randn(n, 3, 1, generator=g, dtype=DOUBLE)
    noise = 0.05 * torch.randn(n, pixels, generator=g, dtype=DOUBLE)
    return (0.3 + 0.4 * which[:, None] + (mixing[which] @ z)[..., 0] + noise).view(n, *shape)


def bits(n=200, shape=(1, 3, 3), seed=0):
    return (torch.rand(n, *shape, generator=rng(seed), dtype=DOUBLE) < grey(n, shape, seed)).to(DOUBLE)


def fitted(config, x, passes=3):
    torch.manual_seed(0)
    model = config.build().double()
    return model, [model.update([x[:50], x[50:]]) for _ in range(passes)]


GAUSSIANS = {
    "full": gaussian_mixture.Config((1, 4, 3), 3, rank=None, smoothing=0.5),
    "low-rank": gaussian_mixture.Config((1, 4, 3), 3, rank=2, smoothing=0.5),
}
each_gaussian = pytest.mark.parametrize("config", GAUSSIANS.values(), ids=GAUSSIANS.keys())


@pytest.mark.parametrize(
    "config, x",
    [
        (GAUSSIANS["full"], grey()),
        (GAUSSIANS["low-rank"], grey()),
        (
            gaussian_mixture.Config((1, 4, 3), 2, rank=1, smoothing=1e-3, lowest=(0.2, 0.001)),
            grey(),
        ),  # the floor at work
        (gaussian_mixture.Config((1, 4, 3), 2, rank=None, smoothing=1e-3, lowest=(0.2, 0.001)), grey()),
        (bernoulli_mixture.Config((1, 3, 3), 4, smoothing=0.7), bits()),
    ],
    ids=["full", "low-rank", "floor", "full-floor", "bernoulli"],
)
def test_every_step_lowers_what_it_minimises(config, x):
    _, reached = fitted(config, x, 30)
    assert all(b <= a + 1e-10 for a, b in itertools.pairwise(reached)) and reached[-1] < reached[0] - 0.05


@pytest.mark.parametrize("rank", [None, 1])
def test_no_component_is_sharper_than_its_floor(rank):
    x = grey()
    x[:, :, 0] = 0.25  # constant pixels
    config = gaussian_mixture.Config((1, 4, 3), 3, rank, smoothing=1e-3, lowest=(0.2, 0.01))
    model, _ = fitted(config, x, 10)
    least = torch.linalg.eigvalsh(as_full(model.components).covariance)[:, 0].sqrt()
    torch.testing.assert_close(least, torch.tensor([0.2, 0.01, 0.2], dtype=DOUBLE), atol=1e-6, rtol=0)


@each_gaussian
def test_what_a_step_reports_is_the_likelihood_and_the_prior_before_it(config):
    x = grey()
    model, _ = fitted(config, x, 2)
    variance = x.flatten(1).var(0, correction=0)
    prior = 0.5 * model.components.expected(variance).sum()
    expected = (model.score(x).nats.sum() - prior) / len(x)
    assert model.update([x]) == pytest.approx(float(expected), abs=1e-10)


def test_the_score_and_a_step_equal_those_of_scikit_learn():
    sklearn_mixture = pytest.importorskip("sklearn.mixture")
    x = grey(300)
    config = gaussian_mixture.Config((1, 4, 3), 2, rank=None, smoothing=1e-9, lowest=(1e-6,))
    model, _ = fitted(config, x, 2)
    before = model.components
    peer = sklearn_mixture.GaussianMixture(
        2,
        weights_init=model.log_weights.exp().numpy(),
        means_init=before.mean.numpy(),
        precisions_init=before.covariance.inverse().numpy(),
        reg_covar=0.0,
        max_iter=1,
        tol=0,
    )
    with pytest.warns(Warning):  # it has not converged, as was asked for
        peer.fit(x.flatten(1).numpy())
    model.update([x])
    # The prior of 1e-9 images, relative to the hundred of a component.
    np.testing.assert_allclose(model.log_weights.exp().numpy(), peer.weights_, rtol=1e-8)
    np.testing.assert_allclose(model.components.mean.numpy(), peer.means_, rtol=1e-8)
    np.testing.assert_allclose(model.components.covariance.numpy(), peer.covariances_, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(-model.score(x).nats.numpy(), peer.score_samples(x.flatten(1).numpy()), rtol=1e-7)


def test_low_rank_of_one_component_reaches_the_likelihood_of_factor_analysis():
    decomposition = pytest.importorskip("sklearn.decomposition")
    x = grey(400, seed=3)
    config = gaussian_mixture.Config((1, 4, 3), 1, rank=3, smoothing=1e-9, lowest=(1e-5,))
    model, _ = fitted(config, x, 400)
    peer = decomposition.FactorAnalysis(3, tol=1e-3, max_iter=5000, svd_method="lapack").fit(x.flatten(1).numpy())
    # Both climb to the same maximum, slowly at the end.
    assert -model.score(x).nats.mean().item() == pytest.approx(peer.score(x.flatten(1).numpy()), abs=5e-3)


def low_rank(dtype=DOUBLE, seed=0):
    g = rng(seed)
    mean, factors = torch.randn(3, 6, generator=g, dtype=dtype), torch.randn(3, 6, 2, generator=g, dtype=dtype)
    return LowRank(mean, factors, 0.1 + torch.rand(3, 6, generator=g, dtype=dtype))


def as_full(components):
    if isinstance(components, Full):
        return components
    covariance = components.factors @ components.factors.mT + components.noise.diag_embed()
    return Full(components.mean, torch.linalg.cholesky(covariance))


COMPONENTS = {"full": lambda: as_full(low_rank()), "low-rank": low_rank}


@pytest.mark.parametrize("make", COMPONENTS.values(), ids=COMPONENTS.keys())
def test_components_equal_the_textbook(make):
    components, covariance = make(), as_full(make()).covariance
    x = torch.randn(5, 6, generator=rng(1), dtype=DOUBLE)
    textbook = torch.distributions.MultivariateNormal(components.mean, covariance)
    torch.testing.assert_close(components.log_prob(x), textbook.log_prob(x[:, None]))
    wider = torch.distributions.MultivariateNormal(components.mean, covariance + 0.3 * torch.eye(6))
    torch.testing.assert_close(components.blurred(0.3).log_prob(x), wider.log_prob(x[:, None]))
    known = torch.tensor([True, False, True, True, False, False])
    part = torch.distributions.MultivariateNormal(components.mean[:, known], covariance[:, known][:, :, known])
    torch.testing.assert_close(components.over(known).log_prob(x[:, known]), part.log_prob(x[:, None, known]))
    variance = torch.rand(6, generator=rng(2), dtype=DOUBLE)
    precision = covariance.inverse()
    expected = textbook.log_prob(components.mean) - 0.5 * (precision.diagonal(dim1=1, dim2=2) @ variance)
    torch.testing.assert_close(components.expected(variance), expected)
    weights = torch.rand(5, 3, generator=rng(3), dtype=DOUBLE)
    gradient = torch.autograd.functional.jacobian(lambda x: (weights * components.log_prob(x)).sum(), x)
    torch.testing.assert_close(components.gradient(x, weights), gradient)


@pytest.mark.parametrize("make", COMPONENTS.values(), ids=COMPONENTS.keys())
def test_completed_points_have_the_conditional_mean_and_covariance(make):
    components, n = make(), 40_000
    covariance, mean = as_full(components).covariance[1], components.mean[1]
    known = torch.tensor([True, False, True, True, False, False])
    x = torch.randn(1, 6, generator=rng(1), dtype=DOUBLE).expand(n, -1)
    drawn = components.completed(x, known, torch.ones(n, dtype=torch.int64), rng())
    torch.testing.assert_close(drawn[:, known], x[:, known])
    across = covariance[~known][:, known] @ covariance[known][:, known].inverse()
    wanted = mean[~known] + across @ (x[0] - mean)[known]
    left = covariance[~known][:, ~known] - across @ covariance[known][:, ~known]
    error = left.diagonal().sqrt() / math.sqrt(n)
    assert ((drawn[:, ~known].mean(0) - wanted).abs() < 5 * error).all()
    # Entries of a sample covariance have errors of about sqrt(2 / n) of the variances, under 1 %.
    assert (drawn[:, ~known].T.cov() - left).abs().max() < 0.04 * left.diagonal().max()
    nothing, everything = torch.zeros(6, dtype=torch.bool), torch.ones(6, dtype=torch.bool)
    which = torch.tensor([0, 2])
    assert components.completed(x[:2], nothing, which, rng()).isfinite().all()
    torch.testing.assert_close(components.completed(x[:2], everything, which, rng()), x[:2])


def test_draws_have_the_mean_and_covariance_of_the_mixture():
    config = GAUSSIANS["low-rank"]
    model, _ = fitted(config, grey())
    x = model.sample(40_000, rng()).flatten(1)
    weights, components = model.log_weights.exp(), model.components
    mean = weights @ components.mean
    second = torch.einsum(
        "k,kij->ij",
        weights,
        as_full(components).covariance + components.mean[:, :, None] * components.mean[:, None, :],
    )
    covariance = second - mean[:, None] * mean
    assert ((x.mean(0) - mean).abs() < 5 * (covariance.diagonal() / len(x)).sqrt()).all()
    assert (x.T.cov() - covariance).abs().max() < 0.04 * covariance.diagonal().max()


@each_gaussian
def test_denoising_is_the_posterior_mean(config):
    """By quadrature over two pixels: ∫ x p(x) N(y; x, sigma²) dx / ∫ p(x) N(y; x, sigma²) dx."""
    x = grey(200, (1, 2, 1), seed=5)
    narrow = gaussian_mixture.Config((1, 2, 1), 2, rank=None if config.rank is None else 1)
    model, _ = fitted(narrow, x, 5)
    axis = torch.linspace(-5, 6, 601, dtype=DOUBLE)
    grid = torch.cartesian_prod(axis, axis)
    density = (-model.score(grid.view(-1, 1, 2, 1)).nats).exp()
    assert float(density.sum() * (axis[1] - axis[0]) ** 2) == pytest.approx(1, abs=1e-6)
    y, sigma = torch.tensor([[0.2, 0.9], [0.6, 0.4]], dtype=DOUBLE), 0.2
    weights = density * (-(y[:, None] - grid).square().sum(2) / (2 * sigma**2)).exp()
    wanted = weights @ grid / weights.sum(1, keepdim=True)
    cleaned = model.denoise(y.view(-1, 1, 2, 1), sigma).flatten(1)
    torch.testing.assert_close(cleaned, wanted, atol=1e-6, rtol=0)


@each_gaussian
def test_denoising_gains_and_leaves_what_has_no_noise(config):
    x = grey(300)
    model, _ = fitted(config, x, 10)
    y = x + 0.15 * torch.randn(x.shape, generator=rng(9), dtype=DOUBLE)
    torch.testing.assert_close(model.denoise(y, 0.0), y)
    error = (model.denoise(y, 0.15) - x).square().mean()
    assert error < 0.6 * (y - x).square().mean()
    assert model.denoise(y[:3]).shape == (3, 1, 4, 3)


def test_missing_pixels_follow_their_conditional_distribution():
    """A mixture over two pixels, one known: the other's distribution function against the grid's."""
    model, _ = fitted(gaussian_mixture.Config((1, 2, 1), 2, rank=1), grey(200, (1, 2, 1), seed=5), 5)
    axis = torch.linspace(-2, 3, 2001, dtype=DOUBLE)
    points = torch.stack([torch.full_like(axis, 0.45), axis], 1).view(-1, 1, 2, 1)
    density = (-model.score(points).nats).exp()
    wanted = density.cumsum(0) / density.sum()
    n = 20_000
    known = torch.tensor([True, False]).view(1, 1, 2, 1).expand(n, -1, -1, -1)
    x = torch.tensor([0.45, math.nan], dtype=DOUBLE).view(1, 1, 2, 1).expand(n, -1, -1, -1)
    drawn = model.complete(x, known, rng())[:, 0, 1, 0].sort().values
    found = torch.searchsorted(drawn, axis) / n
    assert (found - wanted).abs().max() < 1.95 / math.sqrt(n)  # Kolmogorov: exceeded once in a thousand


@each_gaussian
def test_each_mask_of_a_batch_is_its_own(config):
    model, _ = fitted(config, grey())
    x = grey(4, seed=8)
    known = torch.rand(4, 1, 4, 3, generator=rng(2)) < 0.5
    filled = model.complete(x, known, rng())
    assert torch.equal(filled[known], x[known]) and (filled[~known] != x[~known]).all()


def test_low_rank_survives_packing():
    x = grey(400, (1, 28, 7), seed=2)
    x[:, :, :3] = 0.002  # pixels that hardly vary, beside others that do
    x += 0.001 * torch.randn(x.shape, generator=rng(4), dtype=DOUBLE)
    model, _ = fitted(gaussian_mixture.Config((1, 28, 7), 10, rank=4), x, 5)
    other = gaussian_mixture.Config((1, 28, 7), 10, rank=4).build()
    packed = pack(model.float().state_dict())
    assert "factors::bits" in packed and packed["mean"].dtype == torch.float16
    other.load_state_dict(unpack(packed))
    # In nats per image of 196 pixels.
    assert (other.score(x).nats - model.score(x).nats).mean().abs() < 1


@pytest.mark.parametrize(
    "wrong", [{"components": 0}, {"rank": 0}, {"smoothing": 0.0}, {"lowest": (0.1, 0.0)}, {"lowest": ()}]
)
def test_settings_that_make_no_gaussian_mixture_are_refused(wrong):
    with pytest.raises(RecipeError):
        gaussian_mixture.Config((1, 4, 3), **wrong)


def test_covariances_that_do_not_fit_are_refused():
    with pytest.raises(RecipeError, match="too large"):
        gaussian_mixture.Config((3, 64, 64), rank=None).build()
    with pytest.raises(RecipeError, match="below 12"):
        gaussian_mixture.Config((1, 4, 3), rank=12).build()


def test_fewer_images_than_components_are_refused():
    for config in (GAUSSIANS["full"], bernoulli_mixture.Config((1, 4, 3), 3)):
        with pytest.raises(DataError, match="too few"):
            config.build().update([torch.ones(5, 1, 4, 3)])
        with pytest.raises(DataError, match="no images"):
            config.build().update([])


def test_seeds_are_different_points():
    points = torch.arange(12.0, dtype=DOUBLE).view(6, 2).repeat(5, 1)
    assert len(spread(points, 6, rng()).unique(dim=0)) == 6
    with pytest.raises(DataError, match="6 different images"):
        spread(points, 7, rng())


def test_a_bernoulli_step_is_bayes_rule():
    x = bits()
    model, _ = fitted(bernoulli_mixture.Config((1, 3, 3), 4, smoothing=0.7), x, 2)
    p, weights = model.logits.sigmoid(), model.log_weights.exp()
    flat = x.flatten(1)
    joint = weights * torch.stack([torch.where(flat == 1, one, 1 - one).prod(1) for one in p], 1)
    responsibility = joint / joint.sum(1, keepdim=True)
    share = responsibility.sum(0)
    centre = (flat.sum(0) + 0.5) / (len(x) + 1)
    model.update([x])
    torch.testing.assert_close(model.log_weights.exp(), share / len(x))
    wanted = (responsibility.T @ flat + 0.7 * centre) / (share[:, None] + 0.7)
    torch.testing.assert_close(model.logits.sigmoid(), wanted)


def test_bernoulli_completions_come_as_often_as_their_probability_says():
    model, _ = fitted(bernoulli_mixture.Config((1, 3, 3), 3), bits(), 10)
    completions_by_enumeration(model)


def completions_by_enumeration(model, n=20_000):
    """All images with the known pixels of one, their probabilities against frequencies of completions."""
    every = every_image()
    known = torch.tensor([1, 0, 0, 1, 1, 0, 1, 0, 1], dtype=torch.bool).view(1, 1, 3, 3)
    x = torch.tensor([1, 0, 0, 1, 0, 0, 1, 1, 1], dtype=DOUBLE).view(1, 1, 3, 3)
    fit = ((every == x) | ~known).flatten(1).all(1)
    p = (-model.score(every[fit]).nats).softmax(0)
    drawn = model.complete(x.expand(n, -1, -1, -1), known.expand(n, -1, -1, -1), rng())
    counts = (drawn[:, None] == every[fit]).flatten(2).all(2).sum(0)
    assert counts.sum() == n
    assert ((counts - n * p).abs() / (n * p).clamp_min(1).sqrt()).max() < 5  # 16 cells, standard errors


@pytest.mark.parametrize("wrong", [{"components": 0}, {"smoothing": 0.0}])
def test_settings_that_make_no_bernoulli_mixture_are_refused(wrong):
    with pytest.raises(RecipeError):
        bernoulli_mixture.Config((1, 3, 3), **wrong)


def test_extreme_templates_score_exactly():
    model = bernoulli_mixture.Config((1, 3, 3), 1).build()
    model.logits.fill_(100.0)
    zeros = model.score(torch.zeros(1, 1, 3, 3)).nats
    assert zeros.item() == pytest.approx(900) and model.score(torch.ones(1, 1, 3, 3)).nats.item() < 1e-40


def test_grey_images_are_no_data_for_bits():
    with pytest.raises(DataError, match="binar"):
        bernoulli_mixture.Config((1, 3, 3)).build().update([torch.full((4, 1, 3, 3), 0.5)])
