"""The bounds against exact log p(x): closed forms, enumeration of all 3x3 images, integration over the latents."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.distributions as oracle
from torch import Tensor

from imprior import bounds
from imprior.distributions.flow import RealNVP
from imprior.distributions.gaussian import DiagonalGaussian
from imprior.distributions.likelihoods import Bernoulli
from imprior.distributions.mixture import Mixture
from imprior.errors import CapabilityError, DataError
from imprior.promises import Shape
from toys import BernoulliVae, LinearGaussian, every_image

DOUBLE = torch.float64


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def vae(latents: int = 1) -> BernoulliVae:
    return BernoulliVae(latents, dtype=DOUBLE)


def far(a: Tensor, b: Tensor) -> float:
    assert a.shape == b.shape
    return float((a - b).detach().abs().max())


class TwoPixels:
    """One latent, two pixels, every number in sight: logits (z, 2 z), q(z | x) = N(x1 - x2, e^-1)."""

    shape: Shape = (1, 1, 2)
    levels: int | None = 2
    classes: int | None = None

    def posterior(self, x: Tensor) -> DiagonalGaussian:
        mean = (x[:, 0, 0, :1] - x[:, 0, 0, 1:]).clone()
        return DiagonalGaussian(mean, torch.full_like(mean, -1.0))

    def prior(self) -> DiagonalGaussian:
        return DiagonalGaussian.standard((1,), dtype=DOUBLE)

    def likelihood(self, z: Tensor) -> Bernoulli:
        return Bernoulli(torch.cat((z, 2 * z), 1).view(-1, 1, 1, 2))

    def encode(self, x: Tensor) -> Tensor:
        return self.posterior(x).mean

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.likelihood(z).mean

    def latent(self, n: int, rng: torch.Generator) -> Tensor:
        return self.prior().sample(n, rng)


class Tiled(BernoulliVae):
    """The same model of images twice as high: the same image twice."""

    shape: Shape = (1, 6, 3)

    def posterior(self, x: Tensor) -> DiagonalGaussian:
        return super().posterior(x[:, :, :3])

    def likelihood(self, z: Tensor) -> Bernoulli:
        return Bernoulli(super().likelihood(z).logits.repeat(1, 1, 2, 1))


# The ELBO


def test_elbo_by_hand() -> None:
    """x = (1, 0): q = N(1, 1/e), so z = 1 + e^(-1/2) ε, and each term is a line."""
    x = torch.tensor([1.0, 0.0], dtype=DOUBLE).view(1, 1, 1, 2)
    epsilon = float(torch.randn(1, generator=rng(3), dtype=DOUBLE))
    z = 1 + math.exp(-0.5) * epsilon
    reconstruction = -math.log1p(math.exp(-z)) - math.log1p(math.exp(2 * z))
    kl = 0.5 * (math.exp(-1) + 1 - 1 + 1)
    parts = bounds.elbo(TwoPixels(), x, rng=rng(3))
    assert float(parts.z) == pytest.approx(z, abs=1e-14)
    assert float(parts.reconstruction) == pytest.approx(reconstruction, abs=1e-12)
    assert float(parts.kl) == pytest.approx(kl, abs=1e-12)
    assert float(parts.bound) == pytest.approx(reconstruction - kl, abs=1e-12)


def test_twice_the_image_is_twice_the_reconstruction_term() -> None:
    """Sums over pixels, never means: a mean would leave the term as it was, and beta off by the number of pixels."""
    x = every_image()
    one = bounds.elbo(vae(), x, rng=rng())
    two = bounds.elbo(Tiled(dtype=DOUBLE), x.repeat(1, 1, 2, 1), rng=rng())
    assert far(two.reconstruction, 2 * one.reconstruction) < 1e-12
    assert far(two.kl, one.kl) == 0


def test_kl_is_that_of_torch_and_not_negative() -> None:
    model, x = vae(2), every_image()
    parts, q = bounds.elbo(model, x, rng=rng()), model.posterior(x)
    theirs = oracle.kl_divergence(oracle.Normal(q.mean, (0.5 * q.log_variance).exp()), oracle.Normal(0.0, 1.0))
    assert far(parts.kl_units, theirs) < 1e-12
    assert far(parts.kl, theirs.sum(1)) < 1e-12
    assert float(parts.kl_units.min()) >= 0


@pytest.mark.parametrize("latents", [1, 2])
def test_elbo_is_below_log_p_of_every_image(latents: int) -> None:
    """By enumeration of all 512 images, the mean of 400 draws each; log p(x) by integration over z."""
    model, x, n = vae(latents), every_image(), 400
    parts = bounds.elbo(model, x.repeat(n, 1, 1, 1), rng=rng())
    draws = parts.bound.view(n, -1)
    evidence = model.evidence(x)
    error = draws.std(0) / math.sqrt(n)
    assert bool((draws.mean(0) <= evidence + 5 * error).all())
    assert float((evidence - draws.mean(0)).mean()) > 0.01  # the encoder is not exact, so the bound is not tight
    some = slice(0, None, 16)  # and what is missing is KL(q ‖ exact posterior), by integration:
    missing = (evidence - draws.mean(0))[some] - _kl_to_exact_posterior(model, x[some])
    assert bool((missing.abs() < 5 * error[some]).all())


def _kl_to_exact_posterior(model: BernoulliVae, x: Tensor) -> Tensor:
    """KL(q(z | x) ‖ p(z | x)) on a grid of z, [N]."""
    latents = model.weight.shape[1]
    axis = torch.linspace(-6, 6, 241 if latents == 1 else 81, dtype=DOUBLE)
    z = torch.cartesian_prod(*[axis] * latents).view(-1, 1, latents)
    logits = z @ model.weight.T + model.offset  # [G, 1, 9]
    log_joint = Bernoulli(logits.view(-1, 1, 1, 3, 3)).log_prob(x.expand(len(z), *x.shape))
    log_joint = log_joint + model.prior().log_prob(z)
    log_q = model.posterior(x).log_prob(z)
    integrand = log_q.exp() * (log_q - log_joint + model.evidence(x))
    return integrand.sum(0) * (axis[1] - axis[0]) ** latents


def test_any_encoder_input_gives_a_bound_on_the_image_itself() -> None:
    model, x = vae(), every_image()
    shown = x.flip(0)
    parts = bounds.elbo(model, x, rng=rng(), encoder_input=shown)
    z = model.posterior(shown).sample(1, rng())[0]
    assert torch.equal(parts.z, z)
    assert torch.equal(parts.reconstruction, model.likelihood(z).log_prob(x))
    assert torch.equal(parts.kl, bounds.elbo(model, shown, rng=rng()).kl)


def test_a_prior_without_closed_form_gives_the_estimate() -> None:
    """The same prior, once as a Gaussian, once as a flow that is still the identity: equal in the mean."""

    class WithFlow(BernoulliVae):
        flow = RealNVP(2, couplings=2, hidden=4).double()

        def prior(self) -> Any:
            return self.flow

    x = every_image()[::50].repeat(4000, 1, 1, 1)
    closed = bounds.elbo(vae(2), x, rng=rng())
    sampled = bounds.elbo(WithFlow(2, dtype=DOUBLE), x, rng=rng())
    assert closed.kl_units.shape == (len(x), 2)
    assert sampled.kl_units.shape == (len(x), 1)
    assert torch.equal(sampled.reconstruction, closed.reconstruction)
    error = float(sampled.kl.detach().std()) / math.sqrt(len(x))
    assert abs(float((sampled.kl.mean() - closed.kl.mean()).detach())) < 5 * error


# The importance-weighted bound


def test_with_the_exact_posterior_every_bound_is_log_p_itself() -> None:
    """Then each weight is p(x), whatever the draw: nothing is left to chance."""
    model = LinearGaussian(dtype=DOUBLE)
    x = model.sample(30, rng())
    exact = model.score(x).nats
    for samples in (1, 7, 120):
        assert far(bounds.importance_bound(model, x, samples=samples, rng=rng(samples)), exact) < 1e-8
        assert far(bounds.importance_elbo(model, x, samples=samples, rng=rng(samples)), -exact) < 1e-8


@pytest.mark.parametrize("latents", [1, 2])
def test_the_bound_rises_to_log_p(latents: int) -> None:
    model, x = vae(latents), every_image()
    evidence = model.evidence(x)
    gaps = []
    for samples in (1, 5, 1000):
        values = -bounds.importance_bound(model, x, samples=samples, rng=rng())
        gaps.append(float((evidence - values).mean()))
    assert gaps[0] > 0.1 > gaps[1] / 2 > 2 * gaps[2]
    assert abs(gaps[2]) < 0.003  # what is left is about the relative variance of the weights / 2K


def log_weights(model: BernoulliVae, x: Tensor, z: Tensor) -> Tensor:
    """log p(x | z) + log p(z) - log q(z | x) for z [K, N, D], by torch.distributions alone."""
    q = model.posterior(x)
    logits = z @ model.weight.T + model.offset
    likelihood = oracle.Bernoulli(logits=logits).log_prob(x.flatten(1).expand_as(logits)).sum(-1)
    prior = oracle.Normal(0.0, 1.0).log_prob(z).sum(-1)
    return likelihood + prior - oracle.Normal(q.mean, (0.5 * q.log_variance).exp()).log_prob(z).sum(-1)


def test_value_and_gradient_on_fixed_draws_are_those_of_the_plain_bound() -> None:
    model, x, samples = vae(2), every_image()[::9], 6
    model.weight.requires_grad_()
    ours = bounds.importance_elbo(model, x, samples=samples, rng=rng(5))
    (gradient,) = torch.autograd.grad(ours.sum(), model.weight)
    weights = log_weights(model, x, model.posterior(x).sample(samples, rng(5)))
    plain = weights.logsumexp(0) - math.log(samples)
    (expected,) = torch.autograd.grad(plain.sum(), model.weight)
    assert far(ours, plain) < 1e-12
    assert far(gradient, expected) < 1e-10
    assert float(gradient.abs().max()) > 0.1


class Weighted(TwoPixels):
    """A likelihood whose log-weights have a standard deviation of 3 whatever x: the posterior is the prior."""

    def posterior(self, x: Tensor) -> DiagonalGaussian:
        return DiagonalGaussian(torch.zeros(len(x), 1, dtype=DOUBLE), torch.zeros(1, dtype=DOUBLE))

    def likelihood(self, z: Tensor) -> Any:
        class Linear:
            def log_prob(self, value: Tensor) -> Tensor:
                return 3 * z[:, 0]

        return Linear()


def test_reported_is_the_bound_and_not_the_weighted_sum_with_its_gradient() -> None:
    """Σ softmax(log w)·log w has the right gradient, but is always larger: by 2 nats for such weights."""
    model, x, samples = Weighted(), torch.zeros(200, 1, 1, 2, dtype=DOUBLE), 50
    weights = 3 * model.posterior(x).sample(samples, rng(2))[..., 0]
    plain = weights.logsumexp(0) - math.log(samples)
    weighted_sum = (weights.softmax(0) * weights).sum(0)
    assert far(bounds.importance_elbo(model, x, samples=samples, rng=rng(2)), plain) < 1e-12  # type: ignore[arg-type]
    assert float((weighted_sum - plain).min()) > 0
    assert float((weighted_sum - plain).mean()) > 1


def test_more_samples_are_weighted_towards_the_best_of_them() -> None:
    """Weights from costs would favour the worst: the bound of K draws is at least the mean of their log-weights."""
    model, x = vae(2), every_image()
    weights = log_weights(model, x, model.posterior(x).sample(20, rng(1)))
    ours = bounds.importance_elbo(model, x, samples=20, rng=rng(1))
    assert bool((ours >= weights.mean(0)).all())
    assert bool((ours <= weights.max(0).values).all())


# An image's result is its own


@pytest.mark.parametrize("samples", [1, 40, 130])
def test_result_does_not_depend_on_the_other_images(samples: int) -> None:
    model, x = vae(2), every_image()[::37]
    whole = bounds.importance_bound(model, x, samples=samples, rng=rng(8))
    order = torch.randperm(len(x), generator=rng())
    shuffled = bounds.importance_bound(model, x[order], samples=samples, rng=rng(8))
    singles = torch.cat([bounds.importance_bound(model, one[None], samples=samples, rng=rng(8)) for one in x])
    assert far(shuffled, whole[order]) < 1e-12  # the draws are the same; products of other sizes round otherwise
    assert far(singles, whole) < 1e-12
    for chunk in (1, 7, 10_000):
        assert far(bounds.importance_bound(model, x, samples=samples, rng=rng(8), chunk=chunk), whole) < 1e-12
    assert far(bounds.importance_bound(model, x, samples=samples, rng=rng(9)), whole) > 1e-3
    assert len(set(whole.tolist())) == len(x)


def test_elbo_with_own_noise_does_not_depend_on_the_other_images() -> None:
    model, x = vae(2), every_image()[::37]
    whole = bounds.elbo(model, x, rng=rng(8), own_noise=True)
    singles = [bounds.elbo(model, one[None], rng=rng(8), own_noise=True).z for one in x]
    assert far(torch.cat(singles), whole.z) < 1e-12
    assert far(whole.z, bounds.elbo(model, x, rng=rng(8)).z) > 1e-3


def test_noise_of_different_images_is_independent() -> None:
    model, x = vae(), every_image()
    q = model.posterior(x)
    noise = ((bounds.elbo(model, x, rng=rng(), own_noise=True).z - q.mean) / (0.5 * q.log_variance).exp()).flatten()
    assert abs(float(noise.mean())) < 5 / math.sqrt(512)
    assert abs(float(noise.std()) - 1) < 5 / math.sqrt(2 * 512)
    assert abs(float((noise[1:] * noise[:-1]).mean())) < 5 / math.sqrt(512)


def test_repeated_and_without_a_generator() -> None:
    model, x = vae(), every_image()[:20]
    before = torch.get_rng_state()
    assert torch.equal(bounds.importance_bound(model, x, samples=3), bounds.importance_bound(model, x, samples=3))
    one = rng()
    first, second = (bounds.importance_bound(model, x, samples=3, rng=one) for _ in range(2))
    assert far(first, second) > 1e-3  # the generator moves on
    assert torch.equal(before, torch.get_rng_state())


# Exactly as many samples as asked for, each image encoded once, in bounded memory


@pytest.mark.parametrize("samples", [1, 49, 50, 51, 150])
def test_uses_exactly_so_many_samples_and_encodes_once(samples: int) -> None:
    model, x = vae(), every_image()[:30]
    result = bounds.importance_bound(model, x, samples=samples, rng=rng(), chunk=200)
    assert model.calls == 30
    assert sum(model.decoded) == 30 * samples
    assert result.dtype == torch.float64
    assert not result.requires_grad


def test_one_sample_gives_minus_the_log_weight_of_it() -> None:
    """The sign too: these are nats to be minimised, positive for binary images."""
    model, x = vae(), every_image()[::20]
    single = bounds.importance_bound(model, x, samples=1, rng=rng(4))
    z = bounds.elbo(model, x, rng=rng(4), own_noise=True).z
    assert far(single, -log_weights(model, x, z[None])[0]) < 1e-12
    assert float(single.min()) > 0


@pytest.mark.parametrize(("images", "samples"), [(512, 1), (512, 20), (40, 1000), (2, 20_000)])
def test_memory_is_flat_in_images_and_samples(images: int, samples: int) -> None:
    model = vae()
    bounds.importance_bound(model, every_image()[:images], samples=samples, rng=rng(), chunk=300)
    assert max(model.decoded) <= 300


def test_no_gradient_graph_is_kept() -> None:
    model, x = vae(), every_image()[:5]
    model.weight.requires_grad_()
    assert not bounds.importance_bound(model, x, samples=60, rng=rng()).requires_grad


def test_the_prior_is_asked_for_once() -> None:
    """A VampPrior runs the encoder on its pseudo-inputs each time."""

    class Counting(BernoulliVae):
        priors = 0

        def prior(self) -> DiagonalGaussian:
            self.priors += 1
            return super().prior()

    model = Counting(dtype=DOUBLE)
    bounds.importance_bound(model, every_image(), samples=200, rng=rng(), chunk=500)
    assert model.priors == 1


# It is a likelihood


@pytest.mark.parametrize("latents", [1, 2])
def test_probabilities_by_the_bound_sum_to_one(latents: int) -> None:
    """Σ exp(bound) over all images: unbiased for Σ p(x) = 1, the draws of images being independent."""
    nats = bounds.importance_bound(vae(latents), every_image(), samples=1000, rng=rng())
    assert abs(float((-nats).exp().sum()) - 1) < 0.01


@pytest.mark.parametrize("value", [0.5, 1e-2, -1.0, 2.0, math.nan])
def test_grey_images_are_refused_by_a_likelihood_of_binary_ones(value: float) -> None:
    x = torch.zeros(3, 1, 3, 3, dtype=DOUBLE)
    x[1, 0, 1, 1] = value
    with pytest.raises(DataError, match="binary images"):
        bounds.importance_bound(vae(), x, samples=1)


def test_levels_are_checked() -> None:
    eight_bit = torch.arange(256).view(1, 1, 16, 16) / 255
    bounds.check_levels(eight_bit, 256)
    bounds.check_levels(eight_bit + 0.001, None)
    with pytest.raises(DataError, match="256 levels"):
        bounds.check_levels(eight_bit + 0.001, 256)
    with pytest.raises(DataError, match="binary"):
        bounds.check_levels(eight_bit, 2)
    bounds.check_levels(torch.zeros(0, 1, 3, 3), 2)
    assert bounds.importance_bound(vae(), torch.zeros(0, 1, 3, 3, dtype=DOUBLE), samples=5).shape == (0,)


class Extreme(TwoPixels):
    """Logits of ±100, whatever z; the posterior is the prior, so the bound is the likelihood."""

    def posterior(self, x: Tensor) -> DiagonalGaussian:
        return DiagonalGaussian(torch.zeros(len(x), 1, dtype=x.dtype), torch.zeros(1, dtype=x.dtype))

    def likelihood(self, z: Tensor) -> Bernoulli:
        return Bernoulli(torch.tensor([100.0, -100.0], dtype=z.dtype).view(1, 1, 1, 2).expand(len(z), -1, -1, -1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_extreme_logits_give_finite_exact_nats(dtype: torch.dtype) -> None:
    x = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]], dtype=dtype).view(3, 1, 1, 2)
    nats = bounds.importance_bound(Extreme(), x, samples=70)
    assert nats.tolist() == pytest.approx([0, 100, 200], abs=1e-5)


# What the latent units do


def known(images: int = 4000, lengths: tuple[float, ...] = (0.6, 0.3, 0.0)) -> tuple[LinearGaussian, DiagonalGaussian]:
    """A model whose aggregate posterior is its prior, with a unit that does nothing; posteriors of its own samples."""
    model = LinearGaussian(lengths, dtype=DOUBLE)
    x = model.sample(images, rng())
    return model, bounds.collect(model, x.split(700))


def test_collect_encodes_each_image_once_and_keeps_their_order() -> None:
    model = LinearGaussian(dtype=DOUBLE)
    x = model.sample(50, rng())
    q = bounds.collect(model, [x[:20], x[20:]])
    assert model.calls == 50
    assert torch.equal(q.mean, model.posterior(x).mean)
    assert torch.equal(q.log_variance, model.posterior(x).log_variance)


def test_units_without_influence_are_found() -> None:
    model, q = known()
    assert bounds.active_units(q.mean).tolist() == [True, True, False]
    units = bounds.kl_per_unit(q, model.prior())
    capacity = 0.5 * (1 + model.weight.square().sum(0) / model.sigma**2).log()  # ½ log(1 + signal / noise), exact
    assert far(units, capacity) < 0.05  # 4,000 images
    assert float(units[2]) < 1e-12
    diagnosis = bounds.diagnose(q, model.prior(), rng=rng(1))
    assert not diagnosis.collapsed
    assert diagnosis.kl == pytest.approx(float(capacity.sum()), abs=0.1)


def test_units_are_judged_under_a_prior_that_ties_them_together() -> None:
    """A mixture that is the standard normal: the same units, by the information that they carry."""
    model, q = known()
    same = Mixture(torch.zeros(2, dtype=DOUBLE), DiagonalGaussian(torch.zeros(2, 3, dtype=DOUBLE), torch.zeros(3)))
    assert far(bounds.kl_per_unit(q, same), bounds.kl_per_unit(q, model.prior())) < 0.05


@pytest.mark.parametrize("flow", [False, True])
def test_collapse_is_reported(flow: bool) -> None:
    """All units below 0.1 nat, though their sum is above 1: the sum alone would not tell."""
    n, units = 500, 20
    mean = 0.4 * torch.randn(n, units, generator=rng(), dtype=DOUBLE)
    q = DiagonalGaussian(mean, torch.full_like(mean, math.log(1 - 0.16)))
    prior = RealNVP(units).double() if flow else DiagonalGaussian.standard((units,), dtype=DOUBLE)
    diagnosis = bounds.diagnose(q, prior, rng=rng())
    assert diagnosis.collapsed
    assert diagnosis.kl > 1
    one = mean.clone()
    one[:, 3] = torch.randn(n, generator=rng(1), dtype=DOUBLE)
    alive = DiagonalGaussian(one, torch.where(torch.arange(units) == 3, -4.0, q.log_variance))
    assert not bounds.diagnose(alive, prior, rng=rng()).collapsed


def test_no_gap_where_aggregate_and_prior_are_the_same() -> None:
    model, q = known()
    low, high = bounds.aggregate_gap(q, model.prior(), rng=rng(1))
    assert abs(low) < 0.02
    assert low <= high < 0.5  # 4,000 images smooth the aggregate well in three units


def test_the_gap_to_another_prior_lies_in_its_range() -> None:
    """The aggregate is N(0, 1): KL to N(m, s²) in closed form."""
    _, q = known()
    prior = DiagonalGaussian(torch.tensor([1.0, 0.0, -0.5], dtype=DOUBLE), torch.tensor([0.0, 1.0, -0.5], dtype=DOUBLE))
    exact = float(oracle.kl_divergence(
        oracle.Normal(torch.zeros(3, dtype=DOUBLE), 1.0), oracle.Normal(prior.mean, (0.5 * prior.log_variance).exp())
    ).sum())  # fmt: skip
    low, high = bounds.aggregate_gap(q, prior, rng=rng(1))
    assert low == pytest.approx(exact, abs=0.1)  # the aggregate is a Gaussian: the lower end is the gap itself
    assert exact - 0.1 < high < exact + 0.5


def test_the_upper_end_sees_what_moments_do_not() -> None:
    """An aggregate of two far modes with the mean and variance of the prior: no Gaussian can tell, the samples can."""
    n = 1000
    side = (torch.arange(n) % 2 * 2.0 - 1)[:, None].double()
    q = DiagonalGaussian(0.995 * side, torch.full((n, 1), math.log(1 - 0.995**2), dtype=DOUBLE))
    low, high = bounds.aggregate_gap(q, DiagonalGaussian.standard((1,), dtype=DOUBLE), rng=rng())
    assert abs(low) < 0.05
    # exact: the entropy of two modes is log 2 + that of one; minus the cross-entropy with N(0, 1)
    one = 0.5 * math.log(2 * math.pi * math.e * (1 - 0.995**2))
    assert high == pytest.approx(0.5 * math.log(2 * math.pi) + 0.5 - one - math.log(2), abs=0.1)


def test_posteriors_of_another_kind_are_refused() -> None:
    class Other(LinearGaussian):
        def posterior(self, x: Tensor) -> Any:
            return Mixture(torch.zeros(2), DiagonalGaussian(torch.zeros(2, 2), torch.zeros(2, 2)))

    with pytest.raises(CapabilityError, match="Gaussian posteriors"):
        bounds.collect(Other(), [torch.zeros(1, 1, 3, 3)])
