"""Which promises a model keeps: `require` asks for one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

from imprior.errors import CapabilityError
from imprior.promises.codes import Codes, CodesTiles
from imprior.promises.images import (
    Classifies,
    Completes,
    Decodes,
    Denoises,
    DenoisesLocally,
    Encodes,
    LatentVariable,
    Samples,
    Scores,
)

PROMISES: tuple[type, ...] = (
    Decodes,
    Encodes,
    LatentVariable,
    Scores,
    Samples,
    Denoises,
    DenoisesLocally,
    Completes,
    Codes,
    CodesTiles,
    Classifies,
)

P = TypeVar("P")


def kept(model: object) -> list[str]:
    """Names of the promises that a model keeps, in the order of `PROMISES`."""
    return [promise.__name__ for promise in PROMISES if isinstance(model, promise)]


def require(model: Any, promise: type[P], *, name: str = "this model") -> P:
    """Return `model`, typed as `promise`.

    Raises:
        CapabilityError: the model does not keep the promise; the message names embedded models that do.
    """
    if isinstance(model, promise):
        return model
    raise CapabilityError(f"{name} does not keep the promise {promise.__name__}{keepers(promise)}")


def keepers(*promises: type) -> str:
    """The end of an error's message: embedded models that keep at least one of the promises."""
    names = {promise.__name__ for promise in promises}
    found = [card.parent.name for card in _cards() if names & set(json.loads(card.read_text())["promises"])]
    return f"; these do: {', '.join(found)}" if found else ""


def _cards() -> list[Path]:
    return sorted((Path(__file__).parent.parent / "embedded").glob("*/card.json"))
