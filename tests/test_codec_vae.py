"""The photo codec as a VAE: what it is trained by is its negative ELBO, its score a bound, its draws its own."""

import math
from copy import deepcopy
from dataclasses import replace

import pytest
import torch

from imprior.distributions.likelihoods import Gaussian
from imprior.distributions.quantised import LogisticTables, gaussian_mass, rounded_gaussian
from imprior.models.codec_symbols import LIMIT
from imprior.models.codec_vae import LEAST, _nats, gaussian_noise
from imprior.nn.block_transform import Transforms
from imprior.objectives.rate_distortion import RateDistortion
from imprior.packing import pack, unpack
from imprior.parts import Batch
from test_codec import rng, smooth
from test_codec_whole import made
from zoo.codec import SMALL

DOUBLE = torch.float64
GREY = replace(SMALL, shape=(1, 64, 64), transforms=Transforms(2, (3, 3), (0, 0), (3, 3, 3), (0, 0, 0)), slices=(1, 1))


@pytest.fixture(scope="module")
def model():
    return made(0.02)


def levels(n, **size):
    return (smooth(n, **size) * 255).round() / 255


class Recorded:
    """A codec whose transmissions are kept, rounded instead of noisy if asked."""

    def __init__(self, model, rounds):
        self.model, self.rounds, self.anchors, self.weight = model, rounds, model.anchors, model.weight

    def transmit(self, x, level, rng):
        self.level, self.sent = level, self.model.transmit(x, level, None if self.rounds else rng)
        return self.sent


@pytest.mark.parametrize("rounds", [True, False])
def test_the_loss_is_the_negative_elbo_up_to_factor_and_constant(model, rounds):
    model, x = deepcopy(model).double(), smooth(6).double()
    codec = Recorded(model, rounds)
    with torch.no_grad():
        parts = RateDistortion()(codec, Batch(x, None, None, None, torch.arange(6)), rng=rng(), progress=0.0)
    weight = model.weight(codec.level)
    sigma = torch.tensor([gaussian_noise(float(w), 3) for w in weight], dtype=DOUBLE)
    pixels = Gaussian(codec.sent.x, sigma.log().view(-1, 1, 1, 1)).log_prob(x)
    negative_elbo = codec.sent.bits * math.log(2) - pixels
    constant = x[0].numel() * (sigma.log() + 0.5 * math.log(2 * math.pi))
    torch.testing.assert_close(parts.loss, ((negative_elbo - constant) / weight.sqrt()).mean())


@pytest.mark.parametrize("scale", [0.05, 0.3, 2.0, 40.0])
def test_the_probabilities_of_all_integers_sum_to_one_at_most(scale):
    k = torch.arange(-LIMIT, LIMIT + 1).double()
    tables = random_tables(scale)
    with torch.no_grad():
        masses = [gaussian_mass(k, torch.full_like(k, scale)), tables.mass(k.view(1, 1, -1, 1), torch.tensor([1.3]))]
    for mass in masses:
        total = (-_nats(mass.reshape(-1, 1, 1, 1))).exp().sum().item()
        assert 1 - 1e-9 < total < 1 + 1e-12
        assert mass.min() >= 0 and (-_nats(torch.zeros(1, 1, 1, 1))).exp().item() == pytest.approx(LEAST)


def random_tables(scale):
    tables = LogisticTables(1, 3).double()
    with torch.no_grad():
        tables.log_scale.copy_(math.log(scale) + 0.3 * torch.randn(3, 1, 3, generator=rng()))
        tables.location.copy_(torch.randn(3, 1, 3, generator=rng(1)))
        tables.logits.copy_(torch.randn(3, 1, 3, generator=rng(2)))
    return tables


def test_drawn_integers_come_as_often_as_their_mass_says():
    n, k = 40_000, torch.arange(-6.0, 7.0, dtype=DOUBLE)
    tables, level = random_tables(0.4), torch.tensor([1.3])
    with torch.no_grad():
        pairs = [
            (tables.sample((200, 200), level, rng()), tables.mass(k.view(1, 1, -1, 1), level).flatten()),
            (rounded_gaussian(torch.full((n,), 0.8), rng()), gaussian_mass(k, torch.full_like(k, 0.8))),
            (rounded_gaussian(torch.zeros(n), rng()), gaussian_mass(k, torch.zeros_like(k))),
        ]
    for drawn, mass in pairs:
        counts = torch.stack([(drawn == one).sum() for one in k])
        # Deviations in standard errors: of some forty cells the largest is near 3.
        assert ((counts - n * mass).abs() / (n * mass).clamp_min(1).sqrt()).max() < 5


