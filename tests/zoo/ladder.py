"""Ladders of latents."""

from __future__ import annotations

from imprior.models import ladder
from imprior.models.observations import LogisticMixture
from imprior.models.priors import Flow, Standard, Vamp
from imprior.objectives.elbo import Elbo
from zoo.autoencoders import LATENT
from zoo.example import Example

OBJECTIVES = (Elbo(), Elbo(importance=3, importance_from=0.0))

EXAMPLES = {
    # Far from fresh weights a posterior is so far from the exact one that a thousand draws estimate p(x) badly.
    "ladder": Example(
        ladder.Config((1, 3, 3), (12, 9, 6), (1, 1, 2), 8, prior=Flow(couplings=2, hidden=6)),
        LATENT,
        OBJECTIVES,
        noise=0.03,
    ),
    "ladder-two-rungs": Example(ladder.Config((1, 3, 3), (10, 6), (2, 1), 8, prior=Vamp(4)), LATENT, OBJECTIVES),
    "ladder-8-bit": Example(
        ladder.Config((3, 4, 5), (12, 8), (3, 2), 8, likelihood=LogisticMixture(2), prior=Standard()),
        LATENT,
        OBJECTIVES,
    ),
}
