"""Symbols of the photo codec: integer tables of Gaussians and of z, what symbols cost, and how integers become them.

    k, number of its table ──► symbol k + most, or an escape and two bytes ──► entropy coder

Tables are made of trained weights once, at the end of training, and belong to the weights from then on.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from imprior.coding.tables import PRECISION, FrequencyTables, frequencies
from imprior.distributions.quantised import LEAST_SCALE, LogisticTables
from imprior.errors import BitstreamError, RunError
from imprior.promises import Sink, Source

SCALES = 64  # Gaussian tables, of scales from LEAST_SCALE to WIDEST cells, geometric
WIDEST = 256.0
LOG_STEP = math.log(WIDEST / LEAST_SCALE) / (SCALES - 1)
MOST = 255  # coefficients further from their mean (in cells) are written behind an escape symbol
SIDE_MOST = 31  # the same of z
LIMIT = (1 << 15) - 1  # further still is not written


def checked(cumulative: Tensor) -> FrequencyTables:
    """The tables of a file of weights.

    Raises:
        RunError: they are damaged.
    """
    try:
        return FrequencyTables(cumulative.cpu())
    except ValueError as error:
        raise RunError(f"the entropy tables in this model's weights are damaged: {error}") from None


def bits(cumulative: Tensor, k: Tensor, index: Tensor, most: int) -> Tensor:
    """What an ideal coder takes for each of k with the table of its index, both of any shape: float64."""
    beyond = k.abs() > most
    symbol = torch.where(beyond, most + 1, k).long() + most
    return PRECISION - cumulative.diff(dim=1).double().log2()[index.long(), symbol] + 16.0 * beyond


RAW = FrequencyTables.of(torch.full((1, 256), 1 << 16))


def put(k: Tensor, index: Tensor, tables: FrequencyTables, most: int, sink: Sink) -> None:
    """Put symbols k + most of the tables; those beyond ±most as an escape, their two bytes after all others."""
    beyond = k.abs() > most
    sink.put(torch.where(beyond, 2 * most + 1, k + most).int(), index, tables)
    far = k[beyond] + LIMIT + 1
    digits = torch.stack([far >> 8, far & 255], 1).flatten()
    sink.put(digits.int(), torch.zeros_like(digits), RAW)


def get(index: Tensor, tables: FrequencyTables, most: int, source: Source) -> Tensor:
    """What `put` put, int32.

    Raises:
        BitstreamError: values that `put` never puts.
    """
    k = source.get(index, tables).int() - most
    beyond = k > most
    digits = source.get(torch.zeros(2 * int(beyond.sum()), dtype=torch.int64), RAW).view(-1, 2)
    far = (digits[:, 0] << 8 | digits[:, 1]) - LIMIT - 1
    if bool((far.abs() <= most).any()):
        raise BitstreamError("the compressed data is damaged: it holds a value that no encoder writes")
    k[beyond] = far.int()
    return k


def gaussian_tables() -> Tensor:
    """Cumulative frequencies of the cells of Gaussians, narrowest first, and of the escape: int32 [SCALES, …]."""
    scale = LEAST_SCALE * torch.exp(LOG_STEP * torch.arange(SCALES).double()).view(-1, 1)
    edges = torch.arange(-MOST, MOST + 2).double() - 0.5
    inside = torch.special.ndtr(edges / scale).diff(dim=1)
    return _cumulative(inside)


def side_tables(side: LogisticTables) -> Tensor:
    """The same of z, one for each anchor and channel."""
    v = torch.arange(-SIDE_MOST, SIDE_MOST + 1).double()
    found = [
        side.double().bits(v.view(1, 1, -1, 1).expand(1, side.logits.shape[1], -1, 1), torch.tensor([float(anchor)]))
        for anchor in range(len(side.logits))
    ]
    side.float()
    return _cumulative(2 ** -torch.cat(found)[..., 0].flatten(0, 1))


def _cumulative(inside: Tensor) -> Tensor:
    outside = (1 - inside.sum(1, keepdim=True)).clamp_min(0)
    return FrequencyTables.of(frequencies(torch.cat([inside, outside], 1))).cumulative


def to_side_integers(z: Tensor) -> Tensor:
    """Rounded z, within what a file can hold: int32."""
    return z.round().clamp(-LIMIT, LIMIT).int()
