"""Laws of flows: inverses and log-determinants against autograd, noise in the levels' bins, and what latents mean."""

from __future__ import annotations

import math

import pytest
import torch

from imprior import settings
from imprior.errors import RecipeError
from imprior.models import flow, tarflow
from imprior.models.dequantised import Levels, Uniform, Variational
from imprior.nn.flow_layers import ActNorm, Coupling, PointwiseConvolution, Split, Squeeze
from imprior.objectives.likelihood import Likelihood
from imprior.parts import Batch
from zoo import EXAMPLES, build, images

DOUBLE = torch.float64
SHAPE = (4, 2, 3)
BITS = math.log(2)

LAYERS = {
    "squeeze": lambda: Squeeze(),
    "act-norm": lambda: ActNorm(SHAPE),
    "pointwise": lambda: PointwiseConvolution(4),
    "coupling": lambda: Coupling(SHAPE, hidden=5, bound=2.0),
    "coupling-odd": lambda: Coupling((3, 2, 3), hidden=5, bound=2.0),
}


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def shaken(module, scale=0.3):
    """The module in float64, away from its starts at zero."""
    noise = rng(1)
    with torch.no_grad():
        for p in module.parameters():
            p.add_(scale * torch.randn(p.shape, generator=noise))
    return module.double()


def log_det_of(f, x):
    """log |det df/dx| of one image by autograd."""
    jacobian = torch.autograd.functional.jacobian(lambda flat: f(flat.view(x.shape)).flatten(), x.flatten())
    return torch.linalg.slogdet(jacobian)[1]


@pytest.mark.parametrize("name", LAYERS)
def test_layers_log_det_is_that_of_autograd_and_their_inverse_inverts(name):
    torch.manual_seed(0)
    layer = shaken(LAYERS[name]())
    shape = {"squeeze": (1, 4, 6), "coupling-odd": (3, 2, 3)}.get(name, SHAPE)
    x = torch.randn(3, *shape, generator=rng(), dtype=DOUBLE)
    with torch.no_grad():
        y, log_det = layer(x)
        assert log_det.shape == (3,)
        torch.testing.assert_close(layer.inverse(y), x, atol=1e-12, rtol=1e-12)
    for i in range(3):
        want = log_det_of(lambda x: layer(x)[0], x[i : i + 1])
        torch.testing.assert_close(log_det[i], want, atol=1e-11, rtol=1e-11)


def test_splits_log_det_is_that_of_autograd_and_their_inverse_inverts():
    layer = shaken(Split((5, 2, 3), hidden=5, bound=2.0))
    x = torch.randn(2, 5, 2, 3, generator=rng(), dtype=DOUBLE)
    with torch.no_grad():
        kept, out, log_det = layer(x)
        assert kept.shape[1:] == (3, 2, 3) and out.shape[1:] == (2, 2, 3)
        torch.testing.assert_close(layer.inverse(kept, out), x, atol=1e-12, rtol=1e-12)
    want = log_det_of(lambda x: torch.cat(layer(x)[:2], 1), x[:1])
    torch.testing.assert_close(log_det[0], want, atol=1e-11, rtol=1e-11)


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name.startswith(("flow", "tarflow"))])
def test_models_log_det_is_that_of_autograd_and_their_inverse_inverts(name):
    model = build(EXAMPLES[name], dtype=DOUBLE)
    y = torch.randn(2, *model.shape, generator=rng(), dtype=DOUBLE)
    with torch.no_grad():
        z, log_det = model.transform(y)
        assert z.shape == (2, math.prod(model.shape)) and log_det.shape == (2,)
        torch.testing.assert_close(model.invert(z), y, atol=1e-11, rtol=1e-11)
    want = log_det_of(lambda y: model.transform(y)[0], y[:1])
    torch.testing.assert_close(log_det[0], want, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name.startswith(("flow", "tarflow"))])
