"""Noise with a stated origin: every draw comes from a `torch.Generator`, never from the global one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def normal(shape: Sequence[int], rng: torch.Generator | None, like: Tensor) -> Tensor:
    """Standard normal numbers of `shape`, in the precision and on the device of `like`.

    They are drawn where the generator lives and moved afterwards, so a CPU generator gives the same numbers for a
    model on any device. Without a generator, fresh entropy of the operating system is used.

    >>> a, b = (normal((2, 3), torch.Generator().manual_seed(1), torch.zeros(())) for _ in range(2))
    >>> torch.equal(a, b)
    True
    """
    rng = rng or _fresh(like.device)
    return torch.randn(tuple(shape), generator=rng, device=rng.device, dtype=like.dtype).to(like.device)


def uniform(shape: Sequence[int], rng: torch.Generator | None, like: Tensor) -> Tensor:
    """Numbers uniform in [0, 1), as `normal` draws them."""
    rng = rng or _fresh(like.device)
    return torch.rand(tuple(shape), generator=rng, device=rng.device, dtype=like.dtype).to(like.device)


def categorical(log_weights: Tensor, rng: torch.Generator | None) -> Tensor:
    """One index for each row of unnormalised log-weights [N, K]: int64 [N].

    >>> categorical(torch.tensor([[0.0, -torch.inf], [-torch.inf, 0.0]]), torch.Generator())
    tensor([0, 1])
    """
    # In float64: rounding of the sums must not give an entry of weight zero a chance that it does not have.
    cumulative = log_weights.double().softmax(1).cumsum(1)
    draws = uniform((len(log_weights), 1), rng, cumulative) * cumulative[:, -1:]
    return torch.searchsorted(cumulative, draws, right=True)[:, 0].clamp_max(log_weights.shape[1] - 1)


def _fresh(device: torch.device) -> torch.Generator:
    rng = torch.Generator(device)
    rng.seed()
    return rng


def sum_event(values: Tensor, event_dims: int) -> Tensor:
    """Sum over the last `event_dims` axes: [..., *batch, *event] -> [..., *batch]."""
    return values.flatten(-event_dims).sum(-1) if event_dims else values
