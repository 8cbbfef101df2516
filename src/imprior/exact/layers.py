"""Layers of whole numbers, and how they are made from trained ones.

A grid of activations is h = round(x · 2^fraction), whole numbers in float32, and so is what every layer gives:

    h ──► rescale, clamp to ±largest ──► convolution with whole weights ──► + bias ──► rescale to the result's fraction

A layer is made from a float one by choosing powers of two only: one a channel for the weights (so that the largest of a
channel uses all bits, or fewer where inputs want the room), one for the input (so that what was seen of it fits).
`largest` is what keeps every partial sum below 2^24, by the weights' own bound.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from imprior.errors import RecipeError, RunError
from imprior.exact.arithmetic import LARGEST, accumulation_bound, power, times, whole_convolution

WEIGHTS = (127, 63, 31, 15)  # largest weights that are tried: 8 bits with the sign, and fewer
STREAM = 1 << 20  # largest activation between layers
HEADROOM = 1.5  # inputs may be so much larger than any that was seen before they are clamped


@dataclass(frozen=True)
class Ready:
    """What a layer computes with, proved and in float32.

    Attributes:
        weight, bias: whole.
        entry: power of two that inputs are multiplied by; None for 1.
        largest: where they are clamped then.
        factor: powers of two [O, 1, 1] that sums are multiplied by.
    """

    weight: Tensor
    bias: Tensor
    entry: Tensor | None
    largest: int
    factor: Tensor


class WholeConvolution(nn.Module):
    """A convolution (or one followed by depth to space) of whole numbers.

    Args:
        outputs, inputs, size, stride: of the convolution; it keeps (stride 1) or divides (stride = size) the grid.
        double: whether groups of four channels become 2x2 places of a grid twice as fine.
    """

    weight: Tensor
    bias: Tensor
    shift: Tensor
    entry: Tensor
    proved: bool

    def __init__(self, outputs: int, inputs: int, size: int, *, stride: int = 1, double: bool = False) -> None:
        super().__init__()
        self.stride, self.padding, self.double_grid = stride, size // 2 if stride == 1 else 0, double
        self.register_buffer("weight", torch.zeros(outputs, inputs, size, size, dtype=torch.int8))
        self.register_buffer("bias", torch.zeros(outputs, dtype=torch.int32))
        self.register_buffer("shift", torch.zeros(outputs, dtype=torch.int8))
        self.register_buffer("entry", torch.tensor([0, 1], dtype=torch.int32))  # right shift of inputs, their largest
        self._ready: Ready | None = None

    def take(
        self, weight: Tensor, bias: Tensor, *, seen: float, square: float, fraction_in: int, fraction_out: int
    ) -> None:
        """Become the whole-number form of a float convolution.

        Coarser weights leave room for finer inputs below the bound: those are taken with which the rounding of both
        is expected to cost least.

        Args:
            weight: [O, I, k, k].
            bias: [O].
            seen: largest magnitude of its inputs on calibration images.
            square: their mean square.
            fraction_in: binary places of the grid that it is given.
            fraction_out: binary places of the grid that it gives.
        """
        weight, bias = weight.double(), bias.double()
        most, squares = weight.abs().flatten(1).amax(1).clamp_min(1e-12), weight.square().flatten(1).sum(1)
        least = math.inf
        for limit in WEIGHTS:
            places = torch.floor(torch.log2(limit / most)).clamp(max=24)  # [O]
            whole = torch.round(weight * torch.exp2(places).view(-1, 1, 1, 1)).clamp(-limit, limit)
            # As fine as the bound lets inputs be: biases and rounding offsets, of which there is little, have a share.
            total = whole.abs().flatten(1).sum(1).clamp_min(1)
            for fraction in range(fraction_in, -24, -1):
                shift = (fraction + places - fraction_out).clamp(-16, 22)
                room = LARGEST - 1 - bias.abs() * torch.exp2(fraction + places) - torch.exp2(shift.max() - 1)
                largest = min(int((room / total).min()), STREAM)
                if largest >= HEADROOM * seen * 2.0**fraction:
                    break
            of_weights = weight[0].numel() * square * torch.exp2(-2 * places)
            of_inputs = squares * 4.0**-fraction if fraction < fraction_in else 0.0
            error = float((of_weights + of_inputs).mean())  # in twelfths: the variance of rounding
            if error < least:
                least = error
                self.weight.copy_(whole)
                self.bias.copy_(torch.round(bias * torch.exp2(fraction + places)))
                self.shift.copy_(shift)
                self.entry.copy_(torch.tensor([fraction_in - fraction, largest]))
        self._ready = None

    def give(self, *, fraction_in: int, fraction_out: int) -> tuple[Tensor, Tensor]:
        """The float convolution that this one is the whole-number form of; `take` makes the same layer of it again.

        Args:
            fraction_in, fraction_out: as `take` was told.

        Returns:
            (weight [O, I, k, k], bias [O]), float64.
        """
        fraction = fraction_in - int(self.entry[0])  # of what is convolved
        unit = torch.exp2(-self.shift.double() - fraction_out)
        return self.weight * (unit * 2.0**fraction).view(-1, 1, 1, 1), self.bias * unit

    def prove(self) -> None:
        """Check that no partial sum can reach 2^24.

        Raises:
            RunError: the weights don't keep the bound, so decoding would not be exact.
        """
        largest = int(self.entry[1])
        offset = float(torch.exp2(self.shift.double().max() - 1))
        if accumulation_bound(self.weight, self.bias, largest) + offset >= LARGEST:
            raise RunError("a layer of whole numbers breaks its bound of 2^24: damaged weights")

    def forward(self, h: Tensor) -> Tensor:
        """[N, I, h, w] -> [N, O, h', w'] (or [N, O/4, 2h, 2w]), whole numbers in float32 within ±2^20."""
        ready = self._ready
        if ready is None or ready.weight.device != h.device:
            self.prove()
            weight = self.weight.to(h.device, torch.float32).contiguous(memory_format=torch.channels_last)
            shift, largest = self.entry.tolist()
            entry = power(shift, h) if shift else None
            factor = power(self.shift.to(h.device).view(-1, 1, 1), h)
            ready = self._ready = Ready(weight, self.bias.to(h.device, torch.float32), entry, largest, factor)
        most = ready.largest
        given = h.clamp(-most, most) if ready.entry is None else times(h, ready.entry).clamp_(-most, most)
        result = whole_convolution(given, ready.weight, ready.bias, stride=self.stride, padding=self.padding)
        result = times(result, ready.factor).clamp_(-STREAM, STREAM)
        return nn.functional.pixel_shuffle(result, 2) if self.double_grid else result

    def _load_from_state_dict(self, *arguments: object) -> None:
        self._ready = None
        super()._load_from_state_dict(*arguments)  # type: ignore[arg-type]


def bend(slope: float) -> int:
    """How many binary places a rectifier of this slope below zero shifts what is there; 0 where it leaves nothing.

    Raises:
        RecipeError: neither 0 nor a power of two below 1.

    >>> bend(0.125)
    3
    """
    mantissa, exponent = math.frexp(slope)
    if slope and (mantissa != 0.5 or not -10 < exponent <= 0):
        raise RecipeError(f"in whole numbers a slope is a power of two, such as 0.125, not {slope:g}")
    return 1 - exponent if slope else 0


class WholeRectifier(nn.Module):
    """max(h, slope · h), rounded: the whole-number form of a ReLU, plain or leaky. It works in place.

    Args:
        slope: below zero: 0, or a power of two below 1.
    """

    def __init__(self, slope: float) -> None:
        super().__init__()
        bend(slope)  # refuses slopes that have none
        self.slope = slope

    def forward(self, h: Tensor) -> Tensor:
        """[N, c, h, w] -> the same."""
        if not self.slope:
            return h.relu_()
        # h · slope is exact in float32; rounding, halves upwards as everywhere, leaves the positive ones as they are.
        return nn.functional.leaky_relu_(h, self.slope).add_(0.5).floor_()


class WholeBlock(nn.Module):
    """h + second(act(first(h))), within ±2^20: the whole-number form of `nn.unet.Block`.

    Args:
        channels: of the grid.
        slope: of the activation below zero: 0, or a power of two below 1.
    """

    def __init__(self, channels: int, slope: float = 0.0) -> None:
        super().__init__()
        self.act = WholeRectifier(slope)
        self.first = WholeConvolution(channels, channels, 3)
        self.second = WholeConvolution(channels, channels, 3)

    def forward(self, h: Tensor) -> Tensor:
        """[N, c, h, w] -> the same."""
        return (h + self.second(self.act(self.first(h)))).clamp_(-STREAM, STREAM)  # type: ignore[no-any-return]
