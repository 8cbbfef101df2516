"""Normalising flows."""

from imprior.models import flow, tarflow
from imprior.models.dequantised import Uniform, Variational
from imprior.nn.transformer import Transformer
from imprior.objectives.likelihood import Likelihood
from zoo.example import Example

PROMISES = ("Decodes", "Encodes", "Scores", "Samples")
NOISE = Variational(hidden=4)
ATTENTION = Transformer(width=8, heads=2, layers=1, expansion=2)

EXAMPLES = {
    "flow": Example(
        flow.Config((1, 4, 2), 2, steps=(2,), hidden=(6,), dense=2, dense_hidden=8, dequantisation=NOISE),
        PROMISES,
        (Likelihood(),),
        noise=0.05,  # with noise in the bins that fits the flow no more, the bound by 1,000 draws would be loose
    ),
    "flow-dense": Example(
        flow.Config((1, 3, 3), 2, steps=(), hidden=(), dense=3, dense_hidden=8, dequantisation=Uniform()),
        PROMISES,
        (Likelihood(),),
    ),
    "flow-colour": Example(
        flow.Config((3, 8, 4), steps=(1, 2), hidden=(6, 8), dense=2, dense_hidden=8, dequantisation=NOISE),
        PROMISES,
        (Likelihood(),),
    ),
    "tarflow": Example(
        tarflow.Config((1, 4, 2), 2, patch=2, blocks=2, network=ATTENTION, dequantisation=Uniform()),
        PROMISES,
        (Likelihood(),),
    ),
    "tarflow-rows": Example(
        tarflow.Config((1, 6, 4), patch=2, blocks=2, network=ATTENTION, dequantisation=NOISE),
        PROMISES,
        (Likelihood(),),
    ),
}
