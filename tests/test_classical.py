"""PCA against scikit-learn and the closed forms of the linear-Gaussian model; classical denoisers and their laws."""

import math
import sys

import numpy as np
import pytest
import torch

from imprior import bounds
from imprior.coding.entropy import Decoder, Encoder
from imprior.errors import DataError, MissingExtraError, RecipeError
from imprior.metrics.psnr import psnr_db
from imprior.models import classical, pca
from imprior.promises import Calibrates, Codes, Denoises, LatentVariable, Scores, kept
from imprior.settings import from_json, to_json

SHAPE = (2, 4, 3)  # 24 numbers


def images(n=400, *, seed=0):
    """Images with a falling spectrum, in float64."""
    rng = torch.Generator().manual_seed(seed)
    mixing = torch.randn(24, 24, generator=rng, dtype=torch.float64) * 0.8 ** torch.arange(24)
    codes = torch.randn(n, 24, generator=rng, dtype=torch.float64)
    return (0.5 + 0.1 * codes @ mixing.T).view(n, *SHAPE)


def fitted(x, latent=5, *, probabilistic=False):
    model = pca.Config(shape=SHAPE, latent=latent, probabilistic=probabilistic).build().double()
    return model, model.update(x.split(64))


def covariance(model):
    """Of the probabilistic model, as it is defined: W Wᵀ + noise."""
    weight = model.directions.T * (model.variances - model.noise).sqrt()
    return weight, weight @ weight.T + model.noise * torch.eye(24, dtype=torch.float64)


# --- PCA


def test_pca_is_scikit_learns():
    oracle = pytest.importorskip("sklearn.decomposition").PCA(5, svd_solver="full")
    x = images()
    codes = torch.from_numpy(oracle.fit_transform(x.flatten(1).numpy()))
    model, _ = fitted(x)
    signs = (model.directions * torch.from_numpy(oracle.components_)).sum(1).sign()
    assert torch.allclose(model.directions * signs[:, None], torch.from_numpy(oracle.components_), atol=1e-9)
    assert torch.allclose(model.encode(x) * signs, codes, atol=1e-9)
    # scikit-learn divides by N - 1, maximum likelihood by N.
    assert torch.allclose(model.variances * 400 / 399, torch.from_numpy(oracle.explained_variance_), rtol=1e-9)
    back = torch.from_numpy(oracle.inverse_transform(codes.numpy())).view_as(x)
    assert torch.allclose(model.decode(model.encode(x)), back, atol=1e-9)


def test_what_update_returns_is_the_error_and_no_other_projection_has_less():
    x = images()
    model, reached = fitted(x)
    centred = (x - x.mean(0)).flatten(1)
    error = (x - model.decode(model.encode(x))).square().sum((1, 2, 3)).mean()
    assert reached == pytest.approx(error.item(), rel=1e-9)
    rng = torch.Generator().manual_seed(1)
    for _ in range(20):
        other = model.directions.T + 0.1 * torch.randn(24, 5, generator=rng, dtype=torch.float64)
        basis = torch.linalg.qr(other)[0]
        assert (centred - centred @ basis @ basis.T).square().sum(1).mean() > reached


@pytest.mark.parametrize("probabilistic", [False, True])
def test_batches_and_passes_do_not_matter(probabilistic):
    x = images()
    model, reached = fitted(x, probabilistic=probabilistic)
    whole = pca.Config(shape=SHAPE, latent=5, probabilistic=probabilistic).build().double()
    assert whole.update([x]) == pytest.approx(reached, rel=1e-12)
    assert whole.update(x.split(7)) == pytest.approx(reached, rel=1e-12)  # a second pass, about another mean
    for name, value in model.state_dict().items():
        assert torch.allclose(whole.state_dict()[name], value, atol=1e-9), name


def test_float32_images_lose_nothing_that_shows():
    x = images()
    model = pca.Config(shape=SHAPE, latent=5, probabilistic=True).build()
    reached = model.update(x.float().split(64))
    assert reached == pytest.approx(fitted(x, probabilistic=True)[1], abs=1e-4)
    assert model.encode(x.float()).dtype == torch.float32


def test_all_components_give_the_image_back():
    x = images()
    model, reached = fitted(x, 24)
    assert torch.allclose(model.decode(model.encode(x)), x, atol=1e-12) and reached == 0


def test_constant_pixels_and_few_images_are_no_trouble():
    x = images(3)
    x[:, 0] = 0.25
    model, reached = fitted(x, 5)  # three images span two directions
    assert reached < 1e-12
    assert torch.allclose(model.decode(model.encode(x)), x, atol=1e-9)
    assert (model.variances >= 0).all() and model.variances[2:].max() < 1e-12


