"""Autoregressive model of binarized digits whose network is recurrent: LSTMs across, down and along rows of patches."""

from imprior.data.settings import Data
from imprior.models import autoregressive
from imprior.models.pixel_outputs import Joint
from imprior.nn.recurrent import RowLSTM
from imprior.objectives.likelihood import Likelihood
from imprior.recipes import Recipe
from imprior.training.settings import Gradient, Optimiser, Schedule

recipe = Recipe(
    name="mnist-rnn",
    data=Data(binarize=True),
    model=autoregressive.Config(patch=2, network=RowLSTM(width=64, layers=2), output=Joint(hidden=64)),
    training=Gradient(
        objective=Likelihood(),
        optimiser=Optimiser("adamw", rate=3e-3, weight_decay=1e-2),
        schedule=Schedule("cosine", warmup=0.02, floor=0.01),
        images=600_000,
        batch=64,
        average=10_000,
        precision="bfloat16",
        check=54_000,
    ),
)
