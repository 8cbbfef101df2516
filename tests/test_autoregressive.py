"""Autoregressive models: order, caches, what a patch's distribution is given, and completion against enumeration."""

from __future__ import annotations

import math

import pytest
import torch

from imprior.errors import DataError, RecipeError
from imprior.models import autoregressive
from imprior.models.autoregressive import Config
from imprior.models.pixel_outputs import Categorical, Joint, Logistics, categorical
from imprior.nn.causal import MaskedConvolution
from toys import every_image
from zoo import EXAMPLES, build, images, labels
from zoo.example import Example

DOUBLE = torch.float64
NETWORKS = {
    "blocks": MaskedConvolution(8, 4, (1, 2, 1)),
    "attention": MaskedConvolution(8, 4, (1, 2), heads=2),
    "dilated": MaskedConvolution(6, 2, (2,)),
}
each_network = pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
each_model = pytest.mark.parametrize("name", [n for n, e in EXAMPLES.items() if isinstance(e.config, Config)])


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def random(module, dtype=DOUBLE, noise=0.3):
    """A module away from its starts at zero."""
    generator = rng(1)
    with torch.no_grad():
        for p in module.parameters():
            p.add_(noise * torch.randn(p.shape, generator=generator))
    return module.to(dtype)


def seen(network, rows, columns, position, train=False):
    """Which inputs [rows·columns] the features at a position have a gradient to."""
    network.train(train)
    h = torch.randn(2, 3, rows, columns, dtype=DOUBLE, generator=rng(2), requires_grad=True)
    (gradient,) = torch.autograd.grad(network(h).flatten(2)[:, :, position].sum(), h)
    return gradient.abs().sum((0, 1)).flatten() > 0


@each_network
@pytest.mark.parametrize("classes", [None, 2])
def test_steps_give_what_the_whole_grid_gives(network, classes):
    torch.manual_seed(0)
    rows, columns = 4, 5
    module = random(network.build(3, rows, columns, classes))
    h = torch.randn(2, 3, rows, columns, dtype=DOUBLE, generator=rng())
    given = None if classes is None else torch.tensor([1, 0])
    with torch.no_grad():
        whole = module(h, given).flatten(2)
        state = module.begin(2, given, h)
        for position in range(rows * columns):
            before = h.flatten(2)[:, :, position - 1] if position else None
            torch.testing.assert_close(module.step(state, position, before), whole[:, :, position])


@each_network
@pytest.mark.parametrize("train", [False, True])
def test_a_position_sees_all_positions_before_it_and_no_other(network, train):
    torch.manual_seed(0)
    rows, columns = 4, 5  # within the reach of each of the networks
    module = random(network.build(3, rows, columns, None))
    for position in range(rows * columns):
        assert torch.equal(seen(module, rows, columns, position, train), torch.arange(rows * columns) < position)


def test_there_is_no_blind_spot_within_reach():
    """Masked 3x3 convolutions in one stream would see as far as 2 columns to the right in the row above, not 4."""
    torch.manual_seed(0)
    rows, columns, row, column = 7, 13, 5, 6
    module = random(MaskedConvolution(8, 4, (1, 1)).build(3, rows, columns, None))
    i, j = torch.meshgrid(torch.arange(rows) - row, torch.arange(columns) - column, indexing="ij")
    expected = (i >= -4) & (j.abs() <= 4) & ((i < 0) | ((i == 0) & (j < 0)))
    assert torch.equal(seen(module, rows, columns, row * columns + column).view(rows, columns), expected)


@each_model
def test_a_later_pixel_changes_no_earlier_conditional_in_a_single_bit(name):
    model = build(EXAMPLES[name])
    x, given = images(model, 3), labels(model, 3)
    patches = model.patches(x)
    with torch.no_grad():
        before = model.patch_log_prob(patches, given).flatten(1)
        for position in range(before.shape[1]):
            changed = patches.clone()
            changed.flatten(1, 2)[:, position] = 1 - changed.flatten(1, 2)[:, position]
            after = model.patch_log_prob(changed, given).flatten(1)
            assert torch.equal(after[:, :position], before[:, :position])
            assert not torch.equal(after[:, position], before[:, position])


@each_model
def test_patches_cut_and_joined_are_the_image(name):
    model = build(EXAMPLES[name])
    x = images(model, 3)
    assert torch.equal(model.images(model.patches(x)), x)
    p = model.config.patch
    assert torch.equal(model.patches(x)[1, -1, 0], x[1, :, -p:, :p].permute(1, 2, 0).flatten())