def test_decoding_the_code_of_an_image_gives_it_back(name):
    model = build(EXAMPLES[name])
    x = images(model, 6)
    with torch.no_grad():
        z = model.encode(x)
        assert z.shape == (6, math.prod(model.shape))
        assert (model.decode(z) - x).abs().max() < 1e-4  # float32 through a dozen layers
        between = (0.5 * (x + x.roll(1, 0))).clamp(0, 1)  # any grey value goes through, not the levels alone
        assert (model.decode(model.encode(between)) - between).abs().max() < 1e-4


@pytest.mark.parametrize("levels", [2, 256])
def test_levels_are_a_distribution_function_and_go_back(levels):
    marginal = shaken(Levels(levels), 0.2)
    k = torch.arange(levels).view(1, 1, 1, -1)
    u = torch.rand(1, 1, 1, levels, generator=rng(), dtype=DOUBLE).requires_grad_()
    y, log_det = marginal(k, u)
    (slope,) = torch.autograd.grad(y.sum(), u)
    torch.testing.assert_close(log_det[0], slope.log().sum())
    torch.testing.assert_close(marginal.inverse(y), k + u, atol=1e-6, rtol=0)  # of levels with a mass of 1e-8
    assert (y.flatten().diff() > 0).all()


def test_levels_hold_where_masses_are_extreme():
    """One pixel value in nearly all places, as black is; noise at both ends of its bin stays finite, and goes back."""
    marginal = Levels(256)
    with torch.no_grad():
        marginal.logits[0] = 2.0  # e^20 times the mass of each other level
    u = torch.tensor([0.0, 1e-7, 0.5, 1 - 6e-8, 1.0]).view(1, 1, 1, 5)
    for level in (0, 1, 128, 255):
        y, log_det = marginal(torch.full((1, 1, 1, 5), level), u)
        assert y.isfinite().all() and log_det.isfinite().all()
        if level == 0:
            assert (marginal.inverse(y) - u).abs().max() < 1e-3


@pytest.mark.parametrize("settings_of_noise", [Uniform(), Variational(hidden=4)])
def test_noise_lies_in_the_bin_and_its_density_is_that_of_autograd(settings_of_noise):
    fresh = settings_of_noise.build((1, 3, 3)).double()
    x = images(build(EXAMPLES["flow-dense"]), 2, dtype=DOUBLE)
    draws = torch.rand(2, 1, 3, 3, generator=rng(), dtype=DOUBLE)
    u, log_q = fresh(x, draws)
    torch.testing.assert_close(u, draws)  # uniform at the start
    torch.testing.assert_close(log_q, torch.zeros(2, dtype=DOUBLE))
    noise = shaken(fresh)
    u, log_q = noise(x, draws)
    assert ((u > 0) & (u < 1)).all()
    for i in range(2):
        log_det = log_det_of(lambda draws, i=i: noise(x[i : i + 1], draws)[0], draws[i : i + 1])
        torch.testing.assert_close(log_q[i], -log_det)


def test_a_fresh_model_with_uniform_noise_gives_8_bits_a_pixel():
    """The scale of the levels is in the likelihood: as many bits as there are, and what a normal base costs beside."""
    model = flow.Config((1, 4, 4), steps=(), hidden=(), dense=2, dense_hidden=4, dequantisation=Uniform()).build()
    x = images(model, 50, dtype=DOUBLE)
    nats = model.double().score(x, samples=200).nats
    assert nats.mean().item() == pytest.approx(16 * (8 * BITS + 0.0144), rel=2e-3)  # KL(logistic | normal): 0.0144


