"""Laws of latents in rungs: densities that integrate to one, draws that follow them, KL by rung, one way down."""

from __future__ import annotations

import math

import pytest
import torch
import torch.distributions as oracle

from imprior import bounds
from imprior.data.batches import Images
from imprior.distributions.gaussian import DiagonalGaussian
from imprior.errors import DataError, RecipeError
from imprior.models import ladder
from imprior.models.priors import Flow, Standard
from imprior.objectives.elbo import Elbo
from imprior.parts import Batch
from imprior.tasks import evaluate

DOUBLE = torch.float64
SHAPE = (1, 3, 3)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def a_ladder(widths=(9, 7, 5), latents=(3, 2, 2), prior=None, noise=0.2):
    torch.manual_seed(0)
    model = ladder.Config(SHAPE, widths, latents, 6, prior=prior or Standard()).build().double()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(noise * torch.randn(p.shape, dtype=DOUBLE))
    return model.eval()


def bits(n=6):
    return torch.rand(n, *SHAPE, generator=rng(7), dtype=DOUBLE).round()


def grid():
    """Points of the plane, [G, 2], and the area of each."""
    axis = torch.linspace(-16, 16, 533, dtype=DOUBLE)
    return torch.cartesian_prod(axis, axis), (axis[1] - axis[0]) ** 2


@torch.no_grad()
def test_prior_and_posterior_integrate_to_one_and_draws_follow_them():
    model, (z, area) = a_ladder((7, 5), (1, 1), noise=0.1), grid()
    for p, log_p in [
        (model.prior(), model.prior().log_prob(z)),
        (model.posterior(bits(1)), model.posterior(bits(1)).log_prob(z[:, None])[:, 0]),
    ]:
        mass = log_p.exp() * area
        assert mass.sum().item() == pytest.approx(1, abs=1e-6)
        drawn = p.sample(40_000, rng()).view(-1, 2)
        for f in (lambda z: z, lambda z: z.square(), lambda z: z[:, :1] * z[:, 1:]):
            values = f(drawn)
            error = values.std(0) / math.sqrt(len(values))
            assert ((values.mean(0) - (mass[:, None] * f(z)).sum(0)).abs() < 5 * error).all()


@torch.no_grad()
def test_rungs_hang_together():
    """A ladder whose rungs ignored each other would be a flat model."""
    model = a_ladder((7, 5), (1, 1))
    low, high = (model.descent.state(0, None, torch.full((1, 1), v, dtype=DOUBLE)) for v in (-1.0, 1.0))
    evidence = model.posterior(bits(1)).evidence[0]
    for a, b in (
        [model.descent.prior(1, state) for state in (low, high)],
        [model.descent.posterior(1, state, model.descent.prior(1, state), evidence) for state in (low, high)],
    ):
        assert (a.mean - b.mean).abs().max() > 0.01


@pytest.mark.parametrize("prior", [Standard(), Flow(couplings=2, hidden=6)])
def test_kl_of_the_rungs_is_that_of_torch_and_of_the_densities(prior):
    model, x = a_ladder(prior=prior), bits()
    with torch.no_grad():
        q, p = model.posterior(x), model.prior()
        z = q.sample(2000, rng())
        steps = q.kl_steps(z, p)  # [2000, N, 3]
        top, middle, _ = z.split((2, 2, 3), -1)
        state = model.descent.state(0, None, top)
        state = model.descent.state(1, state, middle)
        below = model.descent.prior(2, state)
        above = model.descent.posterior(2, state, below, q.evidence[1])

        def as_torch(gaussian: DiagonalGaussian):
            return oracle.Normal(gaussian.mean, (0.5 * gaussian.log_variance).exp())

        torch.testing.assert_close(steps[..., 2], oracle.kl_divergence(as_torch(above), as_torch(below)).sum(-1))
        estimate = q.log_prob(z) - p.log_prob(z)
        difference = steps.sum(-1) - estimate
        error = difference.std(0) / math.sqrt(len(z))
        assert (difference.mean(0).abs() < 5 * error).all()
        assert (steps.sum(-1).std(0) < estimate.std(0)).all()  # what closed forms are for
        if isinstance(prior, Standard):
            assert torch.equal(steps[0, :, 0], steps[1, :, 0])  # the top's is known before anything is drawn


def test_a_posterior_that_the_image_does_not_move_is_its_prior():
    model, x = a_ladder(), bits()
    with torch.no_grad():
        for rung in model.descent.rungs:
            rung.move.weight.zero_()
            rung.move.bias.zero_()
    parts = bounds.elbo(model, x, rng=rng())
    assert parts.kl_units.shape == (len(x), 3)
    assert (parts.kl_units[:, 1:] == 0).all() and (parts.kl_units[:, 0] > 0).all()
    torch.testing.assert_close(parts.kl, parts.kl_units.sum(1))


def test_the_density_of_a_draw_is_that_of_an_equal_value():
    """What is kept from drawing is what would be computed anew: values and gradients."""
    found = []
    for again in (False, True):
        model = a_ladder(prior=Flow(couplings=2, hidden=6))
        q = model.posterior(bits())
        z = q.sample(3, rng())
        value = z.clone() if again else z
        (q.log_prob(value) + q.kl_steps(value, model.prior()).sum(-1)).sum().backward()
        found.append([p.grad for p in model.parameters() if p.grad is not None])
    for kept, anew in zip(*found, strict=True):
        torch.testing.assert_close(kept, anew)


