"""What a recipe says about its training. Time is counted in images seen, so the batch can change and the rest stays."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from imprior.errors import RecipeError

if TYPE_CHECKING:
    import torch

    from imprior.parts import Batch, Parts


@runtime_checkable
class Objective(Protocol):
    """What is minimised: a settings object that can be called."""

    def __call__(
        self, model: Any, batch: Batch, *, rng: torch.Generator, progress: float, player: str | None = None
    ) -> Parts:
        """The loss of `model` on `batch`; `progress` in [0, 1] is the fraction of the training's images seen."""
        ...


@dataclass(frozen=True)
class Optimiser:
    """How gradients become steps.

    Attributes:
        name: "adamw", "adam", "adagrad", "muon" or "sgd" (with batch=0 and momentum=0: full-batch gradient descent).
        rate: learning rate at the height of the schedule.
        weight_decay: decoupled for adamw and muon, added to the gradient for the others.
        momentum: of sgd and muon.
        betas: decay of the two averages of adam and adamw, and of muon for what is no matrix.
    """

    name: Literal["adamw", "adam", "adagrad", "muon", "sgd"] = "adamw"
    rate: float = 1e-3
    weight_decay: float = 0.0
    momentum: float = 0.9
    betas: tuple[float, float] = (0.9, 0.999)

    def __post_init__(self) -> None:
        if not self.rate > 0:
            raise RecipeError(f"the learning rate is above 0, not {self.rate}")


@dataclass(frozen=True)
class Schedule:
    """The learning rate over time, as a factor of `Optimiser.rate`.

    Attributes:
        name: "constant", "step" (times `factor` every `every` of the training), "exponential" (falls to `floor`
            evenly in the logarithm), "cosine" (falls to `floor`) or "plateau" (times `factor` when the validation
            loss has not improved for `patience` checks).
        warmup: fraction of the training over which the rate rises linearly from 0.
        floor: factor at the end of "cosine" and "exponential".
        factor, every, patience: see `name`.
    """

    name: Literal["constant", "step", "exponential", "cosine", "plateau"] = "cosine"
    warmup: float = 0.01
    floor: float = 0.01
    factor: float = 0.5
    every: float = 0.25
    patience: int = 3


@dataclass(frozen=True)
class Gradient:
    """A training by gradient steps.

    Attributes:
        objective: what is minimised.
        optimiser, schedule: how.
        images: how many images are seen in all; `imprior train --minutes` sets it from a short timing.
        batch: images a step, over all processes; 0 takes the whole training set at each step.
        clip: largest norm of the gradient, larger ones are scaled down; None never.
        average: half-life in images of the moving average of the weights that is kept as the result; None keeps the
            last weights.
        precision: "float32" or "bfloat16" (autocast: networks in bfloat16, losses in float32).
        check: images between two checks on the validation part (the log has a line for each).
        patience: checks without improvement after which training stops and the best weights are taken; None never.
        only: the part of the model that is trained, as a prefix of its parameters' names ("estimator"); the rest stays
            as it began. None trains all.
    """

    objective: Objective
    optimiser: Optimiser = field(default_factory=Optimiser)
    schedule: Schedule = field(default_factory=Schedule)
    images: int = 1_000_000
    batch: int = 128
    clip: float | None = 1.0
    average: float | None = None
    precision: Literal["float32", "bfloat16"] = "float32"
    check: int = 50_000
    patience: int | None = None
    only: str | None = None

    def __post_init__(self) -> None:
        if self.images < 1 or self.batch < 0 or self.check < 1:
            raise RecipeError("images and check are at least 1, batch at least 0")


@dataclass(frozen=True)
class Fit:
    """A training by passes over the data (closed forms, expectation-maximisation).

    Attributes:
        iterations: at most so many passes.
        tolerance: stop when a pass changes what is minimised by less than this fraction.
        batch: images held as floats at a time.
    """

    iterations: int = 1
    tolerance: float = 1e-5
    batch: int = 1000
