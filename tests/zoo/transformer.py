"""Autoregressive models whose network is a causal transformer."""

from __future__ import annotations

from imprior.models import autoregressive
from imprior.models.pixel_outputs import Joint, Logistics
from imprior.nn.transformer import Transformer
from imprior.objectives.likelihood import Likelihood
from zoo.example import Example

PROMISES = ("Scores", "Samples", "Completes")
SMALL = Transformer(width=8, heads=2, layers=2, expansion=2)

EXAMPLES = {
    "transformer": Example(autoregressive.Config((1, 4, 2), 2, SMALL), PROMISES, (Likelihood(),), exact=True),
    "transformer-pixels": Example(
        autoregressive.Config((1, 3, 3), 1, SMALL, Joint(hidden=6), classes=3),
        PROMISES,
        (Likelihood(),),
        exact=True,
    ),
    "transformer-8-bit": Example(
        autoregressive.Config((3, 4, 6), 2, SMALL, Logistics(2, hidden=6)), PROMISES, (Likelihood(),), exact=True
    ),
}
