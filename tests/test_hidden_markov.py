"""The hidden Markov model over rows, against sums over all its paths."""

import itertools
import math

import pytest
import torch

from imprior.errors import DataError, RecipeError
from imprior.models import hidden_markov
from test_mixtures import bits, completions_by_enumeration
from toys import every_image

DOUBLE = torch.float64


def fitted(config, x, passes=3):
    torch.manual_seed(0)
    model = config.build().double()
    return model, [model.update([x[:50], x[50:]]) for _ in range(passes)]


CONFIGS = {shared: hidden_markov.Config((1, 3, 3), 3, shared=shared, smoothing=0.7) for shared in (False, True)}
each = pytest.mark.parametrize("shared", CONFIGS)


def paths(model, x):
    """Log-probability of each image with each path of states [N, S^H], and the paths [S^H, H]."""
    channels, height, width = model.config.shape
    every = torch.tensor(list(itertools.product(range(model.config.states), repeat=height)))
    rows = x.transpose(1, 2).reshape(len(x), height, channels * width)
    p = model.logits.sigmoid()[every]  # [S^H, H, W]
    found = torch.where(rows[:, None] == 1, p, 1 - p).log().sum((2, 3)) + model.log_initial[every[:, 0]]
    for row in range(height - 1):
        step = model.log_transitions[0 if model.config.shared else row]
        found = found + step[every[:, row], every[:, row + 1]]
    return found, every


@each
def test_the_likelihood_is_the_sum_over_all_paths(shared):
    model, _ = fitted(CONFIGS[shared], bits())
    x = every_image()
    torch.testing.assert_close(-model.score(x).nats, paths(model, x)[0].logsumexp(1))


@each
def test_every_step_lowers_what_it_minimises(shared):
    _, reached = fitted(CONFIGS[shared], bits(), 30)
    assert all(b <= a + 1e-10 for a, b in itertools.pairwise(reached)) and reached[-1] < reached[0] - 0.05


@each
def test_a_step_is_that_of_the_expected_counts_over_all_paths(shared):
    x, prior = bits(), 0.7
    model, _ = fitted(CONFIGS[shared], x, 2)
    joint, every = paths(model, x)
    posterior = joint.softmax(1)  # [N, paths]
    is_in = torch.nn.functional.one_hot(every, 3).to(DOUBLE)  # [paths, H, S]
    first = posterior.sum(0) @ is_in[:, 0]
    moves = torch.einsum("p,pti,ptj->tij", posterior.sum(0), is_in[:, :-1], is_in[:, 1:])
    moves = moves.sum(0, keepdim=True) if shared else moves
    share = torch.einsum("p,pts->s", posterior.sum(0), is_in)
    ones = torch.einsum("np,pts,ntw->sw", posterior, is_in, x[:, 0])
    centre = (ones.sum(0) + 0.5) / (3 * len(x) + 1)
    penalty = prior * (centre * model.logits.sigmoid().log() + (1 - centre) * (-model.logits).sigmoid().log()).sum()
    penalty = penalty + prior / 3 * (model.log_initial.sum() + model.log_transitions.sum())
    assert model.update([x]) == pytest.approx(-float(joint.logsumexp(1).sum() + penalty) / len(x), abs=1e-10)
    torch.testing.assert_close(model.log_initial.exp(), (first + prior / 3) / (len(x) + prior))
    torch.testing.assert_close(model.log_transitions.exp(), (moves + prior / 3) / (moves.sum(2, keepdim=True) + prior))
    torch.testing.assert_close(model.logits.sigmoid(), (ones + prior * centre) / (share[:, None] + prior))


@each
def test_completions_come_as_often_as_their_probability_says(shared):
    model, _ = fitted(CONFIGS[shared], bits(), 10)
    completions_by_enumeration(model)


def test_shared_transitions_are_one_table_and_others_one_a_step():
    assert CONFIGS[True].build().log_transitions.shape == (1, 3, 3)
    assert CONFIGS[False].build().log_transitions.shape == (2, 3, 3)


def test_one_state_is_a_row_of_independent_pixels():
    x = bits(400)
    model, _ = fitted(hidden_markov.Config((1, 3, 3), 1, smoothing=1e-6), x)
    p = x.mean((0, 1, 2))
    torch.testing.assert_close(model.logits.sigmoid()[0], p, atol=1e-6, rtol=0)
    expected = -torch.where(x == 1, p, 1 - p).log().sum((1, 2, 3))
    torch.testing.assert_close(model.score(x).nats, expected, atol=1e-4, rtol=0)


def test_tall_images_and_improbable_rows_neither_underflow_nor_overflow():
    config = hidden_markov.Config((1, 60, 40), 4)
    model, _ = fitted(config, bits(60, (1, 60, 40)), 2)
    model.logits.mul_(100)  # densities down to e^-100 a pixel
    nats = model.score(bits(3, (1, 60, 40), seed=5)).nats
    assert nats.isfinite().all() and nats.min() > 1e4
    assert math.isfinite(model.update([bits(60, (1, 60, 40))])) and model.log_transitions.isfinite().all()


def test_colour_rows_hold_all_channels():
    model, _ = fitted(hidden_markov.Config((3, 2, 2), 2), bits(100, (3, 2, 2)))
    x = bits(5, (3, 2, 2), seed=9)
    torch.testing.assert_close(-model.score(x).nats, paths(model, x)[0].logsumexp(1))


@pytest.mark.parametrize("wrong", [{"states": 0}, {"smoothing": 0.0}])
def test_settings_that_make_no_model_are_refused(wrong):
    with pytest.raises(RecipeError):
        hidden_markov.Config((1, 3, 3), **wrong)


def test_fewer_rows_than_states_are_refused():
    with pytest.raises(DataError, match="too few"):
        hidden_markov.Config((1, 3, 3), 3).build().update([torch.ones(5, 1, 3, 3)])
