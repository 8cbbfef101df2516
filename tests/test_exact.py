"""Networks of whole numbers: exact whatever the order of summation, near to the float ones that they are made from."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from imprior.errors import RecipeError, RunError
from imprior.exact import layers
from imprior.exact.arithmetic import LARGEST, accumulation_bound, rescale, whole_convolution
from imprior.exact.layers import STREAM, WholeConvolution
from imprior.exact.network import FRACTION, Whole, to_real, to_whole
from imprior.nn.convolutional import convolution, doubling
from imprior.nn.unet import stage


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def whole_numbers(shape, largest, seed=0):
    return torch.randint(-largest, largest + 1, shape, generator=rng(seed)).float()


@pytest.mark.parametrize("shift", [-3, 0, 1, 5, 12])
def test_rescaling_is_that_of_integers(shift):
    x = whole_numbers((1000,), 1 << 22)
    integers = x.long()
    expected = integers << -shift if shift < 0 else (integers + (1 << shift >> 1)) >> shift
    assert torch.equal(rescale(x, shift).long(), expected)
    assert torch.equal(rescale(x.double(), shift).long(), expected)


@pytest.mark.parametrize("inputs, size, stride", [(96, 3, 1), (192, 3, 1), (48, 1, 1), (64, 2, 2)])
def test_a_convolution_of_whole_numbers_is_exact_in_any_format_thread_count_and_order(inputs, size, stride):
    weight = whole_numbers((32, inputs, size, size), 127)
    bias = whole_numbers((32,), 1 << 20, seed=1)
    largest = int((LARGEST - 1 - (1 << 20)) / weight.abs().flatten(1).sum(1).max())
    x = whole_numbers((2, inputs, 19, 23), largest, seed=2)
    assert accumulation_bound(weight, bias, largest) < LARGEST
    padding = size // 2 if stride == 1 else 0
    blocks = F.unfold(x.double(), size, padding=padding, stride=stride)  # [N, I·k·k, places]
    expected = weight.double().flatten(1) @ blocks + bias.double()[:, None]
    threads = torch.get_num_threads()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            for form in (torch.contiguous_format, torch.channels_last):
                given = x.contiguous(memory_format=form), weight.contiguous(memory_format=form)
                for fast in (True, False):
                    with torch.backends.mkldnn.flags(enabled=fast, allow_tf32=None):
                        result = whole_convolution(*given, bias, stride=stride, padding=padding)
                    assert torch.equal(result.flatten(2).double(), expected)
        order = torch.randperm(inputs, generator=rng(3))
        shuffled = whole_convolution(x[:, order], weight[:, order], bias, stride=stride, padding=padding)
        assert torch.equal(shuffled.flatten(2).double(), expected)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(whole_convolution(x, weight, bias, stride=stride, padding=padding), result)
    finally:
        torch.set_num_threads(threads)


def test_a_convolution_that_transforms_is_found_out(monkeypatch):
    x, weight, bias = whole_numbers((1, 4, 8, 8), 100), whole_numbers((4, 4, 3, 3), 127), torch.zeros(4)
    right = whole_convolution(x, weight, bias, padding=1)
    plain = F.conv2d

    def transforming(x, *rest):
        return plain(x, *rest) + (0.3 if x.dtype == torch.float32 else 1e-9)

    monkeypatch.setattr(F, "conv2d", transforming)
    assert torch.equal(whole_convolution(x, weight, bias, padding=1), right)


def a_network(slope=0.125):
    torch.manual_seed(0)
    network = nn.Sequential(
        convolution(6, 16, 1),
        *stage(16, 2, slope),
        doubling(16, 12),
        nn.LeakyReLU(slope),
        *stage(12, 1),
        convolution(12, 8, 2, stride=2),
        nn.LeakyReLU(0.0),
        convolution(8, 16, 3),
        nn.PixelShuffle(4),
    )
    with torch.no_grad():
        for p in network.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=rng(1)))
    return network


def grids(seed=0, side=8):
    return torch.randn(2, 6, side, side, generator=rng(seed))


def adopted():
    network = a_network()
    twin = Whole(network)
    twin.adopt(network, [grids(s) for s in range(4)])
    return network, twin


def test_a_network_in_whole_numbers_is_near_the_float_one():
    network, twin = adopted()
    x = grids(9)
    with torch.no_grad():
        wanted, found = network(x), to_real(twin(to_whole(x)))
    assert (found - wanted).square().mean() < 2e-3 * wanted.square().mean()  # 27 dB after ten layers


def test_slopes_that_whole_numbers_do_not_have_are_refused():
    for slope in (0.1, 1.0, 2.0**-12):
        with pytest.raises(RecipeError, match="power of two"):
            Whole(a_network(slope))


def test_it_gives_whole_numbers_the_same_in_any_format_and_tile():
    _, twin = adopted()
    x = to_whole(grids(9, side=24))
    whole = twin(x)
    assert torch.equal(whole, whole.round()) and whole.abs().max() <= STREAM
    assert torch.equal(twin(x.contiguous(memory_format=torch.channels_last)), whole)
    assert torch.equal(twin(x[:1]), whole[:1])
    tile = twin(x[..., 2:22, :])  # the convolutions see six places of the input to each side
    scale = whole.shape[-1] // 24
    assert torch.equal(tile[..., 6 * scale : -6 * scale, :], whole[..., 8 * scale : -8 * scale, :])


def test_saved_and_loaded_it_is_the_same_and_small():
    _, twin = adopted()
    other = Whole(a_network())
    other.load_state_dict(twin.state_dict())
    x = to_whole(grids(3))
    assert torch.equal(other(x), twin(x))
    state = twin.state_dict()
    assert all(t.dtype in (torch.int8, torch.int32) for t in state.values())
    assert {k for k in state if k.endswith("weight")} == {k for k in state if state[k].dim() == 4}


def test_the_float_network_that_it_gives_makes_it_again():
    _, twin = adopted()
    back = a_network()
    twin.give(back)
    again = Whole(back)
    again.adopt(back, [grids(s) for s in range(4)])
    for (name, wanted), found in zip(twin.state_dict().items(), again.state_dict().values(), strict=True):
        if name.endswith("weight"):
            assert torch.equal(found, wanted)
    x = grids(9)
    with torch.no_grad():
        difference = to_real(twin(to_whole(x))) - back(x)
    assert difference.square().mean() < 1e-4 * back(x).square().mean()  # only activations are rounded


def test_inputs_of_any_size_stay_within_their_bounds():
    _, twin = adopted()
    result = twin(torch.full((1, 6, 8, 8), float(STREAM)))
    assert torch.equal(result, result.round()) and result.abs().max() <= STREAM


def test_weights_that_break_the_bound_are_refused():
    _, twin = adopted()
    layer = next(m for m in twin.modules() if isinstance(m, WholeConvolution))
    layer.entry[1] = 1 << 22
    with pytest.raises(RunError, match="2\\^24"):
        twin.prove()
    state = twin.state_dict()
    other = Whole(a_network())
    other.load_state_dict(state)
    with pytest.raises(RunError):
        other(to_whole(grids()))


def test_binary_places():
    x = torch.tensor([0.5, -1.25, 3.0])
    assert torch.equal(to_real(to_whole(x)), x) and to_whole(torch.tensor(1.0)) == 1 << FRACTION


def test_weights_are_coarser_where_inputs_need_the_room(monkeypatch):
    """One unit that may be large would leave the others few binary places below the bound."""
    torch.manual_seed(0)
    layer = convolution(64, 8, 3)
    x = 0.1 * torch.randn(2, 64, 16, 16, generator=rng())
    x[:, 0, 0, 0] = 100

    def error():
        twin = Whole(nn.Sequential(layer))
        twin.adopt(nn.Sequential(layer), [x])
        with torch.no_grad():
            return float((to_real(twin(to_whole(x))) - layer(x)).square().mean())

    found = error()
    monkeypatch.setattr(layers, "WEIGHTS", (127,))
    assert found < 0.5 * error()