def tiny():
    """A codec of grey images that is nearly certain of its integers, so that its bound comes near the likelihood."""
    torch.manual_seed(0)
    model = GREY.build()
    model.start([smooth(8)[:, :1]])
    with torch.no_grad():
        for context in model.contexts:
            context[-1].bias[len(context[-1].bias) // 2 :] = -5.0
        model.side.log_scale.fill_(-2.0)
        model.side.location.mul_(0.2)
        model.log_gain.fill_(1.5)
        model.log_noise.fill_(-2.0)
    return model.double().eval()


def test_the_bound_holds_where_the_likelihood_is_known():
    """Images of one pixel: their probabilities sum to one, and are means over latents that are drawn."""
    model, n = tiny(), 1000
    x = torch.arange(256, dtype=DOUBLE).view(-1, 1, 1, 1) / 255
    bounded = (-model.score(x[::8]).nats).exp()
    mean = model.decode(model.latent(n, rng()))[..., :1, :1]
    with torch.no_grad():
        likelihood = model.observation(mean)
        each = likelihood.log_prob(x[:, None].expand(256, n, 1, 1, 1)).exp()  # [256, n]
    probability, error = each.mean(1), each.std(1) / math.sqrt(n)
    assert probability.sum().item() == pytest.approx(1, abs=1e-6)
    assert (bounded <= (probability + 5 * error)[::8]).all()
    assert 0.01 < bounded.sum() < 1  # not a bound that says nothing


def test_the_score_is_the_rate_of_rounded_latents_and_the_pixels_levels(model):
    x = levels(3, seed=9)
    with torch.no_grad():
        sent = model.transmit(x, torch.full((3,), float(model.anchors - 1)), None)
    pixels = model.observation(sent.x.clamp(0, 1)).log_prob(x)
    score = model.score(x)
    # The rate is in float32 there, and no mass below 30 bits.
    torch.testing.assert_close(score.nats, (sent.bits * math.log(2) - pixels).double(), rtol=1e-4, atol=0.5)
    assert score.kind == "bound" and score.space == "8-bit" and "last level" in score.protocol


def test_no_image_is_impossible(model):
    for x in (torch.rand(1, 3, 70, 40, generator=rng()).round(), torch.zeros(1, 3, 1, 1), torch.ones(1, 3, 5, 300)):
        assert model.score(x).nats.isfinite().all()


def test_pixels_of_the_padding_cost_nothing(model):
    x = levels(1, seed=3)[..., :50, :33]
    padded = model.pad(x)
    whole, part = model.score(padded), model.score(x)
    with torch.no_grad():
        mean = model.settled(model.encode(x), model._levels(1)).mean
    outside = torch.ones(64, 64, dtype=torch.bool)
    outside[:50, :33] = False
    pixels = model.observation(mean).pixel_log_prob(padded)[:, outside].double().sum(1)
    torch.testing.assert_close(part.nats, whole.nats + pixels, rtol=1e-6, atol=1e-3)


def test_calibration_finds_the_noise_of_the_least_bound(model):
    x = torch.cat([levels(8, seed=s) for s in range(2, 5)])  # what it was calibrated on
    other = deepcopy(model)
    with torch.no_grad():
        mean = model.settled(model.encode(x), model._levels(24)).mean
    bounds = []
    for moved in (-0.15, 0.0, 0.15):
        other.log_noise.copy_(model.log_noise + moved)
        bounds.append(-float(other.observation(mean).log_prob(x).sum()))
    assert bounds[1] < min(bounds[0], bounds[2])
    packed = unpack(pack(model.state_dict()))["log_noise"]
    assert packed.float().item() == pytest.approx(float(model.log_noise), abs=2e-3)


def test_before_calibration_the_noise_is_that_of_the_last_weight():
    x = SMALL.build().observation(torch.full((200, 3, 8, 8), 0.5)).sample(1, rng())
    assert float(x.std()) == pytest.approx(gaussian_noise(SMALL.highest, 3), rel=0.02)


def test_draws_are_images_of_the_training_size():
    config = replace(SMALL, shape=(3, 40, 72))
    model = config.build().eval()
    z = model.latent(2, rng())
    assert z.shape == (2, 12, 4, 8) and model.decode(z).shape == (2, 3, 64, 128)
    x = model.sample(2, rng())
    assert x.shape == (2, 3, 40, 72) and x.min() >= 0 and x.max() <= 1
    assert torch.equal(x, (x * 255).round() / 255) and torch.equal(x, model.sample(2, rng()))


def test_the_latent_is_not_rounded_and_comes_back(model):
    x = smooth(2, seed=9)
    with torch.no_grad():
        z = model.encode(x)
        assert torch.equal(z, model.transform(x))
        fine, coarse = (model.settled(z, torch.full((2,), level)).mean for level in (7.0, 0.0))
        whole = model.decode(z)
    assert (fine - whole).square().mean() < 0.1 * (coarse - whole).square().mean()
