"""A small example of every kind of model, for the laws that all keep: one module a family, found by listing.

A module's `EXAMPLES` maps names to `Example`s. Small means: built and run in milliseconds. A family whose likelihood
can be over binary images has one of shape (1, 3, 3) (or another of at most 12 pixels): all of those are enumerated.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

import torch

from zoo.example import Example

EXAMPLES: dict[str, Example] = {}
for _module in pkgutil.iter_modules(__path__):
    if _module.name != "example":
        EXAMPLES |= importlib.import_module(f"{__name__}.{_module.name}").EXAMPLES


def build(example: Example, *, dtype: torch.dtype = torch.float32) -> Any:
    """The model away from its starts at zero, so that everything has an effect; fitted, if it is of that kind."""
    torch.manual_seed(0)
    model = example.config.build()
    noise = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(example.noise * torch.randn(p.shape, generator=noise))
    if hasattr(model, "update"):
        x = images(model, 40, seed=7)
        model.update([x[:20], x[20:]])
    if hasattr(model, "calibrate"):
        model.calibrate([images(model, 20, seed=s) for s in range(2)])
    return model.to(dtype).eval()


def images(model: Any, n: int, *, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Random images of the model's shape (8 x 8 where any will do) in the space that its likelihood is over."""
    channels, height, width = (size or other for size, other in zip(model.shape, (1, 8, 8), strict=True))
    x = torch.rand(n, channels, height, width, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    return x if model.levels is None else (x * (model.levels - 1)).round() / (model.levels - 1)


def labels(model: Any, n: int) -> torch.Tensor | None:
    """Labels that a conditional model knows, None for others."""
    return None if model.classes is None else torch.arange(n) % model.classes
