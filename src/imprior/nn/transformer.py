"""A causal transformer over a grid of patches: each position attends to itself and to all before it.

    patches shortly before (i, j) ──► linear ──► + row + column ──► block × layers ──► norm ──► features (i, j)
    [N,channels,H,W]                             [N,H·W,width]                                  [N,width,H,W]

    block:  t ──► t + W attention(norm(t)) ──► t + W gelu(V norm(t))

The shift by one position is in the first layer: a token is made of the patches around its place that come before it,
not of its own; at the left edge of a row, the end of the row above is among them. (Made of one patch, tokens must first
find their neighbours by attention, which takes long to learn.)
Drawing keeps the keys and values of what has been, so a step costs one token, not all of them.

References: Vaswani et al. 2017, Attention is all you need; Xiong et al. 2020, On layer normalization in the transformer
architecture (norm before each branch); Chen et al. 2020, Generative pretraining from pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imprior.errors import RecipeError
from imprior.nn.dense import linear


@dataclass(frozen=True)
class Transformer:
    """Settings of a causal transformer.

    Attributes:
        width: numbers in a token, and features given out.
        heads: attentions side by side; they share the width among them.
        layers: blocks.
        expansion: units of a block's hidden layer, as a multiple of the width.
        reach: a token is made of the earlier patches at most so many rows above and columns aside.
    """

    width: int = 96
    heads: int = 4
    layers: int = 4
    expansion: int = 4
    reach: int = 2

    def __post_init__(self) -> None:
        if min(self.width, self.heads, self.layers, self.expansion, self.reach) < 1:
            raise RecipeError("width, heads, layers, expansion and reach of a transformer are at least 1")
        if self.width % self.heads:
            raise RecipeError(f"{self.heads} heads can't share a width of {self.width}: it must be a multiple")

    def build(self, channels: int, height: int, width: int, classes: int | None) -> CausalTransformer:
        """The network for grids [channels, height, width]; `classes` labels, or None for none."""
        return CausalTransformer(self, channels, height, width, classes)


@dataclass
class Seen:
    """What a step goes on from.

    Attributes:
        grid: [N, channels, reach + H, reach + W + reach], the patches so far; around them zeros, and left of each row
            the end of the row above.
        keys, values: [layers, N, heads, H·W, width / heads], filled up to the position.
        label: [N, width] or a zero, what is added to each token.
    """

    grid: Tensor
    keys: Tensor
    values: Tensor
    label: Tensor


class CausalTransformer(nn.Module):
    """Is a `nn.causal.CausalNetwork`."""

    def __init__(self, settings: Transformer, channels: int, height: int, width: int, classes: int | None) -> None:
        super().__init__()
        self.settings = settings
        self.size = height, width
        reach = settings.reach
        # A window of reach + 1 rows ends with its middle column's row; in raster order its first so many patches are
        # those before the middle of that row.
        self.window = (reach + 1, 2 * reach + 1)
        self.earlier = reach * (2 * reach + 1) + reach
        self.embed = linear(channels * self.earlier, settings.width)
        self.row = nn.Parameter(0.2 * torch.randn(height, 1, settings.width))
        self.column = nn.Parameter(0.2 * torch.randn(width, settings.width))
        self.label = None if classes is None else nn.Embedding(classes, settings.width)
        self.blocks = nn.ModuleList(Block(settings) for _ in range(settings.layers))
        self.norm = nn.LayerNorm(settings.width)

    def forward(self, h: Tensor, labels: Tensor | None = None) -> Tensor:
        """[N, channels, H, W] -> [N, width, H, W]; the features at a position depend on h strictly before it alone."""
        reach = self.settings.reach
        ends = F.pad(h[..., -1:], (0, 0, 1, 0))[:, :, :-1]  # in the margin left of a row: the end of the row above
        padded = F.pad(torch.cat((ends, h), 3), (reach - 1, reach, reach, 0))
        windows = F.unfold(padded, self.window)  # [N, channels·window, H·W]
        windows = windows.view(*h.shape[:2], -1, windows.shape[2])[:, :, : self.earlier]
        tokens = self.embed(windows.flatten(1, 2).transpose(1, 2))  # [N, H·W, width]
        tokens = tokens + (self.row + self.column).flatten(0, 1) + self._label(labels, h)[..., None, :]
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens).transpose(1, 2).unflatten(2, self.size)  # type: ignore[no-any-return]

    def begin(self, n: int, labels: Tensor | None, like: Tensor) -> Seen:
        """What `step` goes on from, for n images; in the precision and on the device of `like`."""
        height, width = self.size
        s = self.settings
        grid = like.new_zeros(n, self.embed.in_features // self.earlier, height + s.reach, width + 2 * s.reach)
        cache = like.new_zeros(2, s.layers, n, s.heads, height * width, s.width // s.heads)
        return Seen(grid, cache[0], cache[1], self._label(labels, like))

    def step(self, state: Seen, position: int, before: Tensor | None) -> Tensor:
        """The features at a raster position, [N, width]; `before` is h at position - 1, None at position 0."""
        reach, width = self.settings.reach, self.size[1]
        if before is not None:
            row, column = divmod(position - 1, width)
            state.grid[:, :, row + reach, column + reach] = before
            if column == width - 1:
                state.grid[:, :, row + 1 + reach, reach - 1] = before
        row, column = divmod(position, width)
        rows, columns = self.window
        window = state.grid[:, :, row : row + rows, column : column + columns].flatten(2)[:, :, : self.earlier]
        token = self.embed(window.flatten(1)) + (self.row[row, 0] + self.column[column]) + state.label
        for block, keys, values in zip(self.blocks, state.keys, state.values, strict=True):
            assert isinstance(block, Block)
            token = block.step(token, keys, values, position)
        return self.norm(token)  # type: ignore[no-any-return]

    def _label(self, labels: Tensor | None, like: Tensor) -> Tensor:
        """[N, width], or a zero of one entry where there are no labels."""
        if self.label is None:
            return like.new_zeros(1)
        assert labels is not None
        return self.label(labels)  # type: ignore[no-any-return]


class Block(nn.Module):
    """Attention, then a hidden layer, each added to what came in; both branches are zero at the start."""

    def __init__(self, settings: Transformer) -> None:
        super().__init__()
        width, self.heads = settings.width, settings.heads
        self.attention_norm = nn.LayerNorm(width)
        self.queries_keys_values = linear(width, 3 * width)
        self.attended = linear(width, width, 0.0)
        self.hidden_norm = nn.LayerNorm(width)
        self.hidden = linear(width, settings.expansion * width)
        self.out = linear(settings.expansion * width, width, 0.0)
        self.activation = nn.GELU()

    def forward(self, tokens: Tensor) -> Tensor:
        """[N, L, width] -> [N, L, width], each token from itself and those before it."""
        queries, keys, values = self._attention_inputs(tokens)
        if tokens.device.type == "cpu":  # where the kernel for bfloat16 takes twice as long as that for float32
            with torch.autocast("cpu", enabled=False):
                inputs = (queries.to(tokens.dtype), keys.to(tokens.dtype), values.to(tokens.dtype))
                attended = F.scaled_dot_product_attention(*inputs, is_causal=True)
        else:
            attended = F.scaled_dot_product_attention(queries, keys, values, is_causal=True)
        return self._rest(tokens, attended)

    def step(self, token: Tensor, keys: Tensor, values: Tensor, position: int) -> Tensor:
        """[N, width] -> [N, width], the token at `position`; its key and value are put into the cache."""
        tokens = token[:, None]
        query, keys[:, :, position, None], values[:, :, position, None] = self._attention_inputs(tokens)
        upto = position + 1
        attended = F.scaled_dot_product_attention(query, keys[:, :, :upto], values[:, :, :upto])
        return self._rest(tokens, attended)[:, 0]

    def _attention_inputs(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values: [N, L, width] -> [N, heads, L, width / heads] each."""
        joint = self.queries_keys_values(self.attention_norm(tokens))
        queries, keys, values = joint.unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return queries, keys, values

    def _rest(self, tokens: Tensor, attended: Tensor) -> Tensor:
        """What follows the attention: attended [N, heads, L, width / heads]."""
        tokens = tokens + self.attended(attended.transpose(1, 2).flatten(2))
        return tokens + self.out(self.activation(self.hidden(self.hidden_norm(tokens))))  # type: ignore[no-any-return]
