"""What a person can do wrong: one clear line each ("what, where, what to do") and an exit code.

`assert` is for the programmer's own mistakes; everything a user can cause is a child of `ImpriorError`.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class ImpriorError(Exception):
    """Base of all errors that a user can cause; the command line prints its message and exits with `exit_code`."""

    exit_code = 2


class DataError(ImpriorError):
    """A data source, an image file or an array that can't be used as asked."""


class MixedColoursError(DataError):
    """Grey images among colour ones, where all have to be of one kind."""


class RecipeError(ImpriorError):
    """An unknown recipe or key, or a value of the wrong type or range."""


class RunError(ImpriorError):
    """A run folder that is missing, incomplete, damaged or from elsewhere; or a place that can't be written."""


class CapabilityError(ImpriorError):
    """A task asked a model for a promise that it does not keep."""


class BitstreamError(ImpriorError):
    """A compressed stream that is damaged, truncated or from another model."""


class MissingExtraError(ImpriorError):
    """An optional package is needed; the message names the extra that brings it."""


class PartialFailure(ImpriorError):
    """Some inputs of several failed; the rest is done."""

    exit_code = 3


def nearest(word: str, known: Iterable[str]) -> str:
    """Return " (did you mean 'x'?)" for the known word nearest to `word`, or "" when none is near.

    >>> nearest("mnist-vea", ["mnist-vae", "mnist-ae"])
    " (did you mean 'mnist-vae'?)"
    """
    found = get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" (did you mean '{found[0]}'?)" if found else ""
