"""A codec for photographs, all qualities in one model: a VAE with integer latents, trained in floating point."""

from imprior.data.settings import Data
from imprior.models import codec
from imprior.objectives.rate_distortion import RateDistortion
from imprior.recipes import Recipe
from imprior.training.settings import Gradient, Optimiser, Schedule

recipe = Recipe(
    name="photo-codec",
    # A third with halved colours, as most photographs in files have; those to train on are shrunk, so theirs are fine.
    data=Data(channels=3, crop=256, scales=(1.0, 0.6), flip=True, turn=True, halved_colours=0.33),
    model=codec.Config(slope=0.125),  # of plain ReLUs most die on the coarse grids (benchmarks/dead_units.py)
    training=Gradient(
        objective=RateDistortion(),
        optimiser=Optimiser("adamw", rate=5e-4, weight_decay=0.0),
        schedule=Schedule("cosine", warmup=0.01, floor=0.005),
        images=1_600_000,
        batch=8,
        average=8_000,
        precision="bfloat16",
        check=16_000,
    ),
)
