"""Laws of what is minimised: values by hand, sums and not means, and each option against its definition."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional as F

from imprior import bounds
from imprior.errors import RecipeError
from imprior.models import autoencoder, vae
from imprior.models.priors import Flow
from imprior.nn.dense import Dense
from imprior.objectives.elbo import Elbo
from imprior.objectives.reconstruction import Reconstruction, contraction
from imprior.parts import Batch
from imprior.settings import from_json, to_json

SHAPE = (1, 4, 3)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def images(n=6, shape=SHAPE, seed=0):
    return torch.rand(n, *shape, generator=rng(seed), dtype=torch.float64)


def bits(n=6, shape=SHAPE, seed=0):
    return images(n, shape, seed).round()


def batch(x, corrupted=None):
    return Batch(x, None, corrupted, None, torch.arange(len(x)))


def an_autoencoder(**settings):
    torch.manual_seed(0)
    return autoencoder.Config(SHAPE, Dense((7,), activation="tanh"), 3, **settings).build().double()


def a_vae(prior=None, shape=SHAPE):
    torch.manual_seed(0)
    config = vae.Config(shape, Dense((7,), activation="tanh"), 3, **({"prior": prior} if prior else {}))
    return config.build().double()


class Constant:
    """Codes and logits that are set by hand."""

    def __init__(self, logits, z=None):
        self.value = logits
        self.z = z
        self.seen = None

    def encode(self, x):
        self.seen = x
        return self.z if self.z is not None else torch.zeros(len(x), 2, dtype=x.dtype)

    def decode(self, z):
        return self.value.sigmoid()

    def logits(self, z):
        return self.value


# Reconstruction


def test_squared_error_is_summed_over_pixels_and_averaged_over_images():
    x, logits = images(), torch.randn(6, *SHAPE, generator=rng(1), dtype=torch.float64)
    parts = Reconstruction()(Constant(logits), batch(x), rng=rng(), progress=0)
    by_hand = sum(((torch.sigmoid(logits[i]) - x[i]) ** 2).sum() for i in range(6)) / 6
    torch.testing.assert_close(parts.loss, by_hand)
    torch.testing.assert_close(parts.report["error"], by_hand)


def test_cross_entropy_by_hand():
    x, logits = images(), torch.randn(6, *SHAPE, generator=rng(1), dtype=torch.float64)
    p = torch.sigmoid(logits)
    by_hand = -(x * p.log() + (1 - x) * (1 - p).log()).sum() / 6
    torch.testing.assert_close(
        Reconstruction("cross-entropy")(Constant(logits), batch(x), rng=rng(), progress=0).loss, by_hand
    )


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_cross_entropy_of_a_sure_decoder_is_finite_and_exact(kind):
    # -log sigmoid(-100) is 100 to 43 digits; a probability clamped at 1e-7 would stop at 16.
    x = torch.tensor([0.0, 1.0, 1.0, 0.0], dtype=kind).view(1, 1, 2, 2)
    logits = torch.tensor([100.0, -100.0, 100.0, -100.0], dtype=kind).view(1, 1, 2, 2).requires_grad_()
    loss = Reconstruction("cross-entropy")(Constant(logits), batch(x), rng=rng(), progress=0).loss
    loss.backward()
    assert loss.item() == 200
    assert logits.grad.flatten().tolist() == pytest.approx([1, -1, 0, 0], abs=1e-40)


@pytest.mark.parametrize("error", ["squared", "cross-entropy"])
def test_twice_the_area_is_twice_the_error(error):
    x, logits = images(), torch.randn(6, *SHAPE, generator=rng(1), dtype=torch.float64)
    single = Reconstruction(error)(Constant(logits), batch(x), rng=rng(), progress=0).loss
    tiled = Reconstruction(error)(Constant(logits.tile(1, 1, 2, 1)), batch(x.tile(1, 1, 2, 1)), rng=rng(), progress=0)
    torch.testing.assert_close(tiled.loss, 2 * single)


def test_encoder_is_given_the_corrupted_image_and_the_target_is_the_clean_one():
    x, noisy = images(), images(seed=5) + 2
    model = Constant(x.logit())
    assert Reconstruction()(model, batch(x, noisy), rng=rng(), progress=0).loss < 1e-12
    assert model.seen is noisy


def test_images_that_come_back_padded_are_cropped():
    x = images()
    padded = F.pad(x.logit(), (0, 1, 0, 2), value=3.0)
    for error in ("squared", "cross-entropy"):
        whole = Reconstruction(error)(Constant(x.logit()), batch(x), rng=rng(), progress=0).loss
        torch.testing.assert_close(Reconstruction(error)(Constant(padded), batch(x), rng=rng(), progress=0).loss, whole)


def test_sparse_is_the_l1_norm_of_the_code():
    x, z = images(2), torch.tensor([[1.0, -2.0], [0.5, 0.0]], dtype=torch.float64)
    parts = Reconstruction(sparse=0.1)(Constant(x.logit(), z), batch(x), rng=rng(), progress=0)
    assert parts.report["sparse"].item() == pytest.approx((3 + 0.5) / 2)
    assert parts.loss.item() == pytest.approx(0.1 * 1.75)


def test_contraction_estimates_the_jacobians_squared_norm():
    model, x = an_autoencoder(), images(4)
    jacobian = torch.autograd.functional.jacobian(model.encode, x)  # [N,3,N,C,H,W]
    exact = jacobian.square().sum() / 4
    estimates = torch.stack([contraction(model, x, rng(seed))[1] for seed in range(1000)])
    error = estimates.std() / math.sqrt(1000)
    assert abs(estimates.mean() - exact) < 4 * error and error < 0.03 * exact
    torch.testing.assert_close(contraction(model, x, rng())[0], model.encode(x))


def test_contraction_is_exact_for_one_number_up_to_the_draw():
    # z = w·x: ‖∂z/∂x‖² = ‖w‖², and the estimate is v²‖w‖².
    w = torch.randn(12, dtype=torch.float64, generator=rng(1))
    model = SimpleNamespace(encode=lambda x: (x.flatten(1) @ w)[:, None])
    v = torch.randn(5, 1, generator=rng(7), dtype=torch.float64)
    torch.testing.assert_close(contraction(model, images(5), rng(7))[1], (v.square().mean() * w.square().sum()))


def test_contractive_penalty_reaches_the_encoder_alone_and_works_without_grad():
    model, x = an_autoencoder(), images()
    _, penalty = contraction(model, x, rng())
    penalty.backward()
    assert model.encoder[1].weight.grad.abs().max() > 0
    assert all(p.grad is None for p in model.decoder.parameters())
    with torch.no_grad():  # validation
        parts = Reconstruction(contractive=0.5)(model, batch(x), rng=rng(), progress=1)
    torch.testing.assert_close(parts.loss, parts.report["error"] + 0.5 * penalty.detach())


def test_contraction_stays_in_float32_under_autocast():
    model, x = an_autoencoder().float(), images().float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        z, penalty = contraction(model, x, rng())
    assert z.dtype == penalty.dtype == torch.float32
    torch.testing.assert_close(penalty, contraction(model, x, rng())[1])


# ELBO


@pytest.mark.parametrize("prior", [None, Flow(couplings=2, hidden=4)], ids=["standard", "flow"])
def test_elbo_by_hand(prior):
    model, x = a_vae(prior), bits()
    parts = Elbo()(model, batch(x), rng=rng(), progress=0)
    mean, log_variance = model.encoder(x).chunk(2, 1)
    z = mean + (0.5 * log_variance).exp() * torch.randn(6, 3, generator=rng(), dtype=torch.float64)
    logits = model.decoder(z)
    log_likelihood = -F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum((1, 2, 3)).mean()
    if prior is None:
        kl = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum(1).mean()
    else:  # the flow starts as the identity: a standard normal, of which the KL is estimated
        q = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
        kl = (q.log_prob(z) - torch.distributions.Normal(0, 1).log_prob(z)).sum(1).mean()
    torch.testing.assert_close(parts.loss, kl - log_likelihood)
    torch.testing.assert_close(parts.report["reconstruction"], log_likelihood)
    torch.testing.assert_close(parts.report["kl"], kl)
    torch.testing.assert_close(parts.report["elbo"], log_likelihood - kl)


def test_kl_agrees_with_torch_and_is_positive():
    model, x = a_vae(), bits()
    q = model.posterior(x)
    oracle = torch.distributions.kl_divergence(
        torch.distributions.Normal(q.mean, (0.5 * q.log_variance).exp()), torch.distributions.Normal(0.0, 1.0)
    )
    kl = Elbo()(model, batch(x), rng=rng(), progress=0).report["kl"]
    assert kl > 0
    torch.testing.assert_close(kl, oracle.sum(1).mean())


@pytest.mark.parametrize("beta", [0.0, 0.25, 4.0])
def test_beta_weighs_the_kl_alone_and_the_report_stays(beta):
    model, x = a_vae(), bits()
    plain = Elbo()(model, batch(x), rng=rng(), progress=0).report
    parts = Elbo(beta=beta)(model, batch(x), rng=rng(), progress=0)
    torch.testing.assert_close(parts.loss, beta * plain["kl"] - plain["reconstruction"])
    assert parts.report["elbo"] == plain["elbo"]


def test_warm_up_rises_linearly_and_stays():
    objective = Elbo(beta=2.0, warmup=0.2, warmup_from=0.1)
    assert [objective.weight(p) for p in (0, 0.1, 0.2, 1)] == pytest.approx([0.2, 1.1, 2.0, 2.0])
    assert Elbo().weight(0.0) == 1 and Elbo(beta=3.0).weight(0.0) == 3
    model, x = a_vae(), bits()
    parts = objective(model, batch(x), rng=rng(), progress=0.1)
    torch.testing.assert_close(parts.loss, 1.1 * parts.report["kl"] - parts.report["reconstruction"])
    assert parts.report["weight"].item() == pytest.approx(1.1)


def test_units_within_their_free_bits_are_not_pushed():
    model, x = a_vae(), bits()
    units = bounds.elbo(model, x, rng=rng()).kl_units.mean(0)
    floor = units.sort().values[1].item() + 1e-6  # two of three units lie below
    parts = Elbo(free_bits=floor)(model, batch(x), rng=rng(), progress=0)
    torch.testing.assert_close(parts.loss, 2 * floor + units.max() - parts.report["reconstruction"])
    torch.testing.assert_close(parts.report["kl"], units.sum())
    (gradient,) = torch.autograd.grad(parts.loss + parts.report["reconstruction"], model.encoder[-1].bias)
    alone = torch.autograd.grad(
        bounds.elbo(model, x, rng=rng()).kl_units.mean(0).max()
        - bounds.elbo(model, x, rng=rng()).reconstruction.mean(),
        model.encoder[-1].bias,
    )[0]
    torch.testing.assert_close(gradient, alone)


def test_free_bits_of_tied_units_hold_for_their_sum():
    model, x = a_vae(Flow(couplings=2, hidden=4)), bits()
    parts = Elbo(free_bits=100.0)(model, batch(x), rng=rng(), progress=0)
    torch.testing.assert_close(parts.loss, 300.0 - parts.report["reconstruction"])


def test_twice_the_area_doubles_the_reconstruction_and_not_the_kl():
    small, large, x = a_vae(), a_vae(shape=(1, 8, 3)), bits()
    # The same code, from the first half of the rows; each row of the decoded image twice.
    weights = small.state_dict()
    weights["encoder.1.weight"] = torch.cat([weights["encoder.1.weight"], torch.zeros(7, 12)], 1)
    for name in ("decoder.2.weight", "decoder.2.bias"):
        weights[name] = torch.cat([weights[name]] * 2)
    large.load_state_dict(weights)
    one = Elbo()(small, batch(x), rng=rng(), progress=0).report
    two = Elbo()(large, batch(torch.cat([x, x], 2)), rng=rng(), progress=0).report
    torch.testing.assert_close(two["reconstruction"], 2 * one["reconstruction"])
    torch.testing.assert_close(two["kl"], one["kl"])


def test_denoising_vae_encodes_the_corrupted_and_scores_the_clean():
    model, x, noisy = a_vae(), bits(), images(seed=9)
    parts = Elbo()(model, batch(x, noisy), rng=rng(), progress=0)
    expected = bounds.elbo(model, x, rng=rng(), encoder_input=noisy).bound.mean()
    torch.testing.assert_close(parts.report["elbo"], expected)
    assert parts.report["elbo"] != Elbo()(model, batch(x), rng=rng(), progress=0).report["elbo"]


def test_importance_phase_begins_at_its_progress_and_is_the_bound():
    model, x = a_vae(), bits()
    objective = Elbo(beta=3.0, importance=7, importance_from=0.8)
    assert "elbo" in objective(model, batch(x), rng=rng(), progress=0.79).report
    parts = objective(model, batch(x), rng=rng(), progress=0.8)
    q = model.posterior(x)
    z = q.sample(7, rng())
    log_w = torch.stack([model.likelihood(k).log_prob(x) + model.prior().log_prob(k) - q.log_prob(k) for k in z])
    bound = (log_w.logsumexp(0) - math.log(7)).mean()
    torch.testing.assert_close(parts.loss, -bound)
    torch.testing.assert_close(parts.report["bound"], bound)


def test_one_sample_has_no_importance_phase():
    model, x = a_vae(), bits()
    assert "elbo" in Elbo(importance_from=0.0)(model, batch(x), rng=rng(), progress=1.0).report


@pytest.mark.parametrize(
    "wrong",
    [{"beta": -1.0}, {"free_bits": -0.1}, {"importance": 0}, {"warmup": 2.0}, {"importance_from": -0.5}],
    ids=lambda w: next(iter(w)),
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(RecipeError):
        Elbo(**wrong)


@pytest.mark.parametrize("wrong", [{"sparse": -1.0}, {"contractive": -1.0}], ids=lambda w: next(iter(w)))
def test_negative_penalties_are_refused(wrong):
    with pytest.raises(RecipeError):
        Reconstruction(**wrong)


@pytest.mark.parametrize("objective", [Elbo(beta=2.0, importance=5), Reconstruction("cross-entropy", 0.1, 0.2)])
def test_settings_survive_json_and_reports_carry_no_graph(objective):
    assert from_json(to_json(objective)) == objective
    model = a_vae() if isinstance(objective, Elbo) else an_autoencoder()
    for progress in (0.0, 1.0):
        report = objective(model, batch(bits()), rng=rng(), progress=progress).report
        assert report and not any(value.requires_grad for value in report.values())
