"""Laws that every trained model keeps, over one list of small configs, and what each family promises beyond."""

from __future__ import annotations

import math

import pytest
import torch

from imprior import bounds
from imprior.errors import DataError, RecipeError
from imprior.models import autoencoder, observations, priors, vae
from imprior.nn.convolutional import Convolutional
from imprior.nn.dense import Dense
from imprior.objectives.elbo import Elbo
from imprior.objectives.reconstruction import Reconstruction
from imprior.parts import Batch
from imprior.promises import kept
from imprior.runs import read_tensors, write_tensors
from imprior.settings import from_json, to_json

SHAPE = (1, 10, 9)
COLOUR = (3, 8, 8)
CONV = Convolutional((4, 6), blocks=1, width=8)
GRID = Convolutional((4, 6), blocks=1, spatial=True)
ENCODES = ["Decodes", "Encodes", "Samples", "Codes"]
DENOISES = ["Decodes", "Encodes", "Samples", "Denoises", "Codes"]
SCORES = ["Decodes", "Encodes", "LatentVariable", "Scores", "Samples", "Denoises", "Codes"]


def gaussian(scale):
    return vae.Config(SHAPE, Dense((12,)), 3, observations.Gaussian(scale))


AUTOENCODERS = {
    "ae-linear": autoencoder.Config(SHAPE, Dense(()), 5, output="linear"),
    "ae-relu": autoencoder.Config(SHAPE, Dense(()), 5, code="relu"),
    "ae-deep": autoencoder.Config(SHAPE, Dense((16, 12), block="residual"), 5, code="tanh"),
    "ae-conv": autoencoder.Config(SHAPE, CONV, 5),
    "ae-colour": autoencoder.Config(COLOUR, CONV, 5, code="sigmoid"),
    "ae-grid": autoencoder.Config(SHAPE, GRID, 2),
    "dae": autoencoder.Config(SHAPE, CONV, 5, denoises=True),
    "dae-grid": autoencoder.Config(COLOUR, GRID, 5, denoises=True),
}
VAES = {
    "vae": vae.Config(SHAPE, Dense((12,), block="gated"), 3),
    "vae-flow": vae.Config(SHAPE, Dense((12,)), 3, prior=priors.Flow(couplings=3, hidden=6, layers=1)),
    "vae-mixture": vae.Config(SHAPE, Dense((12,)), 3, prior=priors.Mixture(4)),
    "vae-vamp": vae.Config(SHAPE, Dense((12,)), 3, prior=priors.Vamp(4)),
    "vae-continuous-bernoulli": vae.Config(SHAPE, Dense((12,)), 3, observations.ContinuousBernoulli()),
    "vae-fixed": gaussian("fixed"),
    "vae-shared": gaussian("shared"),
    "vae-image": gaussian("image"),
    "vae-pixel": gaussian("pixel"),
    "vae-linear-output": vae.Config(SHAPE, Dense((12,)), 3, observations.Gaussian("pixel", output="linear")),
    "vae-logistic": vae.Config(SHAPE, Dense((12,)), 3, observations.LogisticMixture(2)),
    "vae-conv": vae.Config(SHAPE, CONV, 3, prior=priors.Flow(couplings=2, hidden=6)),
    "vae-grid": vae.Config(SHAPE, GRID, 2),
    "vae-grid-vamp": vae.Config(SHAPE, GRID, 2, prior=priors.Vamp(3)),
    "vae-colour-logistic": vae.Config(COLOUR, CONV, 3, observations.LogisticMixture(2)),
    "vae-colour-pixel": vae.Config(COLOUR, GRID, 3, observations.Gaussian("pixel")),
}
MODELS = AUTOENCODERS | VAES
each_model = pytest.mark.parametrize("config", MODELS.values(), ids=MODELS.keys())
each_vae = pytest.mark.parametrize("config", VAES.values(), ids=VAES.keys())


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def build(config):
    """The model away from its starts at zero, so that everything has an effect, and calibrated."""
    torch.manual_seed(0)
    model = config.build()
    noise = rng(1)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=noise))
    model.calibrate([images(config, 20, seed=s) for s in range(2)])
    return model


