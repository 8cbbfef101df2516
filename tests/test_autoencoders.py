"""What autoencoders and variational ones promise beyond the laws of all models."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from imprior import bounds
from imprior.errors import RecipeError
from imprior.models import autoencoder, observations, priors, vae
from imprior.nn.dense import Dense
from imprior.objectives.reconstruction import Reconstruction
from imprior.parts import Batch
from zoo import EXAMPLES, build, images
from zoo.autoencoders import AUTOENCODERS, GRID, SHAPE, VAES

each = pytest.mark.parametrize("name", [*AUTOENCODERS, *VAES])


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def batch(x):
    return Batch(x, None, None, None, torch.arange(len(x)))


@each
def test_codes_have_the_shape_that_is_stated(name):
    model = build(EXAMPLES[name])
    x = images(model, 4)
    z = model.encode(x)
    assert z.shape[1:] == EXAMPLES[name].config.network.code_shape(x.shape[1:], z.shape[1])
    if model.shape[1] is not None:
        assert z.shape == model.latent(4, rng()).shape == (4, *model.code_shape)
    assert model.decode(z)[..., : x.shape[2], : x.shape[3]].shape == x.shape


@each
def test_calibration_changes_no_image(name):
    torch.manual_seed(0)
    model = EXAMPLES[name].config.build()
    x = images(model, 8)
    before = model.decode(model.encode(x))
    assert model.training
    model.calibrate([x])
    assert torch.equal(model.decode(model.encode(x)), before) and model.training


@pytest.mark.parametrize("size", [(8, 8), (13, 7), (1, 5), (30, 41)])
def test_spatial_denoiser_keeps_any_size(size):
    y = torch.rand(2, 3, *size)
    assert build(EXAMPLES["dae-grid"]).denoise(y).shape == y.shape


# Of the others, drawn codes are clipped to the code's interval, which moves the moments.
@pytest.mark.parametrize("name", [name for name, config in AUTOENCODERS.items() if config.code == "linear"])
def test_drawn_codes_have_the_moments_of_training_codes(name):
    model = AUTOENCODERS[name].build()
    x = [images(model, 200, seed=s) for s in range(3)]
    model.calibrate(x)
    codes = torch.cat([model.encode(b) for b in x]).detach().movedim(1, -1).flatten(0, -2)
    drawn = model.latent(40_000, rng()).movedim(1, -1).flatten(0, -2)
    scale = codes.std(0)
    assert ((drawn.mean(0) - codes.mean(0)).abs() < 0.03 * scale).all()  # six standard errors
    difference = (drawn.T.cov() - codes.T.cov()).abs() / (scale[:, None] * scale)
    assert difference.max() < 0.05


@pytest.mark.parametrize(("code", "low", "high"), [("relu", 0, math.inf), ("sigmoid", 0, 1), ("tanh", -1, 1)])
def test_codes_lie_in_their_interval_drawn_ones_too(code, low, high):
    model = autoencoder.Config(SHAPE, Dense((8,)), 5, code=code).build()
    x = images(model, 50)
    model.calibrate([x])
    for z in (model.encode(x), model.latent(500, rng())):
        assert z.min() >= low and z.max() <= high


def test_linear_autoencoder_reaches_the_principal_subspace():
    # Eight directions that stand out, around a mean image that is as large: the offset has to find that.
    noise = rng(3)
    basis = torch.linalg.qr(torch.randn(90, 90, generator=noise))[0]
    spread = torch.cat([torch.linspace(1.5, 0.5, 8), torch.full((82,), 0.1)])
    x = 0.6 * torch.rand(90, generator=noise) + (torch.randn(2000, 90, generator=noise) * spread) @ basis.T
    torch.manual_seed(0)
    model = autoencoder.Config(SHAPE, Dense(()), 8, output="linear").build()
    optimiser = torch.optim.Adam(model.parameters(), 0.01)
    steps = 1200
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        some = x[torch.randint(2000, (100,), generator=noise)].view(-1, *SHAPE)
        optimiser.zero_grad()
        Reconstruction()(model, batch(some), rng=rng(), progress=0.5).loss.backward()
        optimiser.step()
        decay.step()
    principal = torch.linalg.svd(x - x.mean(0), full_matrices=False)[2][:8].T  # [90,8]
    with torch.no_grad():
        span = (model.decode(torch.eye(8)) - model.decode(torch.zeros(1, 8))).flatten(1)
    cosines = torch.linalg.svdvals(torch.linalg.qr(span.T)[0].T @ principal)
    assert math.degrees(math.acos(min(1.0, cosines.min().item()))) < 2


def test_cross_entropy_without_a_sigmoid_is_refused():
    model = AUTOENCODERS["ae-linear"].build()
    with pytest.raises(RecipeError, match="sigmoid"):
        Reconstruction("cross-entropy")(model, batch(images(model, 2)), rng=rng(), progress=0)


@pytest.mark.parametrize("name", VAES)
def test_more_samples_bound_tighter(name):
    model = build(EXAMPLES[name])
    x = images(model, 40)
    elbo = torch.stack([model.score(x, rng=rng(s)).nats for s in range(20)]).mean()
    assert model.score(x, samples=200, rng=rng()).nats.mean() <= elbo + 1e-6


@pytest.mark.parametrize("name", ["vae", "vae-flow", "vae-mixture", "vae-vamp"])
def test_all_binary_images_together_have_probability_one(name):
    # Every 2x2 image, and the latents on a grid: p(x) = ∫ p(z) p(x | z) dz to the accuracy of the grid.
    # A posterior that is rather wide: importance sampling from a narrow one needs far more draws.
    config = replace(VAES[name], shape=(1, 2, 2), log_variance=(1.0, 2.0))
    model = build(replace(EXAMPLES[name], config=config), dtype=torch.float64)
    x = torch.tensor([[(i >> k) & 1 for k in range(4)] for i in range(16)]).double().view(16, 1, 2, 2)
    axis = torch.linspace(-9, 9, 241, dtype=torch.float64)
    z = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        weight = model.prior().log_prob(z) + 2 * math.log(18 / 240)
        likelihood = model.likelihood(z)
        every = [x[i : i + 1].expand(len(z), 1, 2, 2) for i in range(16)]
        log_p = torch.stack([(weight + likelihood.log_prob(image)).logsumexp(0) for image in every])
        assert log_p.exp().sum().item() == pytest.approx(1, abs=1e-4)
        parts = [bounds.elbo(model, x, rng=rng(s)).bound for s in range(300)]
    exact = -log_p
    assert (-torch.stack(parts).mean(0) > exact - 0.02).all()  # the noise of 300 draws
    error = model.score(x, samples=4000, rng=rng()).nats - exact
    assert error.abs().max() < 0.2 and error.mean().abs() < 0.05  # about five standard errors each


def test_posterior_variance_is_clamped():
    config = vae.Config(SHAPE, Dense(()), 3, log_variance=(-1.0, 0.5))
    model = config.build()
    with torch.no_grad():
        model.encoder[-1].weight.mul_(1000)
    log_variance = model.posterior(images(model, 20)).log_variance
    assert log_variance.min() == -1.0 and log_variance.max() == 0.5


def test_fixed_gaussian_is_squared_error_over_twice_the_variance():
    config = vae.Config(SHAPE, Dense((12,)), 3, observations.Gaussian("fixed", sigma=0.3))
    model, z = config.build(), torch.randn(4, 3, generator=rng())
    x = images(model, 4)
    squared = (model.decode(z) - x).square().sum((1, 2, 3))
    constant = 90 * (math.log(0.3) + 0.5 * math.log(2 * math.pi))
    torch.testing.assert_close(-model.likelihood(z).log_prob(x), squared / (2 * 0.3**2) + constant)


@pytest.mark.parametrize(("scale", "shape"), [("shared", ()), ("image", (4, 1, 1, 1)), ("pixel", (4, *SHAPE))])
def test_learned_scales_have_their_shape_and_stay_above_the_lowest(scale, shape):
    model = vae.Config(SHAPE, Dense((12,)), 3, observations.Gaussian(scale, sigma=0.1, lowest=0.05)).build()
    z = torch.randn(4, 3)
    sigma = (0.5 * model.likelihood(z).log_variance).exp()
    assert sigma.shape == shape
    with torch.no_grad():
        model.decoder[-2].weight.mul_(1000)
        if scale == "shared":
            model.observation.log_sigma.fill_(-50.0)
    lowest = (0.5 * model.likelihood(z).log_variance).exp().min()
    assert 0.05 <= lowest * (1 + 1e-6) < 0.0502


def test_scale_of_an_image_is_one_number_whatever_its_pixels():
    model = build(EXAMPLES["vae-image"])
    likelihood = model.likelihood(torch.randn(4, 3))
    assert likelihood.sample(1, rng())[0].shape == (4, *SHAPE)
    assert len(set(likelihood.log_variance.flatten().tolist())) == 4


def test_logistic_components_start_apart():
    model = vae.Config(SHAPE, Dense((12,)), 3, observations.LogisticMixture(5)).build()
    locations = model.likelihood(torch.zeros(1, 3)).locations[0]  # [1,5,H,W], on the [-1, 1] scale
    assert locations.diff(dim=1).min() > 0.3


def test_flow_and_mixture_priors_need_vectors():
    for prior in (priors.Flow(), priors.Mixture()):
        with pytest.raises(RecipeError, match="spatial=false"):
            vae.Config(SHAPE, GRID, 2, prior=prior).build()


def test_denoising_is_the_way_through_the_code():
    for name in ("dae", "vae"):
        model = build(EXAMPLES[name])
        y = 2 * torch.rand(2, *model.shape) - 0.5
        assert torch.equal(model.denoise(y), model.decode(model.encode(y)))


def test_logits_are_those_of_the_decoded_pixels():
    model = build(EXAMPLES["ae-conv"])
    z = torch.randn(2, 5)
    assert torch.equal(model.logits(z).sigmoid(), model.decode(z))


@pytest.mark.parametrize("name", ["ae-conv", "vae-conv"])
def test_bfloat16_networks_leave_the_likelihood_in_float32(name):
    model, objective = build(EXAMPLES[name]), EXAMPLES[name].objectives[0]
    x = images(model, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = objective(model, batch(x), rng=rng(), progress=0).loss
    reference = objective(model, batch(x), rng=rng(), progress=0).loss
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, reference, rtol=0.02, atol=0)  # bfloat16 has 8 bits
    assert not torch.equal(loss, reference)  # the networks did run in bfloat16


@pytest.mark.parametrize(
    "wrong", [{"latent": 0}, {"log_variance": (1.0, -1.0)}, {"log_variance": (1.0,)}], ids=lambda w: next(iter(w))
)
def test_settings_that_make_no_vae_are_refused(wrong):
    with pytest.raises(RecipeError):
        vae.Config(SHAPE, **wrong)


@pytest.mark.parametrize("make", [lambda: priors.Vamp(0), lambda: priors.Mixture(0), lambda: priors.Flow(couplings=0)])
def test_priors_of_nothing_are_refused(make):
    with pytest.raises(RecipeError):
        make()
