"""Autoregressive models whose network is recurrent."""

from __future__ import annotations

from imprior.models import autoregressive
from imprior.models.pixel_outputs import Joint, Logistics
from imprior.nn.recurrent import RowLSTM
from imprior.objectives.likelihood import Likelihood
from zoo.example import Example

PROMISES = ("Scores", "Samples", "Completes")

EXAMPLES = {
    "row-lstm": Example(
        autoregressive.Config((1, 3, 3), 1, RowLSTM(width=6, layers=2), Joint(hidden=6)),
        PROMISES,
        (Likelihood(),),
        exact=True,
    ),
    "row-lstm-labels": Example(
        autoregressive.Config((1, 2, 4), 1, RowLSTM(width=6, layers=1), Joint(hidden=6), classes=3),
        PROMISES,
        (Likelihood(),),
        exact=True,
    ),
    "row-lstm-8-bit": Example(
        autoregressive.Config((3, 4, 6), 2, RowLSTM(width=6, layers=1), Logistics(2, hidden=6)),
        PROMISES,
        (Likelihood(),),
        exact=True,
    ),
}
