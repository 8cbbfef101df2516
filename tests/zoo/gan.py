"""Adversarial networks."""

from __future__ import annotations

from imprior.models import gan
from imprior.nn.generator import Residual
from imprior.objectives.adversarial import Adversarial
from zoo.example import Example

KEPT = ("Decodes", "Samples")

EXAMPLES = {
    "gan": Example(
        gan.Config((1, 6, 5), Residual((4, 6), features=5, attention=2), latent=3, classes=3, embedding=2),
        KEPT,
        (
            *(Adversarial(loss) for loss in ("relativistic", "non-saturating", "minimax", "hinge", "wgan-gp")),
            Adversarial(labels=0.5),
        ),
    ),
    "gan-colour": Example(gan.Config((3, 8, 8), Residual((4,), blocks=2), latent=3), KEPT, (Adversarial(share=1.0),)),
}
