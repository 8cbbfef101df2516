"""Laws of DRAW: its posterior is a distribution drawn turn by turn, and a glimpse reads and writes where it says."""

from __future__ import annotations

import math

import pytest
import torch

from imprior import bounds
from imprior.errors import RecipeError
from imprior.models import draw
from imprior.models.draw import Glimpse, ReadGlimpse, WriteGlimpse

DOUBLE = torch.float64


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def model(config, scale=0.3):
    torch.manual_seed(0)
    built = config.build().to(DOUBLE)
    with torch.no_grad():
        for p in built.parameters():
            p.add_(scale * torch.randn(p.shape, dtype=DOUBLE))
    return built


def images(n, shape=(1, 3, 3), seed=0):
    return (torch.rand(n, *shape, generator=rng(seed)) < 0.5).to(DOUBLE)


def pairs(points=161, most=9.0):
    """A grid on the plane, [points², 1, 2], and the logarithm of a cell's area."""
    axis = torch.linspace(-most, most, points, dtype=DOUBLE)
    return torch.cartesian_prod(axis, axis)[:, None], 2 * math.log(2 * most / (points - 1))


TWO_TURNS = draw.Config((1, 3, 3), turns=2, latent=1, hidden=6, read=2, write=2)


def test_the_posterior_integrates_to_one_and_its_kl_is_that_of_its_turns():
    built, (z, area) = model(TWO_TURNS), pairs()
    with torch.no_grad():
        q, p = built.posterior(images(1)), built.prior()
        log_q, log_p = q.log_prob(z), p.log_prob(z)
        assert (log_q + area).exp().sum().item() == pytest.approx(1, abs=1e-9)
        by_turns = ((log_q + area).exp() * q.kl_steps(z, p).sum(-1)).sum().item()
        assert by_turns == pytest.approx(((log_q + area).exp() * (log_q - log_p)).sum().item(), abs=1e-9)


def test_bounds_rise_to_the_likelihood():
    built, (z, area) = model(TWO_TURNS, 0.1), pairs()
    x = images(3)
    with torch.no_grad():
        likelihood = built.likelihood(z[:, 0])
        exact = torch.stack(
            [(likelihood.log_prob(one.expand(len(z), 1, 3, 3)) + built.prior().log_prob(z)[:, 0] + area).logsumexp(0)
             for one in x]
        )  # fmt: skip
        elbo = bounds.elbo(built, x.repeat(300, 1, 1, 1), rng=rng()).bound.view(300, 3)
        weighted = -bounds.importance_bound(built, x, samples=4000, rng=rng())
    assert (elbo.mean(0) < exact + 3 * elbo.std(0) / 300**0.5).all()
    torch.testing.assert_close(weighted, exact, atol=0.05, rtol=0)  # the noise of 4000 weights


@pytest.mark.parametrize("config", [TWO_TURNS, draw.Config((2, 4, 3), 3, 2, 5, read=0, write=3)], ids=str)
def test_kept_draws_are_scored_as_any_others(config):
    built, x = model(config), images(3, config.shape)
    q, p = built.posterior(x), built.prior()
    z = q.sample(4, rng())
    assert z.shape == (4, 3, config.turns * config.latent)
    kept, again = q.log_prob(z), built.posterior(x).log_prob(z.clone())
    torch.testing.assert_close(kept, again, atol=1e-12, rtol=0)
    torch.testing.assert_close(q.kl_steps(z, p), built.posterior(x).kl_steps(z.clone(), p), atol=1e-12, rtol=0)
    assert q.kl_steps(z, p).shape == (4, 3, config.turns) and (q.kl_steps(z, p) >= 0).all()
    torch.testing.assert_close(q[1:].log_prob(z[:, 1:]), kept[:, 1:], atol=1e-12, rtol=0)


def test_draws_kept_without_gradients_are_not_those_with():
    built, x = model(TWO_TURNS), images(2)
    q = built.posterior(x)
    with torch.no_grad():
        z = q.sample(1, rng())
    assert q.log_prob(z).requires_grad


def test_a_turn_depends_on_earlier_turns_and_not_on_later_ones():
    built = model(draw.Config((1, 3, 3), turns=4, latent=1, hidden=6, read=2, write=2))
    z = torch.randn(1, 4, generator=rng(), dtype=DOUBLE, requires_grad=True)
    steps = built.posterior(images(1)).kl_steps(z, built.prior())[0]
    for turn in range(4):
        gradient = torch.autograd.grad(steps[turn], z, retain_graph=True, allow_unused=True)[0]
        reached = torch.zeros(4, dtype=torch.bool) if gradient is None else gradient[0] != 0
        assert reached.tolist() == [other < turn for other in range(4)]


