"""Laws of the networks: shapes at any size, signals that neither fade nor burst, stated starts."""

from __future__ import annotations

import dataclasses
from typing import get_args

import pytest
import torch
from torch import nn

from imprior.errors import RecipeError
from imprior.nn.convolutional import Convolutional, Pad, ResidualBlock, convolution, doubling
from imprior.nn.dense import ACTIVATIONS, GAINS, Activation, Dense, GatedLayer, ResidualLayer
from imprior.settings import from_json, to_json

NETWORKS = {
    "linear": Dense(()),
    "plain": Dense((20, 10)),
    "normalised": Dense((20, 10), block="normalised", activation="elu"),
    "residual": Dense((20, 20, 10), block="residual", activation="gelu"),
    "gated": Dense((20, 10), block="gated"),
    "conv": Convolutional((6, 8), blocks=1, width=12),
    "conv-deep": Convolutional((6, 8, 10), blocks=2, width=0, activation="relu"),
    "conv-groups": Convolutional((6, 8), blocks=1, width=12, groups=2),
    "conv-spatial": Convolutional((6, 8), blocks=1, spatial=True),
}
SHAPES = [(1, 28, 28), (3, 13, 10)]
each_network = pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS.keys())
each_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


def perturbed(module: nn.Module, scale: float = 0.05) -> nn.Module:
    """The module with noise on all parameters: away from starts at zero, behind which nothing has a gradient."""
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in module.parameters():
            p.add_(scale * torch.randn(p.shape, generator=rng, dtype=p.dtype))
    return module


@each_network
@each_shape
def test_shapes(network, shape):
    z = network.encoder(shape, 5)(torch.rand(2, *shape))
    assert z.shape == (2, *network.code_shape(shape, 5))
    assert network.decoder(5, shape, 4)(z).shape == (2, 4, *shape[1:])


@each_network
@each_shape
def test_every_parameter_gets_a_gradient(network, shape):
    encoder, decoder = perturbed(network.encoder(shape, 5)), perturbed(network.decoder(5, shape, 4))
    decoder(encoder(torch.rand(4, *shape))).square().sum().backward()
    for part in (encoder, decoder):
        for name, p in part.named_parameters():
            assert p.grad is not None and p.grad.abs().max() > 0, name