@pytest.mark.parametrize("probabilistic", [False, True])
def test_drawn_images_have_the_moments_of_the_model(probabilistic):
    model, _ = fitted(images(), probabilistic=probabilistic)
    drawn = model.sample(100_000, torch.Generator().manual_seed(0)).flatten(1)
    expected = covariance(model)[1] if probabilistic else (model.directions.T * model.variances) @ model.directions
    # Five standard errors of a covariance of 100,000 draws, of which there are 576.
    error = (drawn.T.cov() - expected).abs() / (expected.diag()[:, None] * expected.diag()).sqrt()
    assert error.max() < 5 * math.sqrt(2 / 100_000)
    assert torch.allclose(drawn.mean(0), model.mean, atol=0.005)


# --- the probabilistic one


def test_score_is_scikit_learns():
    oracle = pytest.importorskip("sklearn.decomposition").PCA(5, svd_solver="full")
    x, new = images(), images(50, seed=7)
    oracle.fit(x.flatten(1).numpy())
    model, _ = fitted(x, probabilistic=True)
    model.variances.mul_(400 / 399)  # scikit-learn divides by N - 1
    model.noise.mul_(400 / 399)
    expected = -oracle.score_samples(new.flatten(1).numpy())
    assert model.score(new).nats.tolist() == pytest.approx(expected.tolist(), rel=1e-9)


def test_score_is_the_density_of_the_gaussian():
    model, _ = fitted(images(), probabilistic=True)
    new = images(50, seed=7)
    exact = torch.distributions.MultivariateNormal(model.mean, covariance(model)[1])
    score = model.score(new)
    assert torch.allclose(score.nats, -exact.log_prob(new.flatten(1)), rtol=1e-10)
    assert (score.kind, score.space, score.nats.dtype) == ("exact", "continuous", torch.float64)


def test_what_update_returns_is_the_mean_score_and_no_other_model_scores_better():
    x = images()
    model, reached = fitted(x, probabilistic=True)
    assert reached == pytest.approx(model.score(x).nats.mean().item(), rel=1e-10)
    rng = torch.Generator().manual_seed(0)
    for name in ("mean", "variances", "noise", "directions"):
        right = getattr(model, name).clone()
        for _ in range(5):
            step = 1 + 0.05 * torch.randn(right.shape, generator=rng, dtype=torch.float64)
            wrong = right * step
            getattr(model, name).copy_(torch.linalg.qr(wrong.T)[0].T if name == "directions" else wrong)
            assert model.score(x).nats.mean() > reached, name
        getattr(model, name).copy_(right)


def test_posterior_is_bayes_rule():
    model, _ = fitted(images(), probabilistic=True)
    x = images(6, seed=3)
    weight, _ = covariance(model)
    inverse = torch.linalg.inv(weight.T @ weight + model.noise * torch.eye(5, dtype=torch.float64))  # M⁻¹ of (6)
    posterior = model.posterior(x)
    assert torch.allclose(posterior.mean, (x.flatten(1) - model.mean) @ weight @ inverse, rtol=1e-9)
    assert torch.allclose(posterior.log_variance.exp()[0].diag(), model.noise * inverse, rtol=1e-9, atol=1e-12)
    assert torch.equal(model.encode(x), posterior.mean)


def test_with_the_exact_posterior_one_sample_is_the_evidence():
    model, _ = fitted(images(), probabilistic=True)
    x = images(6, seed=3)
    bound = bounds.importance_bound(model, x, samples=1, rng=torch.Generator().manual_seed(0))
    assert torch.allclose(bound, model.score(x).nats, rtol=1e-10)


def test_the_code_s_reconstruction_is_nearer_to_the_mean_than_the_projection():
    x = images()
    plain, likely = fitted(x)[0], fitted(x, probabilistic=True)[0]
    shrunk, whole = ((m.decode(m.encode(x)) - m.mean.view(SHAPE)).flatten(1).norm(dim=1) for m in (likely, plain))
    assert (shrunk < whole).all()
    assert torch.allclose(shrunk, whole, rtol=0.2)


# --- both


def test_promises():
    plain, likely = (pca.Config(shape=SHAPE, latent=5, probabilistic=p).build() for p in (False, True))
    assert kept(plain) == ["Decodes", "Encodes", "Samples", "Codes"]
    assert kept(likely) == ["Decodes", "Encodes", "LatentVariable", "Scores", "Samples", "Codes"]
    assert isinstance(plain, Calibrates) and isinstance(likely, LatentVariable) and isinstance(likely, Scores)


@pytest.mark.parametrize("probabilistic", [False, True])
def test_a_fitted_model_survives_saving_and_codes_its_latents(probabilistic):
    x = images().float()
    model = pca.Config(shape=SHAPE, latent=5, probabilistic=probabilistic).build()
    model.update([x])
    model.calibrate(x.split(100))
    copy = pca.Config(shape=SHAPE, latent=5, probabilistic=probabilistic).build()
    copy.load_state_dict(model.state_dict())
    assert isinstance(copy, Codes)
    finest = model.rates - 1
    sink = Encoder()
    latents = model.analyse(x[:50], finest)
    model.write(latents, sink, finest)
    back = copy.read(Decoder(sink.finish()), tuple(x[:50].shape), finest)
    assert torch.equal(back.blocks[0], latents.blocks[0])
    decoded = copy.synthesise(back, finest)
    reference = model.decode(model.encode(x[:50]))
    assert psnr_db(decoded, x[:50]).mean() > psnr_db(reference, x[:50]).mean() - 1


