"""A whole network in whole numbers: the twin of a float one, and its making.

    twin(float network) ──► layers of the same shapes, empty ──► adopt(network, images) ──► filled
                                                                 give(network) ──► the float one, of these weights

Known are convolutions, 2x2 transposed convolutions of stride 2, residual blocks, rectifiers and depth to space, in an
nn.Sequential: what the codec's networks are made of.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from imprior.exact.layers import WholeBlock, WholeConvolution, WholeRectifier
from imprior.nn.unet import Block

FRACTION = 10  # binary places of grids between layers
MIDDLE = 10  # of what is inside a residual block


class Whole(nn.Module):
    """Layers one after another; takes and gives whole numbers of `FRACTION` binary places in float32."""

    def __init__(self, network: nn.Sequential) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(_twin(layer) for layer in network))

    def forward(self, h: Tensor) -> Tensor:
        """[N, I, h, w] -> [N, O, h', w']."""
        return self.layers(h)  # type: ignore[no-any-return]

    def prove(self) -> None:
        """Check the bounds of all layers.

        Raises:
            RunError: one is broken.
        """
        for layer in self.modules():
            if isinstance(layer, WholeConvolution):
                layer.prove()

    @torch.no_grad()
    def adopt(self, network: nn.Sequential, inputs: Iterable[Tensor]) -> None:
        """Take over the weights of the float network.

        Args:
            network: of the structure that this one was made for, in float32.
            inputs: grids [N, I, h, w] as it sees them in use, which tell how large activations become.
        """
        grids = [x.float() for x in inputs]
        for float_layer, layer in zip(network, self.layers, strict=True):
            if isinstance(layer, WholeBlock):
                assert isinstance(float_layer, Block)
                inside = [float_layer.inside(h) for h in grids]
                _take(layer.first, float_layer.first, grids, FRACTION, MIDDLE)
                _take(layer.second, float_layer.second, inside, MIDDLE, FRACTION)
            elif isinstance(layer, WholeConvolution):
                _take(layer, float_layer, grids, FRACTION, FRACTION)
            grids = [float_layer(h) for h in grids]

    @torch.no_grad()
    def give(self, network: nn.Sequential) -> None:
        """Give the float network the weights of this one, which are rounded: `adopt` would make the same of them."""
        for float_layer, layer in zip(network, self.layers, strict=True):
            if isinstance(layer, WholeBlock):
                assert isinstance(float_layer, Block)
                _give(layer.first, float_layer.first, FRACTION, MIDDLE)
                _give(layer.second, float_layer.second, MIDDLE, FRACTION)
            elif isinstance(layer, WholeConvolution):
                _give(layer, float_layer, FRACTION, FRACTION)


def _twin(layer: nn.Module) -> nn.Module:
    if isinstance(layer, Block):
        return WholeBlock(layer.first.in_channels, layer.slope)
    if isinstance(layer, nn.Conv2d):
        return WholeConvolution(layer.out_channels, layer.in_channels, layer.kernel_size[0], stride=layer.stride[0])
    if isinstance(layer, nn.ConvTranspose2d):
        assert layer.kernel_size == layer.stride == (2, 2), "transposed convolutions double the grid without overlap"
        return WholeConvolution(4 * layer.out_channels, layer.in_channels, 1, double=True)
    if isinstance(layer, nn.LeakyReLU):
        return WholeRectifier(layer.negative_slope)
    assert isinstance(layer, nn.PixelShuffle | nn.PixelUnshuffle), f"no whole-number form of {layer}"
    return layer


def _take(layer: WholeConvolution, given: nn.Module, grids: list[Tensor], fraction_in: int, fraction_out: int) -> None:
    seen = max(float(h.abs().max()) for h in grids)
    square = sum(float(h.square().mean()) for h in grids) / len(grids)
    assert isinstance(given, nn.Conv2d | nn.ConvTranspose2d) and given.bias is not None
    weight, bias = given.weight, given.bias
    if isinstance(given, nn.ConvTranspose2d):
        # [I, O, 2, 2] -> [O·4, I, 1, 1]: channel o·4 + 2·row + column is what depth to space puts there.
        weight, bias = weight.permute(1, 2, 3, 0).flatten(0, 2)[..., None, None], bias.repeat_interleave(4)
    layer.take(weight, bias, seen=seen, square=square, fraction_in=fraction_in, fraction_out=fraction_out)


def _give(layer: WholeConvolution, taker: nn.Module, fraction_in: int, fraction_out: int) -> None:
    assert isinstance(taker, nn.Conv2d | nn.ConvTranspose2d) and taker.bias is not None
    weight, bias = layer.give(fraction_in=fraction_in, fraction_out=fraction_out)
    if isinstance(taker, nn.ConvTranspose2d):  # as in `_take`, backwards
        weight, bias = weight.view(-1, 2, 2, weight.shape[1]).permute(3, 0, 1, 2), bias[::4]
    taker.weight.copy_(weight)
    taker.bias.copy_(bias)


def to_whole(x: Tensor) -> Tensor:
    """Real numbers -> whole ones of `FRACTION` binary places, in float32."""
    return torch.round(x * (1 << FRACTION))


def to_real(h: Tensor) -> Tensor:
    """Whole numbers of `FRACTION` binary places -> real ones."""
    return h / (1 << FRACTION)
