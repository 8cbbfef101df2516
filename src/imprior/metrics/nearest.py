"""Nearest neighbours by brute force, block by block: exact, and in bounded memory however many rows there are."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

BLOCK = 1000  # rows of x at a time, against 10 times as many others: 40 MB of distances in float32
OTHERS = 10 * BLOCK


def nearest(x: Tensor, among: Tensor, *, k: int = 1, own: bool = False) -> tuple[Tensor, Tensor]:
    """The k rows of `among` that are nearest to each row of x, nearest first.

    Args:
        x: [N, D].
        among: [M, D].
        k: how many, at most M (M - 1 with `own`).
        own: whether both are the same set, in which no row counts as its own neighbour.

    Returns:
        Euclidean distances [N, k] in float64, and positions in `among` [N, k].

    >>> d, i = nearest(torch.tensor([[0.0], [5.0]]), torch.tensor([[1.0], [4.0], [-3.0]]), k=2)
    >>> d.tolist(), i.tolist()
    ([[1.0, 3.0], [1.0, 4.0]], [[0, 2], [1, 0]])
    """
    assert 1 <= k <= len(among) - own, f"{k} neighbours among {len(among)}"
    centre = among.mean(0)  # distances don't change, but rounding errors of their parts shrink
    distances, positions = [], []
    for start in range(0, len(x), BLOCK):
        rows = x[start : start + BLOCK]
        best = rows.new_empty(len(rows), 0)
        where = torch.empty(len(rows), 0, dtype=torch.int64, device=x.device)
        for begin in range(0, len(among), OTHERS):
            squares = _squares(rows - centre, among[begin : begin + OTHERS] - centre)
            here = torch.arange(begin, min(begin + OTHERS, len(among)), device=x.device).expand(len(rows), -1)
            if own:
                itself = torch.arange(start, start + len(rows), device=x.device)[:, None]
                squares.masked_fill_(here == itself, torch.inf)
            # The best of this block first: sorting what is left of all blocks is then cheap.
            few, place = squares.topk(min(k, squares.shape[1]), largest=False, sorted=False)
            best, order = torch.cat((best, few), 1).topk(
                min(k, best.shape[1] + few.shape[1]), largest=False, sorted=True
            )
            where = torch.cat((where, here.gather(1, place)), 1).gather(1, order)
        # Anew from the differences: squares by products are off by rounding, near zero by all of their value.
        exact = torch.stack([(rows.double() - among[column].double()).norm(dim=1) for column in where.T], 1)
        ordered, order = exact.sort(dim=1, stable=True)
        distances.append(ordered)
        positions.append(where.gather(1, order))
    return torch.cat(distances), torch.cat(positions)


def within(x: Tensor, centres: Tensor, radii: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Which rows of x lie in which balls: for one block of x after the other, its slice and bool [n, M].

    Args:
        x: [N, D].
        centres: [M, D].
        radii: [M], of the balls; their edge belongs to them.
    """
    centre = centres.double().mean(0)
    others = centres.double() - centre
    for start in range(0, len(x), BLOCK):
        rows = x[start : start + BLOCK].double() - centre
        yield slice(start, start + len(rows)), _squares(rows, others).sqrt() <= radii


def _squares(a: Tensor, b: Tensor) -> Tensor:
    """Squared distances between rows [n, D] and [m, D], by one product: [n, m]."""
    return torch.addmm(b.square().sum(1), a, b.T, alpha=-2).add_(a.square().sum(1)[:, None]).clamp_min_(0)