def test_the_bound_rises_to_the_mass_of_the_bin():
    """Two binary pixels: their four probabilities by integration over a fine grid in each bin."""
    torch.manual_seed(0)
    model = flow.Config((2, 1, 1), 2, steps=(), hidden=(), dense=2, dense_hidden=4, dequantisation=Uniform()).build()
    model = shaken(model, 0.15)
    x = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], dtype=DOUBLE).view(4, 2, 1, 1)
    # A grid in the logit of u, where the density is smooth up to the edges: the integral of p(u) u (1 - u) over it.
    side = torch.linspace(-30, 30, 601, dtype=DOUBLE)
    u = torch.stack(torch.meshgrid(side, side, indexing="ij"), -1).view(-1, 2, 1, 1).sigmoid()
    weight = (u * (1 - u)).flatten(1).prod(1) * 0.1**2
    with torch.no_grad():
        exact = []
        for image in x:
            y, log_det = model.marginal(image.expand_as(u).long(), u)
            z, more = model.transform(y)
            log_p = log_det + more - 0.5 * (z.square().sum(1) + 2 * math.log(2 * math.pi))
            exact.append((log_p.exp() * weight).sum())
        exact = torch.stack(exact)
        assert exact.sum().item() == pytest.approx(1, abs=1e-4)
        one = torch.stack([model.score(x, rng=rng(i)).nats for i in range(200)]).mean(0)
        many = model.score(x, samples=5000).nats
    torch.testing.assert_close(many, -exact.log(), atol=0.05, rtol=0)
    assert (one > many - 0.05).all()  # the mean of 200 draws has an error of its own, where the gap is small
    assert one.mean() > many.mean() + 0.01


def test_at_temperature_zero_all_samples_are_the_decoded_middle_of_the_base():
    model = build(EXAMPLES["flow"])
    model.temperature = 0.0
    with torch.no_grad():
        x = model.sample(3, rng())
        middle = model.decode(torch.zeros(1, 8))
    assert torch.equal(x[0], x[1]) and (x[0] - middle[0]).abs().max() <= 0.5 + 1e-6


def test_a_constant_image_has_a_finite_likelihood_however_long_it_is_trained_on():
    """Noise in the bins and bounded scales: nothing runs to infinity on pixels that never change."""
    torch.manual_seed(0)
    model = flow.Config((1, 4, 4), steps=(1,), hidden=(4,), dense=2, dense_hidden=4).build()
    optimiser = torch.optim.Adam(model.parameters(), 0.03)
    batch = Batch(torch.zeros(16, 1, 4, 4), None, None, None, torch.arange(16))
    losses = []
    for step in range(60):
        loss = Likelihood()(model, batch, rng=rng(step), progress=0.0).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert all(math.isfinite(value) for value in losses)
    assert -1.0 < losses[-1] < 0.2 * losses[0]  # a probability: its mean log is at most 0, but for the draw's noise


def test_half_precision_of_the_networks_leaves_the_log_determinants_alone():
    model = build(EXAMPLES["flow-colour"])
    x = images(model, 4)
    with torch.no_grad():
        full = model.log_prob(x, rng=rng())
        with torch.autocast("cpu", dtype=torch.bfloat16):
            half = model.log_prob(x, rng=rng())
    assert half.dtype == torch.float32
    assert ((half - full).abs() < 0.02 * full.abs()).all()  # bfloat16 has 8 bits; sums in it would be off by far more


def test_scores_use_as_many_draws_as_they_say():
    model = build(EXAMPLES["flow-colour"])
    drawn = 0

    def count(module, inputs):
        nonlocal drawn
        drawn += len(inputs[0])

    model.noise.register_forward_pre_hook(count)
    for samples in (1, 50, 51):
        drawn = 0
        assert str(samples) in model.score(images(model, 3), samples=samples).protocol
        assert drawn == 3 * samples


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: flow.Config((1, 28, 28), levels=3),
        lambda: flow.Config((1, 28, 28), steps=(2,), hidden=(4, 4)),
        lambda: flow.Config((1, 28, 28), steps=(2, 0)),
        lambda: flow.Config((1, 27, 28)).build(),
        lambda: flow.Config((1, 28, 28), bound=0.0),
        lambda: tarflow.Config((1, 28, 28), patch=5).build(),
        lambda: tarflow.Config((1, 28, 28), blocks=0),
        lambda: tarflow.Config((1, 28, 28), levels=7),
        lambda: Variational(couplings=0),
    ],
)
def test_settings_that_make_no_flow_are_refused(wrong):
    with pytest.raises(RecipeError):
        wrong()


def test_dequantisation_is_exchanged_by_name():
    config = settings.override(flow.Config((1, 4, 4)), "dequantisation", "uniform")
    assert isinstance(config.dequantisation, Uniform)
