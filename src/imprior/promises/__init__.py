"""What models promise and tasks ask for: the contracts between the two, and nothing else.

A model keeps a promise by having its methods; no base class, no registration. A task calls `require(model, Samples)`
and works with every model that keeps the promise. Conventions, for all of them:

* an image batch `x` is float32 [N, C, H, W] in [0, 1]; an 8-bit level k is exactly k / 255;
* `shape` is (channels, height, width), None where any size will do; `levels` is 2 (binary), 256 (8-bit) or None
  (continuous); `classes` is the number of labels that a conditional model knows, else None;
* a latent `z` is [N, …]: a vector or a grid of numbers per image;
* randomness comes in as `rng`, a `torch.Generator`; nothing reads the global one.
"""

from __future__ import annotations

from imprior.promises.asking import PROMISES, keepers, kept, require
from imprior.promises.codes import Codes, CodesTiles, Latents, Sink, Source, Tables
from imprior.promises.images import (
    Classifies,
    Completes,
    Decodes,
    Denoises,
    DenoisesLocally,
    Distribution,
    Encodes,
    LatentVariable,
    Posterior,
    Samples,
    Score,
    Scores,
)
from imprior.promises.model import Model, Shape, Space, check_shape, space_of
from imprior.promises.training import Calibrates, Converts, Starts

__all__ = [
    "PROMISES",
    "Calibrates",
    "Classifies",
    "Codes",
    "CodesTiles",
    "Completes",
    "Converts",
    "Decodes",
    "Denoises",
    "DenoisesLocally",
    "Distribution",
    "Encodes",
    "LatentVariable",
    "Latents",
    "Model",
    "Posterior",
    "Samples",
    "Score",
    "Scores",
    "Shape",
    "Sink",
    "Source",
    "Space",
    "Starts",
    "Tables",
    "check_shape",
    "keepers",
    "kept",
    "require",
    "space_of",
]
