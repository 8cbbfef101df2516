"""The half of the photo codec that both ends share, in whole numbers: what is decoded is the same on every machine.

    z ──► hyper-synthesis ──► features ─┐
    slices before, quality ─────────────┴─► context ──► mean, table of each coefficient ──► k
    n = (k · 2^6 + mean) · inverse gain ──► linear (float64) + deep synthesis ──► pixels 0 … 255

Everything here is computed in whole numbers: k and z are integers, n has 10 binary places in units of a coefficient's
spread, means have 6 in cells of quantisation, and the tables are integer frequencies. Coefficients whose table is the
narrowest are certain to be their mean and are not coded.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from imprior.coding.tables import FrequencyTables
from imprior.distributions.quantised import LEAST_SCALE, LogisticTables, between
from imprior.errors import RunError
from imprior.exact.arithmetic import rescale
from imprior.exact.layers import STREAM, bend
from imprior.exact.network import FRACTION, Whole
from imprior.models import codec_symbols as symbols
from imprior.models.codec_symbols import LIMIT, LOG_STEP, MOST, SCALES, SIDE_MOST
from imprior.nn.block_transform import BLOCK, Synthesis
from imprior.promises import Sink, Source

RATES = 101  # quality levels of a file, 0 to 100
MEAN = 6  # binary places of means, in cells
UNIT = 8  # binary places of spreads in cells
INVERSE = 14  # binary places of cells in spreads
LINEAR = 16  # binary places of the linear synthesis' weights
LOG = 20  # binary places of table numbers


@dataclass(frozen=True)
class Way:
    """What images become inside the codec.

    Attributes:
        bits, side_bits: [N], what they cost, and what z alone costs.
        side: rounded z [N, side, h/4, w/4].
        inputs: what the context of each slice was given, [N, …, h, w].
        coefficients: what arrives, in units of spreads, [N, U, h, w].
    """

    bits: Tensor
    side_bits: Tensor
    side: Tensor
    inputs: list[Tensor]
    coefficients: Tensor


class Trained(Protocol):
    """A trained codec, of which the whole-number half is made."""

    basis: Tensor
    spread: Tensor
    log_gain: nn.Parameter
    slices: tuple[int, ...]
    side: LogisticTables
    slope: float
    from_side: nn.Sequential
    contexts: nn.ModuleList
    synthesis: Synthesis


class WholeHalf(nn.Module):
    """See the module.

    Args:
        codec: the float codec; its networks' shapes are taken.
    """

    unit_one = 1 << UNIT  # what stands for a spread of one cell in `unit`
    unit: Tensor
    inverse: Tensor
    offset: Tensor
    linear: Tensor
    side_tables: Tensor
    scale_tables: Tensor
    bend: Tensor | None

    def __init__(self, codec: Trained) -> None:
        super().__init__()
        self._proved = False
        anchors, self.side, _ = codec.side.logits.shape
        units, pixels = codec.basis.shape  # of a block, in all channels
        self.slices = codec.slices
        self.from_side = Whole(codec.from_side)
        self.contexts = nn.ModuleList(Whole(cast(nn.Sequential, context)) for context in codec.contexts)
        self.deep = Whole(codec.synthesis.deep)
        # Of all rectifiers, for whoever decodes by these numbers alone.
        self._bend = bend(codec.slope)
        self.register_buffer("bend", torch.tensor(self._bend, dtype=torch.int8) if self._bend else None)
        self.register_buffer("unit", torch.zeros(RATES, units, dtype=torch.int32))
        self.register_buffer("inverse", torch.zeros(RATES, units, dtype=torch.int32))
        self.register_buffer("offset", torch.zeros(RATES, units, dtype=torch.int32))
        self.register_buffer("linear", torch.zeros(pixels, units, dtype=torch.int32))
        self.register_buffer("side_tables", torch.zeros(anchors * self.side, 2 * SIDE_MOST + 3, dtype=torch.int32))
        self.register_buffer("scale_tables", torch.zeros(SCALES, 2 * MOST + 3, dtype=torch.int32))

    @property
    def ready(self) -> bool:
        """Whether it was filled.

        Raises:
            RunError: with what breaks a bound.
        """
        if not self.scale_tables.any():
            return False
        if not self._proved:
            self.prove()
            self._proved = True
        return True

    @torch.no_grad()
    def adopt(self, codec: Trained, seen: Sequence[Way]) -> None:
        """Take over trained weights.

        Args:
            codec: in float32.
            seen: what became of training images, which tells how large activations are.
        """
        self._proved = False
        spread = codec.spread.double()
        gain = between(codec.log_gain.double(), _levels(len(codec.log_gain))).exp()  # [R,U]
        self.unit.copy_(torch.round(spread * gain * (1 << UNIT)).clamp(1, 1 << 24))
        self.inverse.copy_(torch.round((1 << INVERSE) / (spread * gain)).clamp(1, 1 << 28))
        self.offset.copy_(torch.round(((spread * gain).log() - math.log(LEAST_SCALE)) / LOG_STEP * (1 << LOG)))
        linear = codec.synthesis.weight(codec.basis).double().flatten(1)
        self.linear.copy_(torch.round(linear * spread * (1 << LINEAR)))
        self.scale_tables.copy_(symbols.gaussian_tables())
        self.side_tables.copy_(symbols.side_tables(codec.side))
        self.from_side.adopt(codec.from_side, [s.side for s in seen])
        for number, context in enumerate(self.contexts):
            float_context = cast(nn.Sequential, codec.contexts[number])
            cast(Whole, context).adopt(float_context, [s.inputs[number] for s in seen])
        self.deep.adopt(codec.synthesis.deep, [s.coefficients for s in seen])

    @torch.no_grad()
    def give(self, codec: Trained) -> None:
        """Give the float codec the networks and the linear synthesis of this half: what decodes, up to rounding.

        Its basis, spreads and gains are there already.
        """
        self.from_side.give(codec.from_side)
        for context, taker in zip(self.contexts, codec.contexts, strict=True):
            cast(Whole, context).give(cast(nn.Sequential, taker))
        self.deep.give(codec.synthesis.deep)
        weight = self.linear.double() / (1 << LINEAR) / codec.spread.double()
        codec.synthesis.become(weight, codec.basis)

    def features(self, z: Tensor) -> Tensor:
        """What z int32 [N, side, h, w] tells about the coefficients, at 1/16 of the image: whole numbers."""
        return self.from_side(z.float() * (1 << FRACTION))  # type: ignore[no-any-return]

    def told(self, rate: int, like: Tensor) -> Tensor:
        """The plane [N, 1, h, w] that tells the networks the rate."""
        return torch.full_like(like[:, :1], round((1 << FRACTION) * rate / (RATES - 1)))

    def expected(self, number: int, known: list[Tensor], rate: int) -> tuple[Tensor, Tensor]:
        """What is expected of a slice of coefficients.

        Args:
            number: of the slice.
            known: the plane of the rate, the features and the slices before, whole numbers [N, …, h, w].
            rate: 0 to RATES - 1.

        Returns:
            (means int64 [N, c, h, w] of MEAN binary places in cells, numbers of tables int64 [N, c, h, w]).
        """
        mean, scale = self.contexts[number](torch.cat(known, 1)).long().chunk(2, 1)
        here = self._here(number)
        unit, offset = (t[rate, here].long().view(-1, 1, 1) for t in (self.unit, self.offset))
        mean = _shifted(mean * unit, FRACTION + UNIT - MEAN)
        per = round((1 << LOG) / LOG_STEP)
        table = _shifted(_shifted(scale * per, FRACTION) + offset, LOG)
        return mean, table.clamp(0, SCALES - 1)

    def nearest(self, number: int, wanted: Tensor, mean: Tensor, table: Tensor, rate: int, worth: Tensor) -> Tensor:
        """The integers that stand for a slice of coefficients best, int32; 0 where they aren't coded.

        The nearest one, or the next towards 0 where that saves more bits than the larger error is worth.

        Args:
            number: of the slice.
            wanted: coefficients in units of their spread, float [N, c, h, w].
            mean, table: as `expected` gives them.
            rate: 0 to RATES - 1.
            worth: bits that the square of an error of one cell is worth, for each unit [U].

        Reference:
            Sullivan & Wiegand 1998, Rate-distortion optimization for video compression (quantisation as a decision).
        """
        here = self._here(number)
        unit = self.unit[rate, here].view(-1, 1, 1) / (1 << UNIT)
        exact = wanted * unit - mean / (1 << MEAN)
        k = torch.where(table > 0, exact.round().clamp(-LIMIT, LIMIT), 0)
        places = k.nonzero(as_tuple=True)  # few
        given, away = k[places], exact[places]
        less = given - given.sign()
        more = worth[here][places[1]] * ((less - away).square() - (given - away).square())
        saved, spent = (symbols.bits(self.scale_tables, one, table[places], MOST) for one in (given, less))
        k[places] = torch.where(more < saved - spent, less, given)
        return k.int()

    def bits(self, z: Tensor, k: Tensor, table: Tensor, rate: int) -> Tensor:
        """What an ideal entropy coder takes for z and k with their tables, all [N, …]: [N] bits, float64."""
        index = self._side_index(z.shape, rate).view(z.shape)
        coded = torch.where(table > 0, symbols.bits(self.scale_tables, k, table, MOST), 0)
        return symbols.bits(self.side_tables, z, index, SIDE_MOST).sum((1, 2, 3)) + coded.sum((1, 2, 3))

    def coefficients(self, number: int, k: Tensor, mean: Tensor, rate: int) -> Tensor:
        """Coefficients of a slice, whole numbers of FRACTION binary places in units of their spread, float32."""
        inverse = self.inverse[rate, self._here(number)].long().view(-1, 1, 1)
        n = _shifted(((k.long() << MEAN) + mean) * inverse, MEAN + INVERSE - FRACTION)
        return n.clamp(-STREAM, STREAM).float()

    def pixels(self, n: Tensor) -> Tensor:
        """Coefficients of all slices [N, U, h, w] -> levels uint8 [N, C, 16h, 16w]."""
        linear = self.linear.double()[..., None, None]
        blocks = nn.functional.conv2d(n.double(), linear)  # below 2^53: exact
        smooth = nn.functional.pixel_shuffle(rescale(blocks, LINEAR).float(), BLOCK)
        level = smooth + self.deep(n) + (1 << FRACTION - 1)
        return rescale(level.clamp_(0, 1 << FRACTION) * 255, FRACTION).to(torch.uint8)

    def put(self, k: Tensor, table: Tensor, sink: Sink) -> None:
        """Write the coefficients of a slice, int32 and their tables, both [N, c, h, w]."""
        coded = table > 0
        symbols.put(k[coded].long(), table[coded], self._scales(), MOST, sink)

    def get(self, table: Tensor, source: Source) -> Tensor:
        """Read the coefficients of a slice back, int32 [N, c, h, w].

        Raises:
            BitstreamError: bytes that are none of this codec's.
        """
        coded = table > 0
        k = torch.zeros(table.shape, dtype=torch.int32)
        k[coded] = symbols.get(table[coded], self._scales(), MOST, source)
        return k

    def put_side(self, z: Tensor, rate: int, sink: Sink) -> None:
        """Write z int32 [N, side, h, w]."""
        index = self._side_index(z.shape, rate)
        symbols.put(z.flatten().long(), index, self._sides(), SIDE_MOST, sink)

    def get_side(self, shape: tuple[int, int, int], rate: int, source: Source) -> Tensor:
        """Read z of N images back, int32 [N, side, h, w].

        Raises:
            BitstreamError: bytes that are none of this codec's.
        """
        n, height, width = shape
        size = torch.Size((n, self.side, height, width))
        return symbols.get(self._side_index(size, rate), self._sides(), SIDE_MOST, source).view(size)

    def prove(self) -> None:
        """Check the bounds of all networks.

        Raises:
            RunError: one is broken, or the tables are damaged.
        """
        if self.bend is not None and int(self.bend) != self._bend:
            raise RunError("the weights are of a model of another slope than the recipe says")
        for network in (self.from_side, self.deep, *self.contexts):
            assert isinstance(network, Whole)
            network.prove()
        if float(self.linear.double().abs().sum(1).max()) * STREAM >= 2**52:
            raise RunError("the linear synthesis breaks its bound of 2^52: damaged weights")
        self._scales()
        self._sides()

    def _load_from_state_dict(self, *arguments: object) -> None:
        self._proved = False
        super()._load_from_state_dict(*arguments)  # type: ignore[arg-type]

    def _here(self, number: int) -> slice:
        start = sum(self.slices[:number])
        return slice(start, start + self.slices[number])

    def _side_index(self, size: torch.Size, rate: int) -> Tensor:
        anchors = len(self.side_tables) // self.side
        anchor = round(rate * (anchors - 1) / (RATES - 1))
        channel = torch.arange(self.side).view(1, -1, 1, 1).expand(size)
        return (anchor * self.side + channel).flatten()

    def _scales(self) -> FrequencyTables:
        return symbols.checked(self.scale_tables)

    def _sides(self) -> FrequencyTables:
        return symbols.checked(self.side_tables)


def _shifted(x: Tensor, places: int) -> Tensor:
    """x · 2^-places, rounded, halves upwards: int64."""
    return (x + (1 << places >> 1)) >> places


def _levels(anchors: int) -> Tensor:
    return torch.arange(RATES).double() * (anchors - 1) / (RATES - 1)
