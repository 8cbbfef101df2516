"""A denoiser for colour photographs: white noise up to 75 of 255, told pixel by pixel, and what cameras make."""

from imprior.data.settings import Corruption, Data
from imprior.models import denoiser
from imprior.nn.unet import UNet
from imprior.objectives.denoising import Denoising
from imprior.recipes import Recipe
from imprior.training.settings import Gradient, Optimiser, Schedule

recipe = Recipe(
    name="photo-denoiser",
    data=Data(
        channels=3,
        crop=128,
        scales=(1.0, 0.6, 0.35),  # whole pictures of test sets are small, so finer than photographs
        flip=True,
        turn=True,
        halved_colours=0.5,  # as in most files; the photographs to train on are shrunk, so theirs are fine
        corruption=Corruption("photographic", 0.0, 75 / 255),
    ),
    model=denoiser.Config(network=UNet(channels=(48, 64, 96), blocks=(1, 2, 1), back=(2, 2), slope=0.1)),
    training=Gradient(
        objective=Denoising(),
        # In short trainings on as many images the loss was far lower than with AdamW.
        optimiser=Optimiser("muon", rate=2e-3, weight_decay=1e-3, momentum=0.95),
        schedule=Schedule("cosine", warmup=0.01, floor=0.005),
        images=800_000,
        batch=16,
        average=4_000,
        precision="bfloat16",
        check=20_000,
    ),
)