@each_network
def test_batch_is_a_loop_of_singles(network):
    shape = (1, 28, 28)
    encoder = perturbed(network.encoder(shape, 5)).double()
    x = torch.rand(3, *shape, dtype=torch.float64)
    singles = torch.cat([encoder(x[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(encoder(x), singles, atol=1e-12, rtol=0)  # float64 products in another order


@each_network
def test_settings_survive_json(network):
    assert from_json(to_json(network)) == network


@each_network
def test_channels_last_gives_the_same(network):
    shape = (3, 13, 10)
    encoder, decoder = perturbed(network.encoder(shape, 5)).double(), perturbed(network.decoder(5, shape, 3)).double()
    x = torch.rand(2, *shape, dtype=torch.float64)
    before = decoder(encoder(x))
    encoder, decoder = encoder.to(memory_format=torch.channels_last), decoder.to(memory_format=torch.channels_last)
    torch.testing.assert_close(decoder(encoder(x)), before, atol=1e-12, rtol=0)


@pytest.mark.parametrize("activation", get_args(Activation))
def test_gain_keeps_the_mean_square(activation):
    rng = torch.Generator().manual_seed(0)
    u = torch.randn(1_000_000, generator=rng, dtype=torch.float64)
    kept = (GAINS[activation] * ACTIVATIONS[activation]()(u)).square().mean()
    assert kept.item() == pytest.approx(1, abs=0.01)  # three times the error of a million draws of a heavy square


@pytest.mark.parametrize("activation", get_args(Activation))
def test_signal_keeps_its_size_through_plain_layers(activation):
    # Median over 20 nets: the size is kept in expectation over weights, and wanders in each single net.
    sizes = []
    for seed in range(20):
        torch.manual_seed(seed)
        layers = Dense((200,) * 12, activation=activation).encoder((1, 20, 20), 1)[1:-1]
        sizes.append(layers(torch.randn(8, 400)).square().mean())
    first = ACTIVATIONS[activation]()(torch.randn(100_000)).square().mean()
    # Without the gain it would be at most 0.25 (tanh), and 1e-4 for relu.
    assert 1 / 2 < torch.stack(sizes).median() / first < 2


def test_gated_layer_is_product_with_sigmoid():
    layer = GatedLayer(3, 2).double()
    h = torch.randn(5, 3, dtype=torch.float64)
    a, b = layer.both.weight[:2], layer.both.weight[2:]
    torch.testing.assert_close(layer(h), (h @ a.T) * torch.sigmoid(h @ b.T))


def test_residual_stack_starts_as_a_shallow_one():
    deep = Dense((30,) * 64, block="residual").encoder((1, 5, 5), 4)
    x = torch.rand(3, 1, 5, 5)
    shallow = nn.Sequential(*[m for m in deep if not isinstance(m, ResidualLayer)])
    assert sum(isinstance(m, ResidualLayer) for m in deep) == 63
    torch.testing.assert_close(deep(x), shallow(x), atol=0, rtol=0)


def test_convolutional_blocks_start_as_the_identity():
    h = torch.randn(2, 6, 5, 5)
    assert torch.equal(ResidualBlock(6, Convolutional())(h), h)


def gradient_ratio(network):
    """Gradient of the first layer's weight over that of the last."""
    torch.manual_seed(0)
    net = network.encoder((1, 7, 7), 10)
    net(torch.rand(64, 1, 7, 7)).square().sum().backward()
    linears = [m.weight.grad.norm() for m in net.modules() if isinstance(m, nn.Linear)]
    return (linears[0] / linears[-1]).item()


def test_residual_stack_carries_gradients_through_64_layers():
    # Sigmoid: the textbook's vanishing gradient. The plain stack is here to show that there is something to cure.
    assert gradient_ratio(Dense((50,) * 64, activation="sigmoid")) < 1e-6
    assert gradient_ratio(Dense((50,) * 64, activation="sigmoid", block="residual")) > 0.01


@pytest.mark.parametrize(("block", "same"), [("plain", False), ("normalised", True)])
def test_normalised_stack_does_not_feel_the_size_of_its_weights(block, same):
    net = Dense((50,) * 64, block=block).encoder((1, 7, 7), 10)
    x = torch.rand(8, 1, 7, 7)
    before = net(x)
    with torch.no_grad():
        for layer in [m for m in net if isinstance(m, nn.Linear)][:-1]:
            layer.weight *= 0.5
    # The normalisation's 1e-5 beside a variance of 1/4 is felt a little, in 64 layers.
    assert torch.allclose(net(x), before, atol=0.02) == same


@pytest.mark.parametrize("size", [(8, 8), (9, 12), (5, 7)])
def test_padding_repeats_the_edge_and_no_more(size):
    x = torch.rand(1, 2, *size)
    padded = Pad(4)(x)
    assert padded.shape[-2] % 4 == 0 and padded.shape[-1] % 4 == 0
    assert padded.shape[-2] - size[0] < 4 and padded.shape[-1] - size[1] < 4
    assert torch.equal(padded[..., : size[0], : size[1]], x)
    assert torch.equal(padded[..., size[0] :, : size[1]], x[..., -1:, :].expand_as(padded[..., size[0] :, : size[1]]))


def test_spatial_network_commutes_with_shifts_by_its_stride():
    network = Convolutional((6, 8), blocks=1, spatial=True)
    encoder, decoder = perturbed(network.encoder((1, 0, 0), 3)), perturbed(network.decoder(3, (1, 0, 0), 1))
    wide = torch.rand(1, 1, 88, 92)
    apart = decoder(encoder(wide[..., 4:]))[..., 36:52, 36:52]
    inside = decoder(encoder(wide))[..., 36:52, 40:56]  # further from the edges than a pixel sees
    torch.testing.assert_close(apart, inside, atol=1e-5, rtol=0)


def test_spatial_decoder_without_a_size_gives_whole_strides():
    network = Convolutional((6, 8), blocks=1, spatial=True)
    assert network.decoder(3, (1, 0, 0), 2)(torch.rand(1, 3, 4, 5)).shape == (1, 2, 16, 20)


def test_halving_and_doubling_see_disjoint_squares():
    down, up = convolution(2, 3, 2, stride=2), doubling(3, 2)
    x = torch.zeros(1, 2, 8, 8)
    x[0, 0, 2, 5] = 1
    assert (down(x).abs().sum(1)[0] > 0).nonzero().tolist() == [[1, 2]]
    z = torch.zeros(1, 3, 4, 4)
    z[0, 0, 1, 2] = 1
    assert (up(z).abs().sum(1)[0] > 0).nonzero().tolist() == [[2, 4], [2, 5], [3, 4], [3, 5]]


@pytest.mark.parametrize(
    "wrong",
    [
        (Dense, {"widths": (10, 0)}),
        (Convolutional, {"channels": ()}),
        (Convolutional, {"channels": (8, -1)}),
        (Convolutional, {"blocks": -1}),
        (Convolutional, {"channels": (8, 12), "groups": 8}),
    ],
    ids=str,
)
def test_settings_that_make_no_network_are_refused(wrong):
    cls, values = wrong
    with pytest.raises(RecipeError):
        cls(**values)
    assert dataclasses.is_dataclass(cls)