def test_a_draw_without_gradients_is_not_taken_for_one_with():
    model = a_ladder()
    q = model.posterior(bits())
    with torch.no_grad():
        z = q.sample(1, rng())
    assert q.log_prob(z).requires_grad


def test_training_goes_down_once(monkeypatch):
    calls = []
    plain = ladder.Rung.posterior

    def counted(self, *given):
        calls.append(self)
        return plain(self, *given)

    monkeypatch.setattr(ladder.Rung, "posterior", counted)
    model, x = a_ladder(), bits()
    batch = Batch(x, None, None, None, torch.arange(len(x)))
    for objective in (Elbo(), Elbo(importance=4, importance_from=0.0)):
        calls.clear()
        objective(model, batch, rng=rng(), progress=0.5)
        assert calls == list(model.descent.rungs)


def test_free_bits_are_for_each_rung():
    """A floor above all of them makes the KL term a constant: three equal floors that add up to that of all latents."""
    model, x = a_ladder(), bits()
    batch = Batch(x, None, None, None, torch.arange(len(x)))
    parts = Elbo(free_bits=50.0)(model, batch, rng=rng(), progress=0.5)
    assert (parts.loss + parts.report["reconstruction"]).item() == pytest.approx(50 * 7)
    low = Elbo(free_bits=1e-6)(model, batch, rng=rng(), progress=0.5)
    assert (low.loss + low.report["elbo"]).item() == pytest.approx(0, abs=1e-9)


def test_training_and_evaluation_tell_the_kl_of_each_rung():
    model, x = a_ladder(), bits()
    batch = Batch(x, None, None, None, torch.arange(len(x)))
    report = Elbo()(model, batch, rng=rng(), progress=0.5).report
    steps = [report[f"kl_step_{rung}"] for rung in (1, 2, 3)]
    torch.testing.assert_close(sum(steps), report["kl"])
    q = model.posterior(x)
    expected = q.kl_steps(q.sample(1, rng()), model.prior())[0].mean(0).detach()  # the top first
    torch.testing.assert_close(torch.stack(steps), expected)
    pixels = (255 * x).to(torch.uint8)
    record = evaluate.run(model.float(), Images(pixels, None, (), "bits"), batch=3).record()
    assert len(record["kl_steps"]) == 3 and sum(record["kl_steps"]) == pytest.approx(record["parts"]["kl"])


def test_the_bound_rises_with_the_draws():
    # Near its fresh weights: far from them the weights of the draws have tails that 2,000 draws do not sum up.
    model, x = a_ladder((7, 5), (1, 1), noise=0.05), bits(3)
    z, area = grid()
    with torch.no_grad():
        log_joint = model.prior().log_prob(z)[:, None] + torch.stack(
            [model.likelihood(z).log_prob(image.expand(len(z), *SHAPE)) for image in x], 1
        )
        evidence = (log_joint.logsumexp(0) + area.log()).double()
        one = torch.stack([-model.score(x, rng=rng(s)).nats for s in range(200)])
        many = -model.score(x, samples=2000, rng=rng()).nats
    assert (one.mean(0) < evidence).all()
    assert ((many - evidence).abs() < 0.15).all()  # the draws' noise


def test_autocast_leaves_densities_in_float32():
    model = a_ladder(prior=Flow(couplings=2, hidden=6)).float()
    x = bits().float()
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = bounds.elbo(model, x, rng=rng())
    with torch.no_grad():
        exact = bounds.elbo(model, x, rng=rng())
    assert rounded.kl_units.dtype == rounded.reconstruction.dtype == rounded.z.dtype == torch.float32
    torch.testing.assert_close(rounded.bound, exact.bound, atol=0.5, rtol=0.05)  # bfloat16 has 8 bits


def test_codes_are_top_first_and_images_are_one_of_a_batch():
    model, x = a_ladder(), bits()
    with torch.no_grad():
        z = model.encode(x)
        torch.testing.assert_close(z[:, :2], model.posterior(x).top.mean)
        torch.testing.assert_close(model.posterior(x)[2:4].mean, z[2:4])
        assert model.prior().mean.shape == (7,)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"widths": (8,), "latents": (2,)}, "two rungs or more"),
        ({"widths": (8, 6), "latents": (2, 2, 2)}, "two rungs or more"),
        ({"widths": (8, 0), "latents": (2, 2)}, "at least 1"),
        ({"log_variance": (1.0, 1.0)}, "rising"),
    ],
)
def test_settings_that_make_no_ladder(settings, said):
    with pytest.raises(RecipeError, match=said):
        ladder.Config(SHAPE, **settings).build()


def test_a_flow_needs_two_numbers_at_the_top():
    with pytest.raises(RecipeError, match="at least 2"):
        a_ladder(latents=(3, 2, 1), prior=Flow())


def test_another_size_is_refused():
    with pytest.raises(DataError, match="this model is for"):
        a_ladder().posterior(torch.zeros(1, 1, 4, 4, dtype=DOUBLE))
