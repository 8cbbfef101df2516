"""A recurrent network over a grid of patches in raster order: LSTMs across, down and along its rows.

    rows above ──► across, both ways ──► down, each column ──► + patch to the left ──► along, left to right ──► features
                   └───────────── × layers ─────────────┘                              └──── × layers ────┘

Everything is added to what it came from (residual). What comes down knows the rows above whole, since each was read in
both directions; what goes along knows the rest of the earlier patches, those to the left. Training runs over all rows
at once across and along, over all columns at once down: 2·W + H steps, whatever the batch. Drawing goes on from
what the LSTMs remember, so a patch costs one step along, and a row one step down.

References: Hochreiter & Schmidhuber 1997, Long short-term memory; van den Oord, Kalchbrenner & Kavukcuoglu 2016, Pixel
recurrent neural networks (the row LSTM, whose rows above are seen through a widening triangle, and the diagonal one);
Visin et al. 2015, ReNet (LSTMs across and down in the place of convolutions).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imprior.errors import RecipeError
from imprior.nn.dense import linear

Memory = tuple[Tensor, Tensor]  # an LSTM's output and cell, [1, N, width] each


@dataclass(frozen=True)
class RowLSTM:
    """Settings of a recurrent network over a grid.

    Attributes:
        width: units of each LSTM, and features given out; even, since two directions share it.
        layers: LSTMs on top of each other, each way.
    """

    width: int = 96
    layers: int = 2

    def __post_init__(self) -> None:
        if self.width < 2 or self.width % 2 or self.layers < 1:
            raise RecipeError(f"a row LSTM has an even width and at least 1 layer, not {self.width} and {self.layers}")

    def build(self, channels: int, height: int, width: int, classes: int | None) -> CausalRows:
        """The network for grids [channels, height, width]; `classes` labels, or None for none."""
        return CausalRows(self, channels, height, width, classes)


@dataclass
class Remembered:
    """What a step goes on from.

    Attributes:
        row: [N, channels, W], the patches of the row that is being drawn.
        above: [N, W, width], what its columns know of the rows above.
        down: the memory of each LSTM downwards, None in the first row.
        along: the memory of each LSTM along the row, None at its beginning.
        label: [N, width] or a zero, what is added at each position.
    """

    row: Tensor
    above: Tensor
    down: list[Memory | None]
    along: list[Memory | None]
    label: Tensor


class CausalRows(nn.Module):
    """Is a `nn.causal.CausalNetwork`."""

    def __init__(self, settings: RowLSTM, channels: int, height: int, width: int, classes: int | None) -> None:
        super().__init__()
        self.settings = settings
        self.size = height, width
        units = settings.width
        self.from_above = linear(channels, units)
        self.from_left = linear(channels, units)
        self.row_place = nn.Parameter(0.2 * torch.randn(height, 1, units))
        self.column_place = nn.Parameter(0.2 * torch.randn(width, units))
        self.label = None if classes is None else nn.Embedding(classes, units)
        self.across = nn.ModuleList(lstm(units, units // 2, both_ways=True) for _ in range(settings.layers))
        self.down = nn.ModuleList(lstm(units, units) for _ in range(settings.layers))
        self.along = nn.ModuleList(lstm(units, units) for _ in range(settings.layers))

    def forward(self, h: Tensor, labels: Tensor | None = None) -> Tensor:
        """[N, channels, H, W] -> [N, width, H, W]; the features at a position depend on h strictly before it alone."""
        n, (height, width) = len(h), self.size
        cells = h.permute(0, 2, 3, 1)  # [N, H, W, channels]
        above = self.from_above(F.pad(cells, (0, 0, 0, 0, 1, 0))[:, :-1])
        above = above + self.row_place + self.column_place + self._label(labels, h)[..., None, None, :]
        for across, down in zip(self.across, self.down, strict=True):
            above = above + across(above.flatten(0, 1))[0].unflatten(0, (n, height))  # [N·H, W, width]
            columns = above.transpose(1, 2).flatten(0, 1)  # [N·W, H, width]
            above = above + down(columns)[0].unflatten(0, (n, width)).transpose(1, 2)
        features = (above + self.from_left(F.pad(cells, (0, 0, 1, 0))[:, :, :-1])).flatten(0, 1)
        for along in self.along:
            features = features + along(features)[0]
        return features.unflatten(0, (n, height)).permute(0, 3, 1, 2)  # type: ignore[no-any-return]

    def begin(self, n: int, labels: Tensor | None, like: Tensor) -> Remembered:
        """What `step` goes on from, for n images; in the precision and on the device of `like`."""
        layers = self.settings.layers
        row = like.new_zeros(n, self.from_above.in_features, self.size[1])
        above = like.new_zeros(n, self.size[1], self.settings.width)
        return Remembered(row, above, [None] * layers, [None] * layers, self._label(labels, like))

    def step(self, state: Remembered, position: int, before: Tensor | None) -> Tensor:
        """The features at a raster position, [N, width]; `before` is h at position - 1, None at position 0."""
        row, column = divmod(position, self.size[1])
        if before is not None:
            state.row[:, :, column - 1] = before  # the last of the row above, if this is the first of its own
        if column == 0:
            self._next_row(state, row)
            before = torch.zeros_like(state.row[:, :, 0])
        assert before is not None
        features: Tensor = state.above[:, column] + self.from_left(before)
        for layer, along in enumerate(self.along):
            out, state.along[layer] = along(features[:, None], state.along[layer])
            features = features + out[:, 0]
        return features

    def _next_row(self, state: Remembered, row: int) -> None:
        """Take the row that is complete (zeros above the first) one step down."""
        above = self.from_above(state.row.transpose(1, 2))  # [N, W, width]
        above = above + self.row_place[row] + self.column_place + state.label[..., None, :]
        for layer, (across, down) in enumerate(zip(self.across, self.down, strict=True)):
            above = above + across(above)[0]
            out, state.down[layer] = down(above.flatten(0, 1)[:, None], state.down[layer])  # [N·W, 1, width]
            above = above + out[:, 0].view_as(above)
        state.above, state.along = above, [None] * len(state.along)

    def _label(self, labels: Tensor | None, like: Tensor) -> Tensor:
        """[N, width], or a zero of one entry where there are no labels."""
        if self.label is None:
            return like.new_zeros(1)
        assert labels is not None
        return self.label(labels)  # type: ignore[no-any-return]


def lstm(inputs: int, units: int, *, both_ways: bool = False) -> nn.LSTM:
    """An LSTM over [N, L, inputs] whose forget gates begin open, so that it remembers before it has learned to.

    Reference: Jozefowicz, Zaremba & Sutskever 2015, An empirical exploration of recurrent network architectures.
    """
    layer = nn.LSTM(inputs, units, batch_first=True, bidirectional=both_ways)
    with torch.no_grad():
        for name, offset in layer.named_parameters():
            if name.startswith("bias_ih"):
                offset[units : 2 * units] = 1.0
    return layer
