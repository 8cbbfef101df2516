"""Laws of causal networks: no position sees itself or what comes after it, and steps give what the whole pass gives."""

from __future__ import annotations

import pytest
import torch

from imprior.errors import RecipeError
from imprior.nn.causal import MaskedConvolution
from imprior.nn.recurrent import RowLSTM
from imprior.nn.transformer import Transformer
from imprior.settings import from_json, to_json

NETWORKS = {
    "convolution": MaskedConvolution(width=8, inner=4, dilations=(1, 2, 1)),
    "convolution-attention": MaskedConvolution(width=8, inner=4, dilations=(1, 1), heads=2),
    "transformer": Transformer(width=8, heads=2, layers=2, expansion=2),
    "transformer-near": Transformer(width=6, heads=1, layers=1, expansion=1, reach=1),
    "row-lstm": RowLSTM(width=6, layers=2),
    "row-lstm-shallow": RowLSTM(width=4, layers=1),
}
CHANNELS, HEIGHT, WIDTH = 3, 4, 5
POSITIONS = HEIGHT * WIDTH
each_network = pytest.mark.parametrize("settings", NETWORKS.values(), ids=NETWORKS.keys())
both_kinds = pytest.mark.parametrize("classes", [None, 3])


def network(settings, classes=None, dtype=torch.float64, size=(HEIGHT, WIDTH)):
    """With noise on all weights: branches that start at zero would hide a leak."""
    torch.manual_seed(0)
    module = settings.build(CHANNELS, *size, classes).to(dtype)
    with torch.no_grad():
        for p in module.parameters():
            p.add_(0.3 * torch.randn(p.shape, dtype=dtype))
    return module


def grid(n, dtype=torch.float64, size=(HEIGHT, WIDTH)):
    return torch.rand(n, CHANNELS, *size, generator=torch.Generator().manual_seed(1), dtype=dtype)


def labels(n, classes):
    return None if classes is None else torch.arange(n) % classes


@each_network
@both_kinds
def test_shape(settings, classes):
    out = network(settings, classes)(grid(2), labels(2, classes))
    assert out.shape == (2, settings.width, HEIGHT, WIDTH)


@each_network
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
def test_gradients_reach_strictly_earlier_positions_and_no_others(settings, training):
    module = network(settings).train(training)
    h = grid(1).requires_grad_()
    out = module(h).flatten(2)
    for position in range(POSITIONS):
        (gradient,) = torch.autograd.grad(out[:, :, position].sum(), h, retain_graph=True, allow_unused=True)
        reached = torch.zeros(POSITIONS) if gradient is None else gradient.abs().sum((0, 1)).flatten()
        assert (reached[position:] == 0).all()


@each_network
def test_every_earlier_position_is_seen(settings):
    h = grid(1).requires_grad_()
    out = network(settings)(h).flatten(2)
    for position in range(1, POSITIONS):
        (gradient,) = torch.autograd.grad(out[:, :, position].sum(), h, retain_graph=True)
        assert (gradient.abs().sum((0, 1)).flatten()[:position] > 0).all()


@each_network
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_what_comes_later_changes_no_bit(settings, dtype):
    module, h = network(settings, dtype=dtype), grid(2, dtype)
    with torch.no_grad():
        before = module(h).flatten(2)
        for position in range(POSITIONS):
            other = h.clone()
            other.flatten(2)[:, :, position:] = 7 * torch.rand(2, CHANNELS, POSITIONS - position, dtype=dtype)
            assert torch.equal(module(other).flatten(2)[:, :, : position + 1], before[:, :, : position + 1])


@each_network
@both_kinds
@pytest.mark.parametrize("size", [(4, 5), (1, 6), (5, 1)], ids=str)
def test_steps_give_what_the_whole_pass_gives(settings, classes, size):
    module, h, given = network(settings, classes, size=size), grid(3, size=size), labels(3, classes)
    with torch.no_grad():
        whole, patches = module(h, given).flatten(2), h.flatten(2)
        state = module.begin(3, given, h)
        for position in range(patches.shape[2]):
            features = module.step(state, position, patches[:, :, position - 1] if position else None)
            # Float64 products in another order.
            torch.testing.assert_close(features, whole[:, :, position], atol=1e-10, rtol=0)


@each_network
def test_steps_of_two_draws_do_not_mix(settings):
    module, h = network(settings), grid(2)
    with torch.no_grad():
        one, other = (module.begin(1, None, h) for _ in range(2))
        whole = module(h).flatten(2)
        for position in range(POSITIONS):
            for i, state in enumerate((one, other)):
                before = h.flatten(2)[i : i + 1, :, position - 1] if position else None
                features = module.step(state, position, before)
                torch.testing.assert_close(features, whole[i : i + 1, :, position], atol=1e-10, rtol=0)


@each_network
@both_kinds
def test_batch_is_a_loop_of_singles(settings, classes):
    module, h, given = network(settings, classes), grid(3), labels(3, classes)
    singles = [module(h[i : i + 1], None if given is None else given[i : i + 1]) for i in range(3)]
    torch.testing.assert_close(module(h, given), torch.cat(singles), atol=1e-12, rtol=0)


@each_network
def test_the_label_matters_everywhere(settings):
    module, h = network(settings, 2), grid(1)
    difference = (module(h, torch.tensor([0])) - module(h, torch.tensor([1]))).abs().sum(1)
    assert (difference > 0).all()


@each_network
@both_kinds
def test_every_parameter_gets_a_gradient(settings, classes):
    module = network(settings, classes)
    module(grid(6), labels(6, classes)).square().sum().backward()
    for name, p in module.named_parameters():
        assert p.grad is not None and p.grad.abs().max() > 0, name


@each_network
def test_settings_survive_json(settings):
    assert from_json(to_json(settings)) == settings


@pytest.mark.parametrize(
    "wrong",
    [
        (Transformer, {"width": 10, "heads": 4}),
        (Transformer, {"layers": 0}),
        (Transformer, {"reach": 0}),
        (RowLSTM, {"width": 7}),
        (RowLSTM, {"layers": 0}),
    ],
    ids=str,
)
def test_settings_that_make_no_network_are_refused(wrong):
    cls, values = wrong
    with pytest.raises(RecipeError):
        cls(**values)
