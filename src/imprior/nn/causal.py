"""Causal networks over a grid in raster order: what they promise, and a gated masked convolution that does.

    h ──► strict 5x5 ──► + position ──► block × … (──► attention ──► block × …) ──► features
    [N,channels,H,W]  →  [N,width,H,W]                                         features (i, j) from h before (i, j)

    block:  h ──► narrow ──► silu ──► value · sigmoid(gate), causal 3x3 each ──► widen ──► + h
            width → inner                                       → inner       → width

"Before" is raster order: rows above, and to the left in the same row. A stack of masked 3x3 convolutions alone has a
blind spot: in each row above it sees to the right by one column a layer at most. So the channels are two streams side
by side, as in the second reference: the first half, `above`, knows rows above only and may therefore look to both
sides in its own row; the second half, `left`, looks at everything above, at `above` on both sides and at itself to
the left. Both go through the same convolutions; what must not be seen are zeros in the weights, a sixth of a 3x3 one.
(Gathering the live taps alone was measured, too: it takes half as long again.) The rows below do not exist as weights.

For drawing, each layer keeps a map of its inputs (the row cache): `above` is computed for a row at a time, and `left`
for one position.

References: van den Oord, Kalchbrenner & Kavukcuoglu 2016, Pixel recurrent neural networks (masks); van den Oord et al.
2016, Conditional image generation with PixelCNN decoders (gates, the two streams); Chen et al. 2018, PixelSNAIL
(attention in between).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imprior.errors import RecipeError
from imprior.nn.dense import GAINS, GATED_GAIN


class CausalNetwork(Protocol):
    """What an autoregressive model needs of its network.

    Settings classes have `width`, the number of features, and `build(channels, height, width, classes)`.
    """

    def __call__(self, h: Tensor, labels: Tensor | None = None) -> Tensor:
        """[N, channels, H, W] -> [N, width, H, W]; the features at a position depend on h strictly before it alone."""
        ...

    def begin(self, n: int, labels: Tensor | None, like: Tensor) -> Any:
        """What `step` goes on from, for n images; in the precision and on the device of `like`."""
        ...

    def step(self, state: Any, position: int, before: Tensor | None) -> Tensor:
        """The features at a raster position, as `__call__` has them there: [N, width].

        Args:
            state: of `begin`; changed in place.
            position: 0, 1, 2, … in turn.
            before: [N, channels], h at position - 1; None at position 0.
        """
        ...


@dataclass(frozen=True)
class MaskedConvolution:
    """Settings of a gated masked-convolution network.

    Attributes:
        width: features at each position; even, half of them are the stream that knows rows above only.
        inner: channels within a block, where the 3x3 convolutions are; even, as `width`.
        dilations: of the blocks' convolutions, one number a block.
        heads: attention heads of one layer of causal self-attention between the first and the second half of the
            blocks; 0 leaves it out.
    """

    width: int = 64
    inner: int = 32
    dilations: tuple[int, ...] = (1, 1, 2, 1, 1, 2, 1, 1)
    heads: int = 0

    def __post_init__(self) -> None:
        if self.width < 2 or self.inner < 2 or self.width % 2 or self.inner % 2:
            raise RecipeError(f"width and inner must be even and at least 2, not {self.width} and {self.inner}")
        if any(dilation < 1 for dilation in self.dilations):
            raise RecipeError(f"dilations {self.dilations}: each must be at least 1")
        if self.heads < 0 or (self.heads and self.width % self.heads):
            raise RecipeError(f"heads must divide the width of {self.width}, not be {self.heads}")

    def build(self, channels: int, height: int, width: int, classes: int | None) -> MaskedConvolutionNetwork:
        """The network for grids of height x width, with fresh weights."""
        return MaskedConvolutionNetwork(self, channels, height, width, classes)


class MaskedConvolutionNetwork(nn.Module):
    """Keeps CausalNetwork; see the picture above."""

    def __init__(
        self, settings: MaskedConvolution, channels: int, height: int, width: int, classes: int | None
    ) -> None:
        super().__init__()
        self.grid = (height, width)
        features = settings.width
        self.first = CausalConvolution(channels, features, size=5, strict=True)
        self.position = nn.Parameter(torch.zeros(height, width, features))
        layers: list[Block | Attention] = [Block(features, settings.inner, d, classes) for d in settings.dilations]
        if settings.heads:
            layers.insert(len(layers) // 2, Attention(features, settings.heads))
        self.layers = nn.ModuleList(layers)

    def forward(self, h: Tensor, labels: Tensor | None = None) -> Tensor:
        """[N, channels, H, W] -> [N, width, H, W]."""
        h = self.first(h.contiguous(memory_format=torch.channels_last))
        h = h + self.position.permute(2, 0, 1).to(h.dtype)
        for layer in self.layers:
            h = layer(h, labels)
        return h

    def begin(self, n: int, labels: Tensor | None, like: Tensor) -> State:
        """A map of zeros for each layer."""
        return State(
            [cast("Block | Attention", layer).cache(n, self.grid, like) for layer in (self.first, *self.layers)], labels
        )

    def step(self, state: State, position: int, before: Tensor | None) -> Tensor:
        """The features at one position, [N, width]."""
        first, *caches = state.caches
        i, j = divmod(position, self.grid[1])
        if before is not None:
            self.first.put(first, *divmod(position - 1, self.grid[1]), before)
        if j == 0:
            row = self.first.above(first, i) + self.position[i, :, : self.position.shape[2] // 2]
            for layer, cache in zip(self.layers, caches, strict=True):
                row = cast("Block | Attention", layer).above(cache, i, row, state.labels)
        h: Tensor = self.first.at(first, i, j) + self.position[i, j]
        for layer, cache in zip(self.layers, caches, strict=True):
            h = cast("Block | Attention", layer).step(cache, i, j, h, state.labels)
        return h


@dataclass
class State:
    """What drawing goes on from: the layers' caches, [N, H, W, …] each with its margin, and the labels [N]."""

    caches: list[Tensor]
    labels: Tensor | None


