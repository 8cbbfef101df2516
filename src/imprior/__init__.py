"""Learned image priors: trained, judged honestly, and put to work on ordinary machines.

One flat function a task; see `imprior.face` for all of them:

    model = imprior.load("mnist-vae")
    z = model.encode(x)
    imprior.evaluate("mnist-vae", "digits/", samples=1000)

Importing the package loads neither torch nor NumPy: a function's own imports come with its first call.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """A function of the face, on first use."""
    # "from imprior import bounds" asks here first: a module of the package must not load the face (which imports it).
    if find_spec(f"{__name__}.{name}") is not None:
        raise AttributeError(f"'{name}' is a module that is not imported yet")
    face = import_module(f"{__name__}.face")
    if name in face.__all__:
        return getattr(face, name)
    raise AttributeError(f"module 'imprior' has no attribute '{name}'")


def __dir__() -> list[str]:
    """What `imprior.<tab>` offers."""
    face = import_module(f"{__name__}.face")
    return sorted([*face.__all__, "__version__"])
