"""Autoregressive models, one for each network and each output."""

from __future__ import annotations

from imprior.models.autoregressive import Config
from imprior.models.pixel_outputs import Categorical, Joint, Logistics
from imprior.nn.causal import MaskedConvolution
from imprior.objectives.likelihood import Likelihood
from zoo.example import Example

PROMISES = ("Scores", "Samples", "Completes")


def example(*parts, **more):
    return Example(Config(*parts, **more), PROMISES, (Likelihood(),), exact=True)


EXAMPLES = {
    "pixelcnn": example((1, 3, 3), 1, MaskedConvolution(8, 4, (1, 2)), Joint(8)),
    "pixelcnn-patches": example((1, 4, 2), 2, MaskedConvolution(8, 4, (1,), heads=2), Joint(8), classes=3),
    "pixelcnn-in-turn": example((1, 2, 4), 2, MaskedConvolution(6, 4, (1,)), Categorical(2, 8), classes=2),
    "pixelcnn-logistics": example((1, 2, 4), 2, MaskedConvolution(6, 4, (1,)), Logistics(2, 2, 8)),
    "pixelcnn-categorical-8bit": example((1, 4, 6), 2, MaskedConvolution(6, 4, (1, 1)), Categorical(256, 8)),
    "pixelcnn-colour": example((3, 4, 4), 2, MaskedConvolution(6, 4, (1,)), Logistics(3, 256, 8)),
}
