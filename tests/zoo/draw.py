"""DRAW: recurrent variational autoencoders."""

from __future__ import annotations

from imprior.models import draw
from imprior.models.observations import LogisticMixture
from imprior.objectives.elbo import Elbo
from zoo.autoencoders import LATENT
from zoo.example import Example

OBJECTIVES = (Elbo(), Elbo(importance=3, importance_from=0.0))

EXAMPLES = {
    "draw": Example(draw.Config((1, 2, 3), 3, 2, 8, read=2, write=2), LATENT, OBJECTIVES),
    "draw-whole": Example(draw.Config((1, 3, 2), 2, 1, 8, read=0, write=0), LATENT, OBJECTIVES),
    "draw-8-bit": Example(
        draw.Config((3, 4, 5), 2, 3, 8, read=2, write=3, likelihood=LogisticMixture(2)), LATENT, OBJECTIVES
    ),
}