def images(config, n, seed=0):
    """Images in the space that the model's likelihood is over."""
    x = torch.rand(n, *config.shape, generator=rng(seed))
    levels = config.likelihood.levels if isinstance(config, vae.Config) else None
    return (x * (levels - 1)).round() / (levels - 1) if levels else x


def batch(x, corrupted=None):
    return Batch(x, None, corrupted, None, torch.arange(len(x)))


def objectives(config):
    if isinstance(config, vae.Config):
        return [Elbo(), Elbo(importance=3, importance_from=0.0)]
    return [Reconstruction()] + ([Reconstruction("cross-entropy")] if config.output == "sigmoid" else [])


@each_model
def test_promises(config):
    expected = SCORES if isinstance(config, vae.Config) else DENOISES if config.denoises else ENCODES
    model = build(config)
    assert kept(model) == expected
    assert model.classes is None
    any_size = isinstance(config, autoencoder.Config) and config.network.spatial
    assert model.shape == ((config.shape[0], None, None) if any_size else config.shape)


@each_model
def test_every_parameter_gets_a_gradient(config):
    for objective in objectives(config):
        model = build(config)
        # Importance weights of a single image would leave units of weight zero without any.
        objective(model, batch(images(config, 16)), rng=rng(), progress=0.95).loss.backward()
        for name, p in model.named_parameters():
            assert p.grad is not None and p.grad.abs().max() > 0, (objective, name)
            assert p.grad.isfinite().all(), (objective, name)


@each_model
def test_shapes(config):
    model, x = build(config), images(config, 4)
    z = model.encode(x)
    assert z.shape[0] == 4 and z.shape == model.latent(4, rng()).shape == (4, *model.code_shape)
    assert model.decode(z).shape[:2] == x.shape[:2]
    assert model.decode(z)[..., : x.shape[2], : x.shape[3]].shape == x.shape
    drawn = model.sample(3, rng())
    assert drawn.shape[:2] == (3, x.shape[1]) and drawn.isfinite().all()


@each_model
def test_saved_and_loaded_is_the_same(config, tmp_path):
    model, x = build(config), images(config, 4)
    write_tensors(tmp_path / "weights.safetensors", model.state_dict())
    other = from_json(to_json(config)).build()
    other.load_state_dict(read_tensors(tmp_path / "weights.safetensors")[0])
    assert torch.equal(model.encode(x), other.encode(x))
    assert torch.equal(model.sample(3, rng()), other.sample(3, rng()))