@each_model
def test_a_draw_is_scored_with_the_probability_it_was_drawn_with(name):
    """The features that the sampler had, step by step, are those that the score has."""
    model = build(EXAMPLES[name], dtype=DOUBLE)
    given = labels(model, 3)
    patches = model.patches(model.sample(3, rng(), given))
    state, total = model.network.begin(3, given, patches), torch.zeros(3, dtype=DOUBLE)
    with torch.no_grad():
        for position in range(patches.shape[1] * patches.shape[2]):
            before = model.output.tell(patches.flatten(1, 2)[:, position - 1]) if position else None
            features = model.network.step(state, position, before)
            total += model.output.log_prob(features, patches.flatten(1, 2)[:, position])
    torch.testing.assert_close(total, -model.score(model.images(patches), given).nats)


@pytest.mark.parametrize(
    "output", [Joint(8), Categorical(2, 8), Logistics(2, 2, 8)], ids=["joint", "softmax", "logistics"]
)
@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_patches_come_as_often_as_their_probability_says(output, temperature):
    torch.manual_seed(0)
    model = random(Config((1, 2, 2), 2, MaskedConvolution(4, 2, (1,)), output).build(), torch.float32, 0.5)
    states, n = every_image(2, 2, dtype=torch.float32), 20_000
    model.temperature = temperature
    drawn = model.sample(n, rng())
    counts = (drawn.flatten(1) @ torch.tensor([8.0, 4, 2, 1])).long().bincount(minlength=16).double()
    if temperature == 1:
        p = (-model.score(states).nats).exp()
    elif isinstance(output, Joint):
        p = (-model.score(states).nats / temperature).softmax(0)
    else:  # in turn: each value's own distribution is tempered, not that of the patch
        assert counts.max() > 0.9 * n * (-model.score(states).nats).exp().max()
        return
    assert ((counts - n * p).abs() / (n * p).clamp_min(1).sqrt()).max() < 5


def as_it_is(width):
    """A linear layer that hands on what it is given."""
    layer = torch.nn.Linear(width, width)
    layer.weight.data, layer.bias.data = torch.eye(width), torch.zeros(width)
    return layer


@pytest.mark.parametrize("scale", [0.1, 3.0, 100.0])
def test_all_levels_of_a_value_together_have_probability_one(scale):
    """Also with parameters as large as they never get: no clamping, no overflow."""
    torch.manual_seed(0)
    for output in (Categorical(256, 4).build(3, 1), Logistics(5, 256, 4).build(3, 1)):
        width = output.last.out_features
        levels = torch.arange(256) / 255
        for dtype, tolerance in ((DOUBLE, 1e-12), (torch.float32, 2e-5)):
            parameters = (scale * torch.randn(8, width, generator=rng())).to(dtype)
            output.last = as_it_is(width)
            output.to(dtype)
            log_prob = torch.stack([output.values_log_prob(p.expand(256, -1), levels.to(dtype)) for p in parameters])
            assert not log_prob.isnan().any()
            torch.testing.assert_close(log_prob.logsumexp(1), torch.zeros(8, dtype=dtype), atol=tolerance, rtol=0)


def test_far_tails_of_the_mixture_agree_with_double_precision():
    output = Logistics(2, 256, 4).build(3, 1)
    parameters = torch.tensor([[0.0, 0.0, 0.0, 0.0, 0.0, 0.9, 0.8, -6.0, -6.0]])
    value = torch.tensor([5 / 255])  # hundreds of scales away
    single = output.value_log_prob(parameters, value)
    exact = output.double().value_log_prob(parameters.double(), value.double())
    assert exact < -500
    torch.testing.assert_close(single.double(), exact, rtol=1e-5, atol=0)


def test_levels_are_drawn_as_often_as_the_mixture_says():
    output = Logistics(3, 256, 4).build(3, 1)
    parameters = torch.tensor([0.5, -1.0, 1.0, 0.0, 0.5, 0.0, -1.2, 0.0, 0.3, -3.0, -2.0, -1.0])
    n, levels = 40_000, torch.arange(256) / 255
    drawn = output.value_sample(parameters.expand(n, -1), rng(), 1.0)
    p = output.double().value_log_prob(parameters.double().expand(256, -1), levels.double()).exp()
    counts = (drawn * 255).round().long().bincount(minlength=256).double()
    assert ((counts - n * p).abs() / (n * p).clamp_min(1).sqrt()).max() < 5


def test_what_has_no_probability_is_not_drawn():
    logits = torch.tensor([-math.inf, 0.0, -math.inf, -1.0, -math.inf]).expand(1000, -1)
    assert set(categorical(logits, rng()).tolist()) == {1, 3}


