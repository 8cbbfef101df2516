"""Distributions against closed forms (torch.distributions, float64), enumeration and numerical integration."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
import torch.distributions as oracle
from torch import Tensor

from imprior.distributions.flow import RealNVP
from imprior.distributions.gaussian import DiagonalGaussian, kl
from imprior.distributions.likelihoods import Bernoulli, ContinuousBernoulli, DiscretisedLogisticMixture, Gaussian
from imprior.distributions.mixture import Mixture, MixtureOfGaussians
from imprior.errors import RecipeError
from toys import every_image

EXACT = 1e-11  # float64, sums of up to some dozens of terms of size 1 to 100


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(*shape: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    return scale * torch.randn(shape, generator=rng(seed), dtype=torch.float64)


def far(a: Tensor, b: Tensor) -> float:
    assert a.shape == b.shape
    return float((a - b).detach().abs().max())


def flow(dim: int, couplings: int = 4, spread: float = 0.3) -> RealNVP:
    """A flow that is no longer the identity."""
    made = RealNVP(dim, couplings=couplings, hidden=16).double()
    for i, p in enumerate(made.parameters()):
        p.data = draw(*p.shape, seed=i, scale=spread)
    return made


def mixture(k: int = 4, dim: int = 3) -> Mixture:
    return Mixture(draw(k, seed=9), DiagonalGaussian(draw(k, dim, seed=7, scale=2), draw(k, dim, seed=8)))


def logistic(channels: int, levels: int = 256, *, n: int = 2, side: int = 1) -> DiscretisedLogisticMixture:
    wanted = DiscretisedLogisticMixture.channels_wanted(channels, 3)
    return DiscretisedLogisticMixture(draw(n, wanted, side, side, seed=5, scale=1.5), channels, levels)


EVERY: dict[str, Any] = {  # name: (distribution, shape of its batch, shape of its event)
    "gaussian": lambda: (DiagonalGaussian(draw(4, 3), draw(3, seed=1)), (4,), (3,)),
    "gaussian grid": lambda: (DiagonalGaussian(draw(4, 2, 3, 3), draw(2, 3, 3, seed=1), event_dims=3), (4,), (2, 3, 3)),
    "standard": lambda: (DiagonalGaussian.standard((3,), dtype=torch.float64), (), (3,)),
    "flow": lambda: (flow(3), (), (3,)),
    "mixture": lambda: (mixture(), (), (3,)),
    "mixture of gaussians": lambda: (MixtureOfGaussians(3, components=4).double(), (), (3,)),
    "bernoulli": lambda: (Bernoulli(draw(4, 2, 3, 3)), (4,), (2, 3, 3)),
    "continuous bernoulli": lambda: (ContinuousBernoulli(draw(4, 2, 3, 3, scale=3)), (4,), (2, 3, 3)),
    "pixel gaussian": lambda: (Gaussian(draw(4, 2, 3, 3), torch.tensor(-1.0).double()), (4,), (2, 3, 3)),
    "logistic grey": lambda: (logistic(1, n=4, side=3), (4,), (1, 3, 3)),
    "logistic colour": lambda: (logistic(3, n=4, side=3), (4,), (3, 3, 3)),
}  # fmt: skip


@pytest.mark.parametrize("name", EVERY)
def test_shapes_and_randomness(name: str) -> None:
    distribution, batch, event = EVERY[name]()
    before = torch.get_rng_state()
    value = distribution.sample(5, rng(3))
    assert value.shape == (5, *batch, *event)
    assert value.dtype == torch.float64
    assert distribution.mean.shape == (*batch, *event)
    assert distribution.log_prob(value).shape == (5, *batch)
    assert far(distribution.log_prob(value[2]), distribution.log_prob(value)[2]) < EXACT
    assert torch.equal(value, distribution.sample(5, rng(3)))
    assert not torch.equal(value, distribution.sample(5, rng(4)))
    assert not torch.equal(distribution.sample(5, None), distribution.sample(5, None))
    assert torch.equal(before, torch.get_rng_state())  # the global generator was neither read nor moved


@pytest.mark.parametrize("name", [n for n in EVERY if "flow" not in n])
def test_the_mean_is_the_mean_of_samples(name: str) -> None:
    distribution, _, _ = EVERY[name]()
    n = 20_000
    value = distribution.sample(n, rng())
    error = value.std(0) / math.sqrt(n)
    # five standard errors; half a level on top for the rounding to levels, which the logistic's mean leaves out, and
    # one per cent of the range for the clipping of colours that decide on others
    slack = {"logistic grey": 0.5 / 255, "logistic colour": 0.01}.get(name, 1e-12)
    assert bool(((value.mean(0) - distribution.mean).abs() <= 5 * error + slack).all())


# Gaussians


@pytest.mark.parametrize("event_dims", [1, 2, 3])
def test_gaussian_against_torch(event_dims: int) -> None:
    mean, log_variance = draw(2, 3, 4, 5), draw(2, 3, 4, 5, seed=1, scale=2)
    ours = DiagonalGaussian(mean, log_variance, event_dims)
    theirs = oracle.Independent(oracle.Normal(mean, (0.5 * log_variance).exp()), event_dims)
    value = draw(7, 2, 3, 4, 5, seed=2, scale=3)
    assert far(ours.log_prob(value), theirs.log_prob(value)) < 1e-9  # sums of up to 60 squares over e^-4
    assert far(ours.entropy(), theirs.entropy()) < EXACT


def test_kl_against_torch_and_never_negative() -> None:
    q = DiagonalGaussian(draw(50, 6), draw(50, 6, seed=1, scale=2))
    for p in (DiagonalGaussian.standard((6,), dtype=torch.float64), DiagonalGaussian(draw(6, seed=2), draw(6, seed=3))):
        theirs = oracle.kl_divergence(
            oracle.Normal(q.mean, (0.5 * q.log_variance).exp()),
            oracle.Normal(p.mean.expand(50, 6), (0.5 * p.log_variance).exp().expand(50, 6)),
        )
        assert far(kl(q, p), theirs) < EXACT * 100  # e^log_variance reaches some hundreds
        assert float(kl(q, p).min()) >= 0
    assert float(kl(q, q).abs().max()) < EXACT


def test_kl_is_the_mean_of_the_log_ratio() -> None:
    """The sign and the direction: E_q log q / p, by the trapezoid rule."""
    q = DiagonalGaussian(torch.tensor([[0.7]]).double(), torch.tensor([[-0.5]]).double())
    p = DiagonalGaussian(torch.tensor([-0.4]).double(), torch.tensor([0.8]).double())
    z = torch.linspace(-12, 12, 4001).double()[:, None, None]
    integrand = q.log_prob(z).exp() * (q.log_prob(z) - p.log_prob(z[:, 0])[:, None])
    assert abs(float(torch.trapezoid(integrand[:, 0], z[:, 0, 0])) - float(kl(q, p))) < 1e-10


def test_a_slice_of_a_gaussian_is_the_gaussian_of_the_slice() -> None:
    whole = DiagonalGaussian(draw(6, 2, 3, 3), draw(1, 1, 1, 1, seed=1), event_dims=3)
    value = draw(4, 6, 2, 3, 3, seed=2)
    assert torch.equal(whole[2:5].log_prob(value[:, 2:5]), whole.log_prob(value)[:, 2:5])
    alone = DiagonalGaussian(whole.mean[2:3], whole.log_variance, 3)
    assert torch.equal(whole[2:3].sample(4, rng()), alone.sample(4, rng()))


def test_gaussian_samples_pass_gradients() -> None:
    mean, log_variance = torch.zeros(3, 2, requires_grad=True), torch.zeros(3, 2, requires_grad=True)
    z = DiagonalGaussian(mean, log_variance).sample(1, rng())[0]
    z.sum().backward()
    assert torch.equal(mean.grad, torch.ones(3, 2))  # type: ignore[arg-type]
    assert far(log_variance.grad, 0.5 * z.detach()) < 1e-6  # type: ignore[arg-type]


# Bernoulli


def test_bernoulli_sums_to_one_over_all_images() -> None:
    p = Bernoulli(draw(4, 1, 3, 3, scale=3))
    total = p.log_prob(every_image()[:, None].expand(-1, 4, -1, -1, -1)).exp().sum(0)
    assert far(total, torch.ones(4).double()) < 1e-12


def test_bernoulli_against_torch() -> None:
    logits, value = draw(4, 2, 3, 3, scale=4), (draw(5, 4, 2, 3, 3) > 0).double()
    theirs = oracle.Independent(oracle.Bernoulli(logits=logits), 3).log_prob(value)
    assert far(Bernoulli(logits).log_prob(value), theirs) < EXACT


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_bernoulli_of_large_logits_is_exact(dtype: torch.dtype) -> None:
    """No clamp, no sigmoid before the logarithm: log p(1) at logit -100 is -100, and p(0) there is 1."""
    logits = torch.tensor([-100.0, 100.0, -1000.0], dtype=dtype, requires_grad=True)
    p = Bernoulli(logits.view(3, 1, 1, 1))
    zero, one = torch.zeros(3, 1, 1, 1, dtype=dtype), torch.ones(3, 1, 1, 1, dtype=dtype)
    assert p.log_prob(one).tolist() == pytest.approx([-100, 0, -1000], abs=1e-40)
    assert p.log_prob(zero).tolist() == pytest.approx([0, -100, 0], abs=1e-40)
    p.log_prob(one).sum().backward()
    assert logits.grad is not None
    assert logits.grad.tolist() == pytest.approx([1, 0, 1], abs=1e-40)


def test_bernoulli_in_float32_agrees_with_float64() -> None:
    logits, value = draw(8, 1, 28, 28, scale=8), (draw(8, 1, 28, 28, seed=1) > 0).double()
    single, double = Bernoulli(logits.float()).log_prob(value.float()), Bernoulli(logits).log_prob(value)
    assert far(single.double() / double, torch.ones(8).double()) < 1e-6


# Continuous Bernoulli

LOGITS = (-100.0, -20.0, -0.61, -0.59, -1e-3, -1e-9, 0.0, 1e-5, 0.3, 0.6, 5.0, 100.0)


@pytest.mark.parametrize("logit", LOGITS)
def test_continuous_bernoulli_integrates_to_one_and_has_that_mean(logit: float) -> None:
    p = ContinuousBernoulli(torch.full((1, 1, 1, 1), logit, dtype=torch.float64))
    nodes, weights = _gauss_legendre()
    density = p.log_prob(nodes.view(-1, 1, 1, 1, 1))[:, 0].exp()
    assert abs(float(density @ weights) - 1) < 1e-12
    assert abs(float((density * nodes) @ weights) - float(p.mean)) < 1e-12


def _gauss_legendre(pieces: int = 40, points: int = 20) -> tuple[Tensor, Tensor]:
    """Nodes and weights on [0, 1]: exact to rounding for the densities here."""
    import numpy as np

    x, w = np.polynomial.legendre.leggauss(points)
    starts = torch.arange(pieces).double()[:, None] / pieces
    nodes = starts + (torch.from_numpy(x) + 1) / 2 / pieces
    return nodes.flatten(), (torch.from_numpy(w) / 2 / pieces).repeat(pieces)


def test_continuous_bernoulli_against_torch() -> None:
    logits = torch.tensor([-4.0, -3.0, -0.5, 0.5, 2.0, 4.0]).double().view(-1, 1, 1, 1)
    value = torch.rand(50, 6, 1, 1, 1, generator=rng(), dtype=torch.float64)
    theirs = oracle.Independent(oracle.ContinuousBernoulli(logits=logits), 3).log_prob(value)
    assert far(ContinuousBernoulli(logits).log_prob(value), theirs) < 1e-10  # the oracle is less exact at larger logits


def test_continuous_bernoulli_normaliser_has_no_hole() -> None:
    """Near λ = ½, and where the series ends: the mean is the derivative of the log-normaliser, everywhere."""
    logits = torch.cat([torch.linspace(-1, 1, 2001), torch.tensor(LOGITS)]).double().requires_grad_()
    p = ContinuousBernoulli(logits.view(-1, 1, 1, 1))
    (gradient,) = torch.autograd.grad(-p.log_prob(torch.zeros(1).double().expand(len(logits), 1, 1, 1)).sum(), logits)
    assert far(gradient, p.mean.flatten()) < 1e-12
    assert bool((p.mean.flatten()[:2001].diff() > 0).all())
    single = ContinuousBernoulli(logits.detach().float().view(-1, 1, 1, 1))
    assert far(single.mean.double(), p.mean) < 1e-6
    value = torch.rand(len(logits), 1, 1, 1, generator=rng(), dtype=torch.float64)
    assert far(single.log_prob(value.float()).double(), p.log_prob(value)) < 1e-5  # of numbers up to 100


@pytest.mark.parametrize("logit", LOGITS)
def test_continuous_bernoulli_samples(logit: float) -> None:
    n = 20_000
    p = ContinuousBernoulli(torch.full((1, 1, 1, 1), logit, dtype=torch.float64))
    x = p.sample(n, rng()).flatten().sort().values
    assert 0 <= float(x[0]) <= float(x[-1]) <= 1
    exact = (logit * x).expm1() / math.expm1(logit) if abs(logit) > 1e-6 else x
    empirical = torch.arange(1, n + 1).double() / n
    assert float((exact - empirical).abs().max()) < 1.95 / math.sqrt(n)  # Kolmogorov-Smirnov at 0.1 %


# Gaussian pixels


@pytest.mark.parametrize("shape", [(), (1,), (4, 1, 1, 1), (4, 2, 3, 3)], ids=["fixed", "shared", "image", "pixel"])
def test_gaussian_pixels_carry_their_whole_normaliser(shape: tuple[int, ...]) -> None:
    mean, log_scale, value = draw(4, 2, 3, 3), draw(*shape, seed=1), draw(5, 4, 2, 3, 3, seed=2)
    theirs = oracle.Normal(mean, log_scale.exp().expand_as(mean)).log_prob(value).sum((2, 3, 4))
    assert far(Gaussian(mean, log_scale).log_prob(value), theirs) < 1e-9


def test_gaussian_pixels_integrate_to_one() -> None:
    for sigma in (0.02, 0.5, 3.0):
        p = Gaussian(torch.full((1, 1, 1, 1), 0.4).double(), torch.tensor(math.log(sigma)).double())
        x = 0.4 + sigma * torch.linspace(-10, 10, 2001).double()
        assert abs(float(torch.trapezoid(p.log_prob(x.view(-1, 1, 1, 1, 1))[:, 0].exp(), x)) - 1) < 1e-10


def test_another_pixel_scale_shifts_gaussian_nats_by_the_log_of_it() -> None:
    mean, x, scale = draw(4, 3, 5, 5), draw(4, 3, 5, 5, seed=1), 255.0
    one = Gaussian(mean, torch.tensor(-2.0).double()).log_prob(x)
    other = Gaussian(scale * mean, torch.tensor(-2.0 + math.log(scale), dtype=torch.float64)).log_prob(scale * x)
    assert far(one - other, torch.full((4,), 75 * math.log(scale), dtype=torch.float64)) < 1e-9


def test_a_learned_scale_stops_at_the_root_mean_square_of_the_errors() -> None:
    """Without the log of the scale in the loss it would run to infinity."""
    mean, x = draw(4, 1, 5, 5), draw(4, 1, 5, 5, seed=1)
    log_scale = (x - mean).square().mean().sqrt().log().requires_grad_()
    (gradient,) = torch.autograd.grad(Gaussian(mean, log_scale).log_prob(x).sum(), log_scale)
    log_scale = log_scale.detach()
    assert abs(float(gradient)) < 1e-10
    there = float(Gaussian(mean, log_scale).log_prob(x).sum())
    assert all(float(Gaussian(mean, log_scale + away).log_prob(x).sum()) < there for away in (-1, 1))


# Discretised logistic mixture


def levels_of(count: int, channels: int = 1) -> Tensor:
    """All values of a pixel: [count^channels, 1, C, 1, 1]."""
    rows = list(itertools.product(range(count), repeat=channels))
    return torch.tensor(rows, dtype=torch.float64).view(-1, 1, channels, 1, 1) / (count - 1)


@pytest.mark.parametrize(("channels", "levels"), [(1, 2), (1, 256), (2, 16), (3, 6)])
def test_logistic_mixture_sums_to_one(channels: int, levels: int) -> None:
    p = logistic(channels, levels, n=5)
    value = levels_of(levels, channels).expand(-1, 5, -1, -1, -1)
    assert far(p.log_prob(value).exp().sum(0), torch.ones(5).double()) < 1e-12


def test_logistic_mixture_against_the_plain_formula() -> None:
    weights, location, scale = torch.tensor([0.3, 0.7]), torch.tensor([-0.2, 0.5]), torch.tensor([0.05, 0.3])
    parameters = torch.cat([weights.log(), location, scale.log()]).double().view(1, 6, 1, 1)
    p = DiscretisedLogisticMixture(parameters)
    edges = (torch.arange(255).double() + 0.5) / 255 * 2 - 1
    cdf = (((edges[:, None] - location) / scale).sigmoid() * weights).sum(1)
    mass = torch.cat([cdf[:1], cdf.diff(), 1 - cdf[-1:]])
    assert far(p.log_prob(levels_of(256))[:, 0], mass.log()) < 1e-6  # the weights above are float32
    exact_mean = (mass * torch.arange(256) / 255).sum()
    assert abs(float(p.mean) - float(exact_mean)) < 0.5 / 255


def test_colours_depend_on_the_channels_before_and_on_no_later_ones() -> None:
    p = logistic(3, n=1)
    base = torch.tensor([0.2, 0.4, 0.6]).double().mul(255).round().div(255).view(1, 3, 1, 1)
    first = _marginal(p, base, 1)
    for channel in (1, 2):  # what follows red has no say in it, whatever its value
        changed = base.clone()
        changed[:, channel] = 1.0
        assert far(_marginal(p, changed, 1), first) < EXACT
    for channel in (1, 2):
        changed = base.clone()
        changed[:, 0] = 1.0
        before = p.log_prob(base) - _marginal(p, base, channel)
        after = p.log_prob(changed) - _marginal(p, changed, channel)
        assert float((before - after).abs()) > 1e-3


def _marginal(p: DiscretisedLogisticMixture, x: Tensor, channels: int) -> Tensor:
    """log p of the first `channels` of a colour pixel, by summing over the values of the others."""
    free = levels_of(256, 1).view(-1)
    if channels == 2:
        values = x.expand(256, 1, 3, 1, 1).clone()
        values[:, 0, 2, 0, 0] = free
        return p.log_prob(values).logsumexp(0)
    values = x.expand(256 * 256, 1, 3, 1, 1).clone()
    values[:, 0, 1, 0, 0], values[:, 0, 2, 0, 0] = torch.cartesian_prod(free, free).unbind(1)
    return p.log_prob(values).logsumexp(0)


@pytest.mark.parametrize("channels", [1, 3])
def test_logistic_mixture_samples_as_often_as_it_says(channels: int) -> None:
    n, levels = 40_000, 4
    p = logistic(channels, levels, n=1)
    scaled = p.sample(n, rng())[:, 0, :, 0, 0] * (levels - 1)
    assert far(scaled, scaled.round()) < 1e-12
    code = sum(scaled[:, c].round().long() * levels ** (channels - 1 - c) for c in range(channels))
    counts = torch.bincount(torch.as_tensor(code), minlength=levels**channels).double()
    mass = p.log_prob(levels_of(levels, channels))[:, 0].exp()
    deviation = (counts / n - mass).abs() / (mass * (1 - mass) / n).sqrt().clamp_min(1 / n)
    assert float(deviation.max()) < 5


@pytest.mark.parametrize("extreme", [-100.0, 100.0])
def test_logistic_mixture_of_extreme_parameters_is_finite(extreme: float) -> None:
    parameters = torch.full((1, 12, 1, 1), extreme, requires_grad=True)
    value = levels_of(256).float()
    log_mass = DiscretisedLogisticMixture(parameters).log_prob(value)
    assert bool(log_mass.isfinite().all())
    log_mass.sum().backward()
    assert parameters.grad is not None
    assert bool(parameters.grad.isfinite().all())
    double = DiscretisedLogisticMixture(parameters.detach().double()).log_prob(value.double())
    assert torch.allclose(log_mass.detach().double(), double, rtol=1e-5, atol=1e-6)


def test_logistic_mixture_in_float32_agrees_with_float64_in_the_far_tails() -> None:
    parameters = torch.tensor([0.0, 0.9, -7.0]).view(
        1, 3, 1, 1
    )  # narrow, at the upper end: level 0 is 2,000 scales off
    single = DiscretisedLogisticMixture(parameters).log_prob(levels_of(256).float())
    double = DiscretisedLogisticMixture(parameters.double()).log_prob(levels_of(256))
    assert float(double.min()) < -2000
    assert float(((single.double() - double) / double.abs().clamp_min(1)).abs().max()) < 1e-5


# Flow


@pytest.mark.parametrize("dim", [2, 3, 8, 9])
@pytest.mark.parametrize("couplings", [1, 2, 5])
def test_flow_inverts_and_counts_volume(dim: int, couplings: int) -> None:
    f, z = flow(dim, couplings), draw(6, dim)
    u, log_det = f(z)
    assert far(f.inverse(u), z) < 1e-10
    assert far(f(f.inverse(z))[0], z) < 1e-10
    jacobians = torch.stack([torch.autograd.functional.jacobian(lambda v: f(v)[0], row) for row in z])
    assert far(torch.linalg.slogdet(jacobians).logabsdet, log_det) < 1e-10
    assert far(f.log_prob(z), oracle.Normal(0.0, 1.0).log_prob(u).sum(1) + log_det) < 1e-10


def test_flow_integrates_to_one() -> None:
    f = flow(2, couplings=2, spread=0.2)
    axis = torch.linspace(-15, 15, 501, dtype=torch.float64)
    with torch.no_grad():
        mass = f.log_prob(torch.cartesian_prod(axis, axis)).exp().sum() * (axis[1] - axis[0]) ** 2
    assert abs(float(mass) - 1) < 1e-4  # the networks have kinks (ReLU), where the grid is only fairly exact


def test_flow_starts_as_the_standard_normal() -> None:
    f, z = RealNVP(5, couplings=3, hidden=8), draw(4, 5).float()
    assert far(f.log_prob(z), DiagonalGaussian.standard((5,)).log_prob(z)) < 1e-6
    assert far(f.mean, torch.zeros(5)) == 0


def test_flow_samples_are_the_base_carried_back() -> None:
    f = flow(5)
    u, _ = f(f.sample(2000, rng()))
    assert far(u, torch.randn(2000, 5, generator=rng(), dtype=torch.float64)) < 1e-10


def test_every_parameter_of_the_flow_learns() -> None:
    f = flow(6)
    f.log_prob(draw(20, 6)).sum().backward()
    assert all(p.grad is not None and float(p.grad.abs().max()) > 0 for p in f.parameters())


def test_flow_scales_are_bounded() -> None:
    f = flow(4, couplings=2, spread=30.0)
    z = draw(50, 4, scale=100)
    _, log_det = f(z)
    assert float(log_det.detach().abs().max()) <= 2 * 2 * 2.0 + 1e-9  # couplings x changed numbers x bound
    assert bool(f.inverse(z).isfinite().all())


def test_flow_stays_in_float32_under_autocast() -> None:
    f, z = flow(6).float(), draw(20, 6).float()
    with torch.autocast("cpu", torch.bfloat16):
        inside, back = f.log_prob(z), f.inverse(z)
    assert torch.equal(inside, f.log_prob(z))
    assert torch.equal(back, f.inverse(z))


def test_a_flow_of_one_number_is_refused() -> None:
    with pytest.raises(RecipeError, match="at least 2 latent numbers, not 1"):
        RealNVP(1)


# Mixtures


def test_mixture_against_torch() -> None:
    p, value = mixture(), draw(7, 5, 3, scale=3)
    components = oracle.Independent(oracle.Normal(p.components.mean, (0.5 * p.components.log_variance).exp()), 1)
    theirs = oracle.MixtureSameFamily(oracle.Categorical(logits=p.logits), components)
    assert far(p.log_prob(value), theirs.log_prob(value)) < 1e-10
    assert far(p.mean, theirs.mean) < EXACT


def test_mixture_of_narrow_components_is_exact_in_float32() -> None:
    """Posteriors are narrow: the expanded squares reach 10^5 and must not leave their rounding behind."""
    mean, log_variance = draw(100, 48, scale=3).float(), torch.full((100, 48), -7.0)
    p = Mixture(torch.zeros(100), DiagonalGaussian(mean, log_variance))
    z = DiagonalGaussian(mean, log_variance).sample(1, rng())[0]
    direct = DiagonalGaussian(mean.double(), log_variance.double()).log_prob(z.double()[:, None])
    exact = direct.logsumexp(1) - math.log(100)
    assert far(p.log_prob(z).double(), exact) < 1e-4


def test_mixture_of_grids() -> None:
    mean, log_variance = draw(4, 2, 3, 3), draw(4, 2, 3, 3, seed=1)
    grid = Mixture(torch.zeros(4).double(), DiagonalGaussian(mean, log_variance, event_dims=3))
    flat = Mixture(torch.zeros(4).double(), DiagonalGaussian(mean.flatten(1), log_variance.flatten(1)))
    value = draw(5, 2, 3, 3, seed=2)
    assert far(grid.log_prob(value), flat.log_prob(value.flatten(1))) < EXACT
    assert torch.equal(grid.sample(6, rng()).flatten(1), flat.sample(6, rng()))


def test_mixture_samples_components_by_weight() -> None:
    mean = torch.tensor([[-100.0], [0.0], [100.0]]).double()
    p = Mixture(torch.tensor([0.2, 0.5, 0.3]).double().log(), DiagonalGaussian(mean, torch.zeros_like(mean)))
    which = p.sample(20_000, rng()).div(100).round().long().flatten() + 1
    share = torch.bincount(which, minlength=3) / 20_000
    assert far(share, torch.tensor([0.2, 0.5, 0.3])) < 5 * math.sqrt(0.25 / 20_000)


def test_every_parameter_of_a_mixture_learns() -> None:
    p = MixtureOfGaussians(3, components=5)
    p.log_prob(draw(20, 3).float()).sum().backward()
    assert all(q.grad is not None and float(q.grad.abs().min()) > 0 for q in p.parameters())


def test_posteriors_of_pseudo_inputs_learn_as_components() -> None:
    """A VampPrior: the gradient of log p(z) reaches the pseudo-inputs through the encoder."""
    pseudo = draw(5, 8).requires_grad_()
    encoder = torch.nn.Linear(8, 6).double()
    mean, log_variance = encoder(pseudo).chunk(2, 1)
    Mixture(torch.zeros(5).double(), DiagonalGaussian(mean, log_variance)).log_prob(draw(10, 3)).sum().backward()
    assert pseudo.grad is not None
    assert float(pseudo.grad.abs().min()) > 0