def test_config_survives_json():
    config = pca.Config(shape=SHAPE, latent=7, probabilistic=True)
    assert from_json(to_json(config)) == config


def test_impossible_settings_and_images_are_refused():
    with pytest.raises(RecipeError, match="at most 23"):
        pca.Config(shape=SHAPE, latent=24, probabilistic=True).build()
    with pytest.raises(RecipeError, match="at least 1"):
        pca.Config(latent=0)
    model = pca.Config(shape=SHAPE, latent=5, probabilistic=True).build()
    with pytest.raises(DataError, match=r"\(2, 3, 4\), but this model is for \(2, 4, 3\)"):
        model.encode(torch.zeros(1, 2, 3, 4))
    with pytest.raises(DataError, match="no images"):
        model.update([])
    with pytest.raises(DataError, match="no more than 5 directions"):
        model.update([images(4).float()])
    large = pca.Config(shape=(3, 128, 128), latent=1).build()
    with pytest.raises(DataError, match=r"data\.size=64"):
        large.update([torch.zeros(1, 3, 128, 128)])


# --- classical denoisers

DENOISERS = [make() for make in classical.BY_NAME.values()]
each = pytest.mark.parametrize("denoiser", DENOISERS, ids=classical.BY_NAME)


def scene(channels=1, height=40, width=50):
    """A disc on a slope: what each of them is good at."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    grey = torch.where(x**2 + y**2 < 0.4, 0.8, 0.2 + 0.1 * x)
    return torch.stack([grey * (1 - 0.2 * c) for c in range(channels)])[None]


def noisy(x, sigma, seed=0):
    return x + sigma * torch.randn(x.shape, generator=torch.Generator().manual_seed(seed))


@each
@pytest.mark.parametrize("channels", [1, 3])
def test_noise_goes_and_the_picture_stays(denoiser, channels):
    assert isinstance(denoiser, Denoises)
    x = scene(channels)
    y = noisy(x, 0.1)
    cleaned = denoiser.denoise(y, 0.1)
    assert cleaned.shape == y.shape and cleaned.dtype == y.dtype
    assert psnr_db(cleaned, x) > psnr_db(y, x) + 4


@each
def test_without_sigma_it_is_estimated(denoiser):
    x = scene()
    y = noisy(x, 0.1)
    assert psnr_db(denoiser.denoise(y), x) == pytest.approx(psnr_db(denoiser.denoise(y, 0.1), x).item(), abs=0.5)


@each
def test_each_image_is_cleaned_alone(denoiser):
    y = torch.cat([noisy(scene(), 0.05, 1), noisy(scene(), 0.2, 2)])
    assert torch.equal(denoiser.denoise(y), torch.cat([denoiser.denoise(y[:1]), denoiser.denoise(y[1:])]))


@each
def test_what_has_no_noise_is_left_alone(denoiser):
    flat = torch.full((1, 1, 8, 8), 0.3)
    assert torch.equal(denoiser.denoise(flat), flat)
    assert torch.equal(denoiser.denoise(scene(), 0.0), scene())


@each
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 3), (7, 5), (28, 28)])
def test_any_size_will_do(denoiser, size):
    y = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    cleaned = denoiser.denoise(y, 0.1)
    assert cleaned.shape == y.shape and cleaned.isfinite().all()


@each
def test_more_strength_smooths_more(denoiser):
    y = noisy(scene(), 0.1)
    rough = [
        (d[..., 1:] - d[..., :-1]).abs().mean()
        for d in (type(denoiser)(strength=s).denoise(y, 0.1) for s in (0.2, 0.8, 2.0))
    ]
    assert rough[0] > rough[1] > rough[2]


def test_the_noise_level_of_white_noise():
    noise = 0.13 * torch.randn(1, 400, 401, generator=torch.Generator().manual_seed(0))
    assert classical.noise_level(noise) == pytest.approx(0.13, rel=0.02)  # 40,000 details: standard error 0.6 %
    assert classical.noise_level(noisy(scene(1, 101, 100), 0.05)[0]) == pytest.approx(0.05, rel=0.1)
    with pytest.raises(DataError, match="give sigma"):
        classical.noise_level(torch.zeros(1, 1, 9))


@pytest.mark.parametrize("name", classical.BY_NAME)
def test_without_scikit_image_the_extra_is_named(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage.restoration", None)
    with pytest.raises(MissingExtraError, match=r"imprior\[classical\]"):
        classical.BY_NAME[name]().denoise(torch.zeros(1, 1, 4, 4), 0.1)


def test_non_local_means_find_the_likeness():
    """A texture that repeats is averaged with its copies, not with its neighbours."""
    stripes = torch.from_numpy(np.indices((32, 32))[1] // 2 % 2).float()[None, None]
    y = noisy(stripes, 0.15)
    assert psnr_db(classical.NonLocalMeans().denoise(y, 0.15), stripes) > 25