@each_model
def test_batch_is_a_loop_of_singles(config):
    model, x = build(config).double(), images(config, 3).double()
    z = model.encode(x)
    singles = torch.cat([model.encode(x[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(z, singles, atol=1e-12, rtol=0)  # float64 products in another order
    one_by_one = torch.cat([model.decode(z[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(model.decode(z), one_by_one, atol=1e-12, rtol=0)


@each_model
def test_nothing_depends_on_mode_call_or_global_randomness(config):
    model, x = build(config).train(), images(config, 3)
    objective = objectives(config)[-1]
    torch.manual_seed(1)
    trained = [model.decode(model.encode(x)), model.sample(2, rng()), objective(model, batch(x), rng=rng(), progress=1)]
    model.eval()
    torch.manual_seed(2)
    evaluated = [
        model.decode(model.encode(x)),
        model.sample(2, rng()),
        objective(model, batch(x), rng=rng(), progress=1),
    ]
    assert torch.equal(trained[0], evaluated[0]) and torch.equal(trained[1], evaluated[1])
    assert torch.equal(trained[2].loss, evaluated[2].loss)


@each_model
def test_images_of_another_size_are_refused_unless_any_will_do(config):
    model, x = build(config), torch.rand(2, config.shape[0], 13, 7)
    if model.shape[1] is not None:
        with pytest.raises(DataError, match="this model is for"):
            model.encode(x)
    else:
        assert model.decode(model.encode(x))[..., :13, :7].shape == x.shape
    with pytest.raises(DataError, match="this model is for"):
        model.encode(torch.rand(2, 4 - config.shape[0], *config.shape[1:]))


@each_model
def test_calibration_changes_no_image(config):
    torch.manual_seed(0)
    model, x = config.build(), images(config, 8)
    before = model.decode(model.encode(x))
    assert model.training
    model.calibrate([x])
    assert torch.equal(model.decode(model.encode(x)), before) and model.training


@pytest.mark.parametrize("size", [(8, 8), (13, 7), (1, 5), (30, 41)])
def test_spatial_denoiser_keeps_any_size(size):
    y = torch.rand(2, 3, *size)
    assert build(AUTOENCODERS["dae-grid"]).denoise(y).shape == y.shape


# Of the others, drawn codes are clipped to the code's interval, which moves the moments.
@pytest.mark.parametrize("name", [name for name, config in AUTOENCODERS.items() if config.code == "linear"])
def test_drawn_codes_have_the_moments_of_training_codes(name):
    config = AUTOENCODERS[name]
    model = config.build()
    x = [images(config, 200, seed=s) for s in range(3)]
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
    x = images(AUTOENCODERS["ae-linear"], 50)
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
    config = AUTOENCODERS["ae-linear"]
    with pytest.raises(RecipeError, match="sigmoid"):
        Reconstruction("cross-entropy")(config.build(), batch(images(config, 2)), rng=rng(), progress=0)


@each_vae
def test_score_is_per_image_and_over_the_stated_space(config):
    model, x = build(config), images(config, 5)
    for samples in (1, 30):
        score = model.score(x, samples=samples, rng=rng())
        assert score.nats.shape == (5,) and score.nats.dtype == torch.float64 and score.kind == "bound"
        assert score.space == {2: "binary", 256: "8-bit", None: "continuous"}[model.levels]
        assert not score.nats.requires_grad
    one, again = model.score(x, samples=30), model.score(x, samples=30)
    assert torch.equal(one.nats, again.nats)  # without a generator: a fixed seed


@each_vae
def test_more_samples_bound_tighter(config):
    model, x = build(config), images(config, 40)
    elbo = torch.stack([model.score(x, rng=rng(s)).nats for s in range(20)]).mean()
    assert model.score(x, samples=200, rng=rng()).nats.mean() <= elbo + 1e-6


@pytest.mark.parametrize("name", ["vae", "vae-logistic"])
@pytest.mark.parametrize("samples", [1, 5])
def test_values_between_the_levels_have_no_score(name, samples):
    model = build(VAES[name])
    with pytest.raises(DataError):
        model.score(torch.full((2, *SHAPE), 0.3001), samples=samples)


@pytest.mark.parametrize("name", ["vae", "vae-flow", "vae-mixture", "vae-vamp"])
def test_all_binary_images_together_have_probability_one(name):
    # Every 2x2 image, and the latents on a grid: p(x) = ∫ p(z) p(x | z) dz to the accuracy of the grid.
    config = VAES[name]
    # A posterior that is rather wide: importance sampling from a narrow one needs far more draws.
    config = vae.Config((1, 2, 2), config.network, 2, config.likelihood, config.prior, log_variance=(1.0, 2.0))
    model = build(config).double()
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
    log_variance = model.posterior(images(config, 20)).log_variance
    assert log_variance.min() == -1.0 and log_variance.max() == 0.5


def test_fixed_gaussian_is_squared_error_over_twice_the_variance():
    config = vae.Config(SHAPE, Dense((12,)), 3, observations.Gaussian("fixed", sigma=0.3))
    model, x, z = build(config), images(config, 4), torch.randn(4, 3, generator=rng())
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
    model = build(VAES["vae-image"])
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
        config = MODELS[name]
        model, y = build(config), 2 * torch.rand(2, *config.shape) - 0.5
        assert torch.equal(model.denoise(y), model.decode(model.encode(y)))


def test_logits_are_those_of_the_decoded_pixels():
    model = build(AUTOENCODERS["ae-conv"])
    z = torch.randn(2, 5)
    assert torch.equal(model.logits(z).sigmoid(), model.decode(z))


@pytest.mark.parametrize("name", ["ae-conv", "vae-conv"])
def test_bfloat16_networks_leave_the_likelihood_in_float32(name):
    config = MODELS[name]
    model, x = build(config), images(config, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = objectives(config)[0](model, batch(x), rng=rng(), progress=0).loss
    reference = objectives(config)[0](model, batch(x), rng=rng(), progress=0).loss
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
