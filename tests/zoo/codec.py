"""The photo codec."""

from __future__ import annotations

from imprior.models import codec
from imprior.nn.block_transform import Transforms
from imprior.objectives.rate_distortion import RateDistortion
from zoo.example import Example

SMALL = codec.Config(
    (3, 64, 64), Transforms(12, (6, 8), (1, 1), (8, 6, 4), (1, 1, 1)), hyper=6, side=4, slices=(4, 8), context=6
)
PROMISES = ("Decodes", "Encodes", "Scores", "Samples", "Codes", "CodesTiles")
EXAMPLES = {"codec": Example(SMALL, PROMISES, (RateDistortion(settled=0.0),), noise=0.02)}