class CausalConvolution(nn.Module):
    """A convolution of the two streams, [N, inputs, H, W] -> [N, outputs, H, W], each half `above` and half `left`.

    Args:
        inputs: channels in; of the `strict` one, which is the first, all of them are pixels, of no stream yet.
        outputs: channels out.
        size: columns of the kernel; it has the rows above and the position's own of a size x size one.
        dilation: rows and columns from tap to tap.
        strict: whether the position itself is hidden.
        gain: weights are ~ N(0, gain² / live taps).
    """

    live: Tensor

    def __init__(
        self, inputs: int, outputs: int, *, size: int = 3, dilation: int = 1, strict: bool = False, gain: float = 1.0
    ) -> None:
        super().__init__()
        self.up, self.side, self.dilation = dilation * (size // 2), dilation * (size // 2), dilation
        self.known_above = 0 if strict else inputs // 2
        live = torch.ones(outputs, inputs, size // 2 + 1, size)
        row = live[:, self.known_above :, -1]  # of what knows its own row's left part: [outputs, inputs, size]
        row[: outputs // 2] = 0
        row[outputs // 2 :, :, size // 2 + (not strict) :] = 0
        fan_in = live.sum((1, 2, 3), keepdim=True).clamp_min(1)
        self.weight = nn.Parameter(torch.randn(live.shape) * live * gain / fan_in.sqrt())
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.register_buffer("live", live, persistent=False)

    def forward(self, h: Tensor) -> Tensor:
        """[N, inputs, H, W] -> [N, outputs, H, W]."""
        return self.inside(F.pad(h, (self.side, self.side, self.up, 0)))

    def inside(self, h: Tensor) -> Tensor:
        """Of inputs that have their margin already: [N, inputs, up + H, side + W + side] -> [N, outputs, H, W]."""
        return F.conv2d(h, self.weight * self.live, self.bias, dilation=self.dilation)

    def cache(self, n: int, grid: tuple[int, int], like: Tensor) -> Tensor:
        """Zeros for the inputs at all positions, with the margin: [n, up + H, side + W + side, inputs]."""
        return like.new_zeros(n, grid[0] + self.up, grid[1] + 2 * self.side, self.weight.shape[1])

    def put(self, cache: Tensor, i: int, j: int, h: Tensor) -> None:
        """Note the inputs at (i, j), [N, inputs]."""
        cache[:, i + self.up, j + self.side] = h

    def put_above(self, cache: Tensor, i: int, h: Tensor) -> None:
        """Note the inputs `above` of a row, [N, W, inputs / 2]."""
        cache[:, i + self.up, self.side : cache.shape[2] - self.side, : self.known_above] = h

    def above(self, cache: Tensor, i: int) -> Tensor:
        """The outputs `above` of row i: [N, W, outputs / 2]."""
        half = len(self.bias) // 2
        rows = cache[:, i : i + self.up + 1].permute(0, 3, 1, 2)  # [N, inputs, up + 1, side + W + side]
        row = F.conv2d(rows, (self.weight * self.live)[:half], self.bias[:half], dilation=self.dilation)
        return row[:, :, 0].transpose(1, 2)

    def at(self, cache: Tensor, i: int, j: int) -> Tensor:
        """All outputs at (i, j): [N, outputs]."""
        seen = cache[:, i : i + self.up + 1 : self.dilation, j : j + 2 * self.side + 1 : self.dilation]
        weight = (self.weight * self.live).permute(0, 2, 3, 1)  # [outputs, rows, columns, inputs]
        return F.linear(seen.flatten(1), weight.flatten(1), self.bias)


class Pointwise(nn.Module):
    """The same for a 1x1 convolution: `above` of `above` alone, `left` of both; `gain` 0 starts at zero."""

    live: Tensor

    def __init__(self, inputs: int, outputs: int, *, gain: float = 1.0) -> None:
        super().__init__()
        live = torch.ones(outputs, inputs, 1, 1)
        live[: outputs // 2, inputs // 2 :] = 0
        fan_in = live.sum((1, 2, 3), keepdim=True)
        self.weight = nn.Parameter(torch.randn(live.shape) * live * gain / fan_in.sqrt())
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.register_buffer("live", live, persistent=False)

    def forward(self, h: Tensor) -> Tensor:
        """[N, inputs, H, W] -> [N, outputs, H, W]."""
        return F.conv2d(h, self.weight * self.live, self.bias)

    def above(self, h: Tensor) -> Tensor:
        """Of the stream `above`: [..., inputs / 2] -> [..., outputs / 2]."""
        return F.linear(h, self.weight[: len(self.bias) // 2, : h.shape[-1], 0, 0], self.bias[: len(self.bias) // 2])

    def at(self, h: Tensor) -> Tensor:
        """Of both at one position: [N, inputs] -> [N, outputs]."""
        return F.linear(h, (self.weight * self.live).flatten(1), self.bias)


class Block(nn.Module):
    """h + widen(value · sigmoid(gate)): [N, width, H, W] -> the same. It starts as the identity."""

    def __init__(self, width: int, inner: int, dilation: int, classes: int | None) -> None:
        super().__init__()
        self.narrow = Pointwise(width, inner)
        # Two convolutions: halves of one would lie apart in memory, which costs more than the second call.
        self.value = CausalConvolution(inner, inner, dilation=dilation, gain=GAINS["silu"] * GATED_GAIN)
        self.gate = CausalConvolution(inner, inner, dilation=dilation, gain=GAINS["silu"])
        self.widen = Pointwise(inner, width, gain=0.0)
        self.label = nn.Embedding(classes, inner) if classes is not None else None

    def forward(self, h: Tensor, labels: Tensor | None) -> Tensor:
        """The whole grid."""
        u = self.narrow(h)
        if self.label is not None:
            u = u + self.label(labels).to(u.dtype)[:, :, None, None]
        u = F.pad(F.silu(u), (self.value.side, self.value.side, self.value.up, 0))
        return h + self.widen(self.value.inside(u) * self.gate.inside(u).sigmoid())  # type: ignore[no-any-return]

    def cache(self, n: int, grid: tuple[int, int], like: Tensor) -> Tensor:
        """Room for what the convolutions see."""
        return self.value.cache(n, grid, like)

    def above(self, cache: Tensor, i: int, h: Tensor, labels: Tensor | None) -> Tensor:
        """The stream `above` of row i: [N, W, width / 2] -> the same."""
        u = self.narrow.above(h)
        if self.label is not None:
            u = u + self.label(labels)[:, None, : u.shape[2]]
        self.value.put_above(cache, i, F.silu(u))
        return h + self.widen.above(self.value.above(cache, i) * self.gate.above(cache, i).sigmoid())

    def step(self, cache: Tensor, i: int, j: int, h: Tensor, labels: Tensor | None) -> Tensor:
        """Both streams at one position, once `above` has been there: [N, width] -> the same."""
        u = self.narrow.at(h)
        if self.label is not None:
            u = u + self.label(labels)
        self.value.put(cache, i, j, F.silu(u))
        return h + self.widen.at(self.value.at(cache, i, j) * self.gate.at(cache, i, j).sigmoid())


class Attention(nn.Module):
    """h + out(attention over the positions up to this one): [N, width, H, W] -> the same. It starts as the identity.

    A position may attend to itself: what stands there has been computed from positions strictly before. What is found
    goes to the stream `left`; the stream `above` must not know its own row, and stays as it is.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.into = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width // 2)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, h: Tensor, labels: Tensor | None) -> Tensor:
        """The whole grid."""
        n, width, rows, columns = h.shape
        flat = h.permute(0, 2, 3, 1).reshape(n, rows * columns, width)
        parts = self.into(self.norm(flat)).view(n, rows * columns, 3, self.heads, -1)
        q, k, v = parts.permute(2, 0, 3, 1, 4).unbind(0)  # [N, heads, L, D]
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)
        found = F.pad(self.out(seen), (width // 2, 0))
        return h + found.view(n, rows, columns, width).permute(0, 3, 1, 2)

    def cache(self, n: int, grid: tuple[int, int], like: Tensor) -> Tensor:
        """Room for keys and values: [n, H, W, 2·width]."""
        return like.new_zeros(n, *grid, 2 * self.into.in_features)

    def above(self, cache: Tensor, i: int, h: Tensor, labels: Tensor | None) -> Tensor:
        """The stream `above` of row i, as it was."""
        return h

    def step(self, cache: Tensor, i: int, j: int, h: Tensor, labels: Tensor | None) -> Tensor:
        """Both streams at one position: [N, width] -> the same."""
        width = h.shape[1]
        q, k_and_v = self.into(self.norm(h)).split((width, 2 * width), 1)
        cache[:, i, j] = k_and_v
        seen = cache.flatten(1, 2)[:, : i * cache.shape[2] + j + 1]
        k, v = seen.reshape(*seen.shape[:2], 2, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)  # [N, heads, l, D]
        mixed = F.scaled_dot_product_attention(q.reshape(len(h), self.heads, 1, -1), k, v)  # [N, heads, 1, D]
        return h + F.pad(self.out(mixed.flatten(1)), (width // 2, 0))
