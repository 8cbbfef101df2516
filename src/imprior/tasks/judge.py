"""Which images people take for real: blind pairs of two makers' images, votes, preference with its interval.

    makers' images ──► pair, left or right at random, shuffled ──► page ──► votes.json ──► tally ──► preference

A maker is a model, or the camera (real images). Each image is shown once. A page says neither whose images it shows nor
which side is whose: `seal` makes that unreadable at a glance. It is no secret kept from somebody who wants to know.

Reference for the interval: Wilson, 1927, Probable inference, the law of succession, and statistical inference.
"""

from __future__ import annotations

import base64
import itertools
import json
import math
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from imprior.errors import DataError

FORMAT = "imprior votes 1"
CHOICES = ("left", "right", "tie", "skip")
Z = 1.959963984540054  # standard normal quantile of 97.5 %: intervals cover 95 %


@dataclass(frozen=True)
class Pair:
    """Two images side by side, each [C, H, W], and the makers' names."""

    left: Tensor
    right: Tensor
    left_maker: str
    right_maker: str


@dataclass(frozen=True)
class Preference:
    """How two makers did against each other.

    Attributes:
        first, second: the makers.
        first_wins, second_wins: votes for the image of each.
        ties, skips: pairs that were looked at without preference, and passed over. Neither counts in the preference.
    """

    first: str
    second: str
    first_wins: int
    second_wins: int
    ties: int
    skips: int

    @property
    def share(self) -> float | None:
        """Fraction of the decided pairs that went to `first`; None where none was decided."""
        decided = self.first_wins + self.second_wins
        return self.first_wins / decided if decided else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Wilson's 95 % interval of the share."""
        decided = self.first_wins + self.second_wins
        return wilson(self.first_wins, decided) if decided else None

    def record(self) -> dict[str, Any]:
        """JSON values; `preferred` is a maker only where the interval leaves one half out."""
        preferred = None
        if self.interval is not None and not self.interval[0] <= 0.5 <= self.interval[1]:
            preferred = self.first if self.interval[0] > 0.5 else self.second
        values = {"first": self.first, "second": self.second, "first_wins": self.first_wins}
        values |= {"second_wins": self.second_wins, "ties": self.ties, "skips": self.skips}
        return values | {"share": self.share, "interval": self.interval, "preferred": preferred}


@dataclass(frozen=True)
class Tally:
    """What all votes say.

    Attributes:
        preferences: one for each two makers that met.
        left, right: votes for each side, whoever's image stood there; far from equal, the judge looked at one side.
        open: pairs without a vote.
    """

    preferences: tuple[Preference, ...]
    left: int
    right: int
    open: int

    def record(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "preferences": [one.record() for one in self.preferences],
            "sides": {"left": self.left, "right": self.right},
            "open": self.open,
            "interval": "Wilson, 95 %, of the share of `first` among pairs that were decided; votes as if independent",
        }


def run(makers: Mapping[str, Tensor], n: int, *, rng: torch.Generator) -> list[Pair]:
    """Pairs of every two makers' images, mixed.

    Args:
        makers: images [m, C, H, W] of each, two makers or more; m = `needed(makers, n)` of them are shown, once each.
        n: pairs of every two makers.
        rng: decides the sides and the order.

    Raises:
        DataError: fewer than two makers, too few images of one, or images of different shapes, which would tell.
    """
    if len(makers) < 2:
        raise DataError("a judgement wants two different models, or one and real images")
    shapes = {name: tuple(images.shape[1:]) for name, images in makers.items()}
    (one, shape), *others = shapes.items()
    for other, different in others:
        if different != shape:
            raise DataError(f"images of {one} are {_times(shape)}, of {other} {_times(different)}: the size would tell")
    for name, images in makers.items():
        if len(images) < (want := needed(len(makers), n)):
            raise DataError(f"{n} pairs of every two want {want:,} images of {name}, and there are {len(images):,}")
    unused = {name: iter(images) for name, images in makers.items()}
    pairs = []
    for first, second in itertools.combinations(makers, 2):
        for turned in torch.randint(2, (n,), generator=rng).tolist():
            sides = (second, first) if turned else (first, second)
            left, right = (next(unused[name]) for name in sides)
            pairs.append(Pair(left, right, *sides))
    return [pairs[i] for i in torch.randperm(len(pairs), generator=rng).tolist()]


def needed(makers: int, n: int) -> int:
    """Images of each of so many makers that n pairs of every two take.

    >>> needed(3, 50)
    100
    """
    return n * (makers - 1)


def seal(pairs: Sequence[Pair]) -> str:
    """Whose image stands where, as text that nobody reads at a glance (compressed, base64); `unseal` reads it."""
    sides = [[pair.left_maker, pair.right_maker] for pair in pairs]
    return base64.b64encode(zlib.compress(json.dumps(sides).encode(), 9)).decode("ascii")


def unseal(truth: str) -> list[tuple[str, str]]:
    """(left maker, right maker) of each pair.

    Raises:
        DataError: no such text.
    """
    try:
        sides = json.loads(zlib.decompress(base64.b64decode(truth, validate=True)))
        return [(str(left), str(right)) for left, right in sides]
    except (ValueError, TypeError, zlib.error):
        raise DataError("what the votes say of the sides is damaged") from None


def read_votes(text: str, name: str) -> tuple[list[tuple[str, str]], list[str]]:
    """The sides of each pair, and the votes for the first so many of them, of one file's text.

    Raises:
        DataError: not a file of votes, or a damaged one.
    """
    try:
        values = json.loads(text)
    except ValueError:
        values = None
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise DataError(f"{name}: no votes of a page of `imprior judge`")
    try:
        sides = unseal(str(values.get("truth")))
    except DataError as error:
        raise DataError(f"{name}: {error}") from None
    votes = values.get("votes")
    if not isinstance(votes, list) or len(votes) > len(sides) or any(vote not in CHOICES for vote in votes):
        raise DataError(f"{name}: damaged: its votes are not {', '.join(CHOICES)}, one for each pair at most")
    return sides, votes


def tally(judged: Iterable[tuple[Sequence[tuple[str, str]], Sequence[str]]]) -> Tally:
    """Count votes; those of several files add up.

    Args:
        judged: sides and votes of each file, as `read_votes` gives them.
    """
    counts: dict[tuple[str, str], Counter[str]] = {}
    left = right = unanswered = 0
    for sides, votes in judged:
        unanswered += len(sides) - len(votes)
        left, right = left + list(votes).count("left"), right + list(votes).count("right")
        for (on_left, on_right), vote in itertools.zip_longest(sides, votes):
            first, second = sorted((on_left, on_right))
            winner = {"left": on_left, "right": on_right}.get(vote)
            kind = vote if winner is None else "first" if winner == first else "second"
            counts.setdefault((first, second), Counter())[kind] += 1
    preferences = [
        Preference(*makers, found["first"], found["second"], found["tie"], found["skip"])
        for makers, found in sorted(counts.items())
    ]
    return Tally(tuple(preferences), left, right, unanswered)


def wilson(successes: int, n: int, z: float = Z) -> tuple[float, float]:
    """Wilson's interval of a fraction; unlike p ± z·√(p(1-p)/n) it is right for few votes and never leaves [0, 1].

    ( p + z²/2n  ±  z √( p(1-p)/n + z²/4n² ) ) / ( 1 + z²/n ),   p = successes / n

    >>> [round(end, 3) for end in wilson(8, 10)]
    [0.49, 0.943]
    """
    p = successes / n
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = ((middle + sign * half) / (1 + z * z / n) for sign in (-1, 1))
    return max(0.0, low), min(1.0, high)


def _times(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
