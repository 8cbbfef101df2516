"""What the zoo holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Example:
    """A small model and what is expected of it.

    Attributes:
        config: builds it.
        promises: names of exactly those that it keeps, in the order of `promises.PROMISES`.
        objectives: what it can be trained by; empty for models that are fitted by passes (`update`).
        noise: standard deviation of what is added to its fresh weights.
        exact: whether its likelihood is exact (else a bound, or there is none).
    """

    config: Any
    promises: tuple[str, ...]
    objectives: tuple[Any, ...] = ()
    noise: float = 0.1
    exact: bool = False
