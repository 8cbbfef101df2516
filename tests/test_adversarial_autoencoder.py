"""Laws of codes that are made normal: both distances by hand, who is trained by what, and that codes become normal."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional as F

from imprior.distributions.draws import normal
from imprior.errors import RecipeError
from imprior.models import adversarial_autoencoder
from imprior.nn.convolutional import Convolutional
from imprior.nn.dense import Dense
from imprior.objectives.latent_matching import Critic, Kernel, mmd, moments
from imprior.parts import Batch
from imprior.training import state
from imprior.training.settings import Gradient

SHAPE = (1, 4, 3)
DOUBLE = torch.float64


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def images(n=6):
    return torch.rand(n, *SHAPE, generator=rng(), dtype=DOUBLE)


def batch(x, corrupted=None):
    return Batch(x, None, corrupted, None, torch.arange(len(x)))


def an_autoencoder(**settings):
    torch.manual_seed(0)
    settings = {"network": Dense((16,), activation="tanh"), "latent": 2, "critic": (16, 16)} | settings
    return adversarial_autoencoder.Config(SHAPE, **settings).build().double()


# The kernel


def test_discrepancy_by_hand():
    a, b = (torch.randn(5, 3, generator=rng(s), dtype=DOUBLE) for s in (1, 2))
    scales = (0.2, 1.5)

    def k(u, v):
        return sum(6 * s / (6 * s + float((u - v).square().sum())) for s in scales) / 2

    pairs = [(i, j) for i in range(5) for j in range(5)]
    within = sum(k(a[i], a[j]) + k(b[i], b[j]) for i, j in pairs if i != j) / 20
    by_hand = within - 2 * sum(k(a[i], b[j]) for i, j in pairs) / 25
    assert mmd(a, b, scales).item() == pytest.approx(by_hand, abs=1e-12)


def test_discrepancy_is_zero_in_the_mean_for_one_distribution_alone():
    draws = torch.randn(600, 2, 20, 3, generator=rng(), dtype=DOUBLE)
    same = torch.stack([mmd(a, b) for a, b in draws])
    assert abs(same.mean()) < 4 * same.std() / math.sqrt(len(same))  # without bias: with it, 0.04 here
    for other in (lambda z: z + 0.5, lambda z: 1.5 * z, lambda z: z.cumsum(1) / 3**0.5):  # mean, spread, correlation
        moved = torch.stack([mmd(other(a), b) for a, b in draws])
        assert moved.mean() > 5 * moved.std() / math.sqrt(len(moved))


def test_equal_vectors_have_finite_gradients():
    a = torch.zeros(4, 2, dtype=DOUBLE, requires_grad=True)
    mmd(a, a.detach()).backward()
    assert a.grad.isfinite().all()


def test_kernel_adds_error_and_weighted_discrepancy():
    model, x = an_autoencoder(critic=()), images()
    z = model.encode(x)
    parts = Kernel(weight=7.0)(model, batch(x), rng=rng(4), progress=0)
    distance = mmd(z, normal(z.shape, rng(4), z))
    error = (model.decode(z) - x).square().sum() / len(x)
    torch.testing.assert_close(parts.loss, error + 7 * distance)
    assert set(parts.report) == {"error", "discrepancy", "mean", "spread", "correlation", "kurtosis"}


# The critic


class Judged:
    """Codes set by hand, and a critic that is a plane."""

    def __init__(self, z, plane):
        self.z, self.plane = z, plane

    def encode(self, x):
        return self.z

    def decode(self, z):
        return torch.zeros(len(z), *SHAPE, dtype=z.dtype)

    def judge(self, z):
        return z @ self.plane


def test_the_critics_loss_by_hand():
    plane = torch.tensor([0.5, -1.0], dtype=DOUBLE, requires_grad=True)
    z, x = torch.randn(6, 2, generator=rng(1), dtype=DOUBLE), images()
    parts = Critic(penalty=0.3)(Judged(z, plane), batch(x), rng=rng(2), progress=0, player="critic")
    draws = normal(z.shape, rng(2), z)
    told = -(torch.sigmoid(draws @ plane).log() + (1 - torch.sigmoid(z @ plane)).log()).mean()
    torch.testing.assert_close(parts.loss, told + 0.3 * 1.25)  # the slope of a plane is the plane
    assert parts.report["slope"].item() == pytest.approx(1.25)
    right = (((draws @ plane) > 0).sum() + ((z @ plane) < 0).sum()).item() / 12
    assert parts.report["right"].item() == pytest.approx(right)


def test_the_penalty_is_half_the_squared_slope_at_draws_and_at_codes():
    """Two halves, one for each set, which have one size: the mean over both sets together."""
    model, x = an_autoencoder(), images()
    with torch.no_grad():
        codes = model.encode(x)
    both = torch.cat((normal(codes.shape, rng(3), codes), codes))
    slopes = torch.autograd.functional.jacobian(model.judge, both).diagonal(dim1=0, dim2=1)  # [D, 2N]
    parts = Critic()(model, batch(x), rng=rng(3), progress=0, player="critic")
    torch.testing.assert_close(parts.report["slope"], slopes.square().sum(0).mean())


def test_the_encoders_loss_by_hand():
    plane, x = torch.tensor([0.5, -1.0], dtype=DOUBLE), images()
    z = torch.randn(6, 2, generator=rng(1), dtype=DOUBLE)
    parts = Critic(weight=3.0)(Judged(z, plane), batch(x), rng=rng(), progress=0, player="autoencoder")
    fooling = -torch.sigmoid(z @ plane).log().mean()
    torch.testing.assert_close(parts.loss, x.square().sum() / 6 + 3 * fooling)
    validation = Critic(weight=3.0)(Judged(z, plane), batch(x), rng=rng(), progress=1)
    torch.testing.assert_close(validation.loss, parts.loss)


def test_an_ideal_critic_finds_the_log_ratio():
    """For codes ~ N(1, 1) it is ½ - z; the loss is least there."""
    z = torch.randn(20_000, 1, generator=rng(1), dtype=DOUBLE) + 1

    def loss(slope, offset):
        model = SimpleNamespace(encode=lambda x: z, judge=lambda z: slope * z[:, 0] + offset)
        return Critic(penalty=0.0)(model, batch(images(1)), rng=rng(2), progress=0, player="critic").loss.item()

    best = loss(-1.0, 0.5)
    assert all(loss(-1 + a, 0.5 + b) > best for a, b in ((0.1, 0), (-0.1, 0), (0, 0.1), (0, -0.1)))


def test_each_player_trains_its_own():
    model, x = an_autoencoder(), images()
    Critic()(model, batch(x), rng=rng(), progress=0, player="critic").loss.backward()
    assert all(p.grad is None for p in [*model.encoder.parameters(), *model.decoder.parameters()])
    assert all(p.grad.abs().max() > 0 for p in model.critic.parameters() if p.dim() > 1)
    z = model.encode(x)
    F.softplus(-model.judge(z)).mean().backward()
    wanted = [p.grad.clone() for p in model.encoder.parameters()]
    model.zero_grad()
    parts = Critic()(model, batch(x), rng=rng(), progress=0, player="autoencoder")
    (parts.loss - (model.decode(model.encode(x)) - x).square().sum() / len(x)).backward()
    for p, grad in zip(model.encoder.parameters(), wanted, strict=True):
        torch.testing.assert_close(p.grad, grad)


def test_the_critic_sees_codes_of_what_the_encoder_is_shown():
    model, x, noisy = an_autoencoder(), images(), images() + 1
    shown = Critic()(model, batch(x, noisy), rng=rng(), progress=0, player="critic")
    same = Critic()(model, batch(noisy), rng=rng(), progress=0, player="critic")
    assert torch.equal(shown.loss, same.loss)


def test_slopes_stay_in_float32_under_autocast():
    model, x = an_autoencoder().float(), images().float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        parts = Critic()(model, batch(x), rng=rng(), progress=0, player="critic")
    assert parts.loss.dtype == parts.report["slope"].dtype == torch.float32


# The model


def test_what_is_saved_has_no_critic():
    model = an_autoencoder()
    begun = state.begin(model, Gradient(objective=Critic(), average=100.0))
    assert list(begun.optimisers) == ["critic", "autoencoder"]
    assert not any(name.startswith("critic") for name in begun.result())
    assert any(name.startswith("encoder") for name in begun.result())


def test_settings_that_do_not_fit():
    x = images()
    with pytest.raises(RecipeError, match="no critic"):
        Critic()(an_autoencoder(critic=()), batch(x), rng=rng(), progress=0)
    with pytest.raises(RecipeError, match="needs no critic"):
        Kernel()(an_autoencoder(), batch(x), rng=rng(), progress=0, player="critic")
    with pytest.raises(RecipeError, match="vectors"):
        adversarial_autoencoder.Config(SHAPE, Convolutional((4,), spatial=True))
    with pytest.raises(RecipeError, match="at least 1"):
        adversarial_autoencoder.Config(SHAPE, latent=0)
    with pytest.raises(RecipeError, match="critic"):
        adversarial_autoencoder.Config(SHAPE, critic=(3, 0))
    for wrong in ({"weight": -1.0}, {"penalty": -1.0}):
        with pytest.raises(RecipeError, match="negative"):
            Critic(**wrong)
    for wrong in ({"weight": -1.0}, {"scales": ()}, {"scales": (0.0,)}):
        with pytest.raises(RecipeError):
            Kernel(**wrong)


def test_moments_of_a_normal_are_small_and_those_of_others_are_not():
    z = torch.randn(20_000, 4, generator=rng(), dtype=DOUBLE)
    assert all(v < 0.06 for v in moments(z).values())
    assert moments(z + 0.5)["mean"].item() == pytest.approx(0.5, abs=0.02)
    assert moments(1.5 * z)["spread"].item() == pytest.approx(0.5, abs=0.02)
    twins = torch.cat((z[:, :1], z[:, :1]), 1)
    assert moments(twins)["correlation"].item() == pytest.approx(1)
    assert moments(z.sign())["kurtosis"].item() == pytest.approx(2, abs=0.01)
    assert moments(z[:, :1])["correlation"] == 0


@pytest.mark.parametrize("objective", [Critic(weight=0.3), Kernel(weight=10.0)])
def test_codes_become_normal(objective):
    """From a start two units off; what the error alone makes of codes is told beside it."""
    x = (torch.randn(2000, 2, generator=rng()) @ torch.randn(2, 12, generator=rng(1))).sigmoid().view(-1, *SHAPE)
    found = []
    for trained in (objective, replace(objective, weight=0.0)):
        model = an_autoencoder(critic=(16, 16) if isinstance(objective, Critic) else ()).float()
        with torch.no_grad():
            model.encoder[-1].bias.add_(2)
        players = {name: torch.optim.Adam(ps, 5e-3) for name, ps in state.players_of(model).items()}
        for step in range(300):
            part = x[torch.randint(len(x), (64,), generator=rng(step))]
            for player, optimiser in players.items():
                optimiser.zero_grad()
                turn = player if len(players) > 1 else None
                trained(model, batch(part), rng=rng(step), progress=0, player=turn).loss.backward()
                optimiser.step()
        with torch.no_grad():
            found.append(moments(model.encode(x)))
    matched, plain = found
    assert matched["mean"] < 0.25 and matched["spread"] < 0.25
    assert plain["mean"] + plain["spread"] > 2.5 * (matched["mean"] + matched["spread"]), (matched, plain)
