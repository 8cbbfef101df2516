"""Integer frequency tables: what both ends of an entropy coder must agree on, to the last bit.

Tables are integers from the moment they are fitted: they are saved, loaded and used as such. Were they computed from
floats at load, another machine's rounding could shift one entry by one, and everything decoded after it would be noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

PRECISION = 24  # frequencies of a table sum to 2^24, the grain of constriction's default range coder
TOTAL = 1 << PRECISION


@dataclass(eq=False)
class FrequencyTables:
    """T frequency tables over the symbols 0 … S-1, ready for the coder (keeps `promises.Tables`). Not to be changed.

    Attributes:
        cumulative: int32 [T, S + 1], each row strictly rising from 0 to 2^precision: no symbol is impossible.
        precision: binary digits of the sum.

    Raises:
        ValueError: `cumulative` is not that.

    >>> FrequencyTables.of(torch.tensor([[1, 2**24 - 1]])).cumulative.tolist()
    [[0, 1, 16777216]]
    """

    cumulative: Tensor
    precision: int = PRECISION

    def __post_init__(self) -> None:
        table = self.cumulative
        if table.dtype != torch.int32 or table.dim() != 2 or table.shape[1] < 3:
            raise ValueError("cumulative frequencies must be int32 [T, S + 1] of at least two symbols")
        if bool((table[:, 0] != 0).any() | (table[:, -1] != 1 << self.precision).any() | (table.diff() < 1).any()):
            raise ValueError(f"cumulative frequencies must rise strictly from 0 to 2^{self.precision}")

    @classmethod
    def of(cls, frequencies: Tensor) -> FrequencyTables:
        """Tables of integer frequencies [T, S], each at least 1, each row of sum 2^24.

        Raises:
            ValueError: they are not.
        """
        cumulative = torch.zeros(frequencies.shape[0], frequencies.shape[1] + 1, dtype=torch.int64)
        cumulative[:, 1:] = frequencies.cumsum(1)
        return cls(cumulative.clamp(0, 1 << 30).to(torch.int32))

    def bits(self, symbols: Tensor, index: Tensor) -> Tensor:
        """What an ideal coder needs for each symbol: -log2(frequency / 2^precision), float64.

        Args:
            symbols: integers 0 … S-1, [M].
            index: the table of each, [M].
        """
        frequency = self.cumulative.diff()[index.long(), symbols.long()]
        return self.precision - frequency.double().log2()


def frequencies(weights: Tensor, total: int = TOTAL) -> Tensor:
    """Integers in proportion to `weights`: each at least 1, each row of the given sum exactly.

    Every symbol gets 1, the rest is shared by largest remainder (ties to the lower symbol), in float64.

    Args:
        weights: [T, S], not negative; a row of zeros is shared equally.
        total: what each row shall sum to, at least S.

    Returns:
        int64 [T, S].

    >>> frequencies(torch.tensor([[0.0, 1.0, 3.0]]), 11).tolist()
    [[1, 3, 7]]
    """
    count = weights.shape[1]
    assert count <= total and bool((weights >= 0).all())
    weights = weights.double()
    sums = weights.sum(1, keepdim=True)
    shares = torch.where(sums > 0, weights / sums.clamp_min(1e-300), torch.full_like(weights, 1 / count))
    exact = shares * (total - count)
    whole = exact.floor()
    left = (total - count) - whole.sum(1, keepdim=True)  # 0 … S-1 units to hand out
    rank = (exact - whole).argsort(stable=True, dim=1, descending=True).argsort(dim=1)
    found: Tensor = (whole + (rank < left)).long() + 1
    return found