def conditional(model, known, x):
    """p over all images [2^D] given the known pixels of x, by enumeration; of the mixture over labels."""
    _, height, width = model.shape
    every = every_image(height, width, dtype=torch.float32)
    fits = ((every == x) | ~known).flatten(1).all(1)
    return every, torch.where(fits, -model.score(every).nats, -math.inf).softmax(0)


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("pixelcnn", [1, 1, 1, 1, 1, 0, 0, 0, 0]),
        ("pixelcnn-patches", [1, 1, 1, 1, 0, 0, 0, 0]),  # the label is drawn given the first patch
        ("pixelcnn-logistics", [1, 1, 1, 0, 1, 1, 0, 0]),  # 2 x 4: the first patch and one pixel of the next
        ("one-patch", [0, 1, 0, 1]),  # any pixels of a joint patch
        ("one-patch", [1, 0, 0, 0]),
    ],
)
def test_what_follows_is_drawn_from_its_conditional_distribution(name, known):
    one = Example(Config((1, 2, 2), 2, MaskedConvolution(4, 2, (1,)), Joint(8)), ())
    model = build(EXAMPLES.get(name, one))
    _, height, width = model.shape
    known = torch.tensor(known, dtype=torch.bool).view(1, 1, height, width)
    n, x = 20_000, images(model, 1, seed=5)
    asked = torch.where(known, x, math.nan).expand(n, -1, -1, -1)  # what is unknown must not be looked at
    drawn = model.complete(asked, known.expand(n, -1, -1, -1), rng())
    every, p = conditional(model, known, x)
    place = 2 ** torch.arange(height * width - 1, -1, -1)
    counts = (drawn.flatten(1).long() @ place).bincount(minlength=len(every)).double()
    assert ((counts - n * p).abs() / (n * p).clamp_min(1).sqrt()).max() < 5 and counts[p == 0].sum() == 0


def test_known_pixels_anywhere_come_back_bit_for_bit():
    for name in ("pixelcnn-colour", "pixelcnn-categorical-8bit", "pixelcnn-in-turn"):
        model = build(EXAMPLES[name])
        x = images(model, 4)
        known = torch.rand(4, 1, *x.shape[2:], generator=rng(3)) > 0.5
        filled = model.complete(x, known, rng())
        assert torch.equal(torch.where(known, filled, 0), torch.where(known, x, 0)) and not torch.equal(filled, x)
        assert ((filled * (model.levels - 1)).round() / (model.levels - 1) == filled).all()


def test_scoring_and_drawing_in_parts_change_nothing(monkeypatch):
    model = build(EXAMPLES["pixelcnn-patches"], dtype=DOUBLE)
    x = images(model, 7, dtype=DOUBLE)
    whole = model.score(x).nats
    monkeypatch.setattr(autoregressive, "SCORED", 5)
    monkeypatch.setattr(autoregressive, "DRAWN", 7)
    torch.testing.assert_close(model.score(x).nats, whole)
    assert model.sample(7, rng()).shape == x.shape and model.sample(0, rng()).shape == (0, *x.shape[1:])
    assert model.complete(x, x > 2, rng(), torch.arange(7) % 3).shape == x.shape


@each_model
def test_under_autocast_the_likelihood_stays_in_single_precision(name):
    model = build(EXAMPLES[name])
    x, given = images(model, 4), labels(model, 4)
    exact = model.log_prob(x, given)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = model.log_prob(x, given)
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough, exact, rtol=0.03, atol=0.3)  # of networks in bfloat16


def test_low_temperature_draws_the_likeliest():
    model = build(EXAMPLES["pixelcnn-logistics"])
    model.temperature = 1e-4
    assert len(model.sample(50, rng()).flatten(1).unique(dim=0)) == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Config((1, 5, 4), 2), "can't be cut into patches of 2x2"),
        (lambda: Config((3, 4, 4), 4).build(), "too many for a joint softmax"),
        (lambda: Config(patch=0), "patch must be at least 1"),
        (lambda: Config(classes=1), "classes"),
        (lambda: MaskedConvolution(width=7), "even"),
        (lambda: MaskedConvolution(dilations=(1, 0)), "dilations"),
        (lambda: MaskedConvolution(8, 4, heads=3), "heads"),
        (lambda: Joint(0), "hidden"),
        (lambda: Categorical(17), "levels"),
        (lambda: Logistics(0), "components"),
    ],
)
def test_settings_that_make_no_sense_are_refused(make, message):
    with pytest.raises(RecipeError, match=message):
        make()


def test_input_that_does_not_fit_is_refused():
    model = build(EXAMPLES["pixelcnn-patches"])
    x = images(model, 3)
    with pytest.raises(DataError, match="mask of shape"):
        model.complete(x, torch.ones(3, 1, 3, 3, dtype=torch.bool), rng())
    with pytest.raises(DataError, match="binary images"):
        model.complete(torch.full_like(x, 0.5), torch.ones_like(x, dtype=torch.bool), rng())
    with pytest.raises(DataError, match="label"):
        model.complete(x, torch.zeros_like(x, dtype=torch.bool), rng(), torch.tensor([0, 1, 3]))
    with pytest.raises(DataError, match="wants a label"):
        model.log_prob(x)
