"""What other models' samples are measured with."""

from __future__ import annotations

from imprior.models import classifier
from imprior.nn.convolutional import Convolutional
from imprior.objectives.classification import Classification
from zoo.example import Example

EXAMPLES = {
    "classifier": Example(
        classifier.Config((1, 6, 5), Convolutional((4, 6), width=0), 5, 3),
        ("Classifies",),
        (Classification(), Classification(0.1)),
    ),
}
