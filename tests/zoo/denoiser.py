"""The denoiser of photographs."""

from __future__ import annotations

from imprior.models import denoiser
from imprior.nn.unet import UNet
from imprior.objectives.denoising import Denoising
from zoo.example import Example

EXAMPLES = {
    "denoiser": Example(
        denoiser.Config((3, 8, 8), UNet((6, 8), (1, 1)), estimator=4), ("Denoises", "DenoisesLocally"), (Denoising(),)
    ),
    "denoiser-grey": Example(
        denoiser.Config((1, 8, 8), UNet((4, 6, 8), (1, 1, 1), slope=0.2, back=(2, 0)), estimator=4),
        ("Denoises", "DenoisesLocally"),
        (Denoising(),),
    ),
}