def test_each_turn_adds_to_the_canvas():
    built = model(TWO_TURNS)
    z = torch.randn(5, 2, generator=rng(), dtype=DOUBLE)
    memory, canvas = built.begin(5)
    for part in z.split(1, 1):
        memory, after = built.paint(part, memory, canvas)
        torch.testing.assert_close(after - canvas, built.writer(memory[0]))
        canvas = after
    torch.testing.assert_close(built.likelihood(z).logits, canvas)


def set_glimpse(glimpse: Glimpse, *values: float):
    """Constant parameters: centre y, centre x, log-width, log-stride, log-intensity."""
    with torch.no_grad():
        glimpse.parameters_of.weight.zero_()
        glimpse.parameters_of.bias.copy_(torch.tensor(values))


def test_filters_are_those_of_the_paper():
    glimpse = Glimpse((7, 5), 3, 4).double()
    set_glimpse(glimpse, 0.2, -0.1, 0.4, -0.3, 0.7)
    vertical, horizontal, given, intensity = glimpse(torch.zeros(2, 4, dtype=DOUBLE))
    stride = (7 - 1) / (3 - 1) * math.exp(-0.3)
    sigma = stride / 2 * math.exp(0.4)
    for filters, pixels, centre in ((vertical, 7, 0.2), (horizontal, 5, -0.1)):
        middle = (pixels + 1) / 2 * (centre + 1) - 1  # the paper counts pixels from 1
        for i in range(3):
            place = middle + (i + 1 - 3 / 2 - 0.5) * stride
            expected = torch.tensor(
                [math.exp(-((a - place) ** 2) / (2 * sigma**2)) for a in range(pixels)], dtype=DOUBLE
            )
            torch.testing.assert_close(filters[1, 0, i], expected / expected.sum(), atol=1e-6, rtol=0)
    assert intensity[0].item() == pytest.approx(math.exp(0.7), rel=1e-6)
    assert given[0].item() == pytest.approx(stride, rel=1e-6)


def test_a_sharp_glimpse_over_the_whole_reads_the_image_and_writes_it_back():
    shape, decoder = (2, 6, 6), torch.zeros(3, 4, dtype=DOUBLE)
    read, write = ReadGlimpse((1, 6, 6), 6, 4).double(), WriteGlimpse(shape, 6, 4).double()
    set_glimpse(read.glimpse, 0, 0, -8, 0, math.log(3))
    set_glimpse(write.glimpse, 0, 0, -8, 0, math.log(3))
    x = torch.rand(3, 2, 6, 6, generator=rng(), dtype=DOUBLE)
    seen = read(x, decoder)
    torch.testing.assert_close(seen, 3 * x.flatten(1))
    with torch.no_grad():
        write.picture.weight.zero_()
        write.picture.bias.copy_(seen[0])
    torch.testing.assert_close(write(decoder), x[:1].expand(3, -1, -1, -1))


def test_a_soft_glimpse_paints_evenly():
    write = WriteGlimpse((1, 29, 29), 5, 4).double()
    with torch.no_grad():
        write.glimpse.parameters_of.weight.zero_()
        write.picture.weight.zero_()
        write.picture.bias.fill_(2.0)
    # Away from the edge: filters there are cut off, and sum to one all the same.
    painted = write(torch.zeros(1, 4, dtype=DOUBLE))[0, 0, 10:19, 10:19]
    torch.testing.assert_close(painted, torch.full_like(painted, 2.0), atol=0.1, rtol=0)


def test_a_glimpse_beyond_the_edge_stays_finite():
    glimpse = Glimpse((6, 6), 4, 4).double()
    set_glimpse(glimpse, 40, -40, -9, 2, 0)
    decoder = torch.zeros(1, 4, dtype=DOUBLE, requires_grad=True)
    vertical, horizontal, _, _ = glimpse(decoder)
    torch.testing.assert_close(vertical[0, 0, :, -1], torch.ones(4, dtype=DOUBLE))
    torch.testing.assert_close(horizontal[0, 0, :, 0], torch.ones(4, dtype=DOUBLE))


def test_autocast_keeps_means_variances_and_canvas_in_full_precision():
    built = draw.Config((1, 8, 8), turns=3, latent=2, hidden=8, read=3, write=3).build()
    x = images(2, (1, 8, 8)).float()
    with torch.autocast("cpu", torch.bfloat16):
        parts = bounds.elbo(built, x, rng=rng())
        assert built.likelihood(parts.z).logits.dtype == torch.float32
    assert parts.kl_units.dtype == parts.reconstruction.dtype == torch.float32
    parts.bound.sum().backward()


@pytest.mark.parametrize(
    "wrong", [{"turns": 0}, {"read": 1}, {"write": -1}, {"hidden": 0}, {"log_variance": (1.0, 0.0)}], ids=str
)
def test_settings_that_make_no_model_are_refused(wrong):
    with pytest.raises(RecipeError):
        draw.Config(**wrong)
