"""A training by passes over the data, in its folder: closed forms and expectation-maximisation."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from imprior.data.batches import Batches
from imprior.errors import RecipeError
from imprior.fit.folder import Progress, Training
from imprior.fit.interrupts import interrupts
from imprior.loading import fill
from imprior.randomness import generator
from imprior.training.settings import Fit


@dataclass(frozen=True)
class Pass:
    """All training images once, in order and in batches; each time they are gone through, they are the same.

    Crops, mirroring and bits are drawn anew in every pass: a function of the seed and the pass's number.
    """

    batches: Batches
    number: int

    def __iter__(self) -> Iterator[Tensor]:
        rng = generator(self.batches.seed, "pass", self.number)
        for index in torch.split(torch.arange(len(self.batches.images)), self.batches.batch):
            yield self.batches.take(index, rng).x


class Passes(Training):
    """By passes over the data: `model.update(batches)` makes one and returns what it reached (lower is better)."""

    def prepare(self, minutes: float | None) -> None:
        """Begin the folder."""
        if minutes is not None:
            raise RecipeError(f"{self.recipe.name} is fitted in passes, not by minutes: see training.iterations")
        if self.group.world > 1:
            raise RecipeError(f"{self.recipe.name} is fitted by one process")
        self.begin_folder()
        self.run.truncate_log(10**18)

    def go(self) -> bool:
        """Make passes until the tolerance is met; True when a person stopped it."""
        settings = self.recipe.training
        assert isinstance(settings, Fit)
        done, reached = 0, float("inf")
        if (saved := self.saved()) is not None:
            fill(self.model, saved[0], where=str(self.run.state_file))
            done, reached, self.seconds = saved[1]["passes"], saved[1]["reached"], saved[1]["seconds"]
        batches = Batches(self.images, self.recipe.data, batch=settings.batch, seed=self.recipe.seed)
        with interrupts() as asked:
            while done < settings.iterations and not asked():
                started = time.perf_counter()
                before, reached = reached, float(cast(Any, self.model).update(Pass(batches, done)))
                done, self.seconds = done + 1, self.seconds + time.perf_counter() - started
                line = {"images": done * len(self.images), "passes": done, "loss": reached, "seconds": self.seconds}
                if abs(before - reached) <= settings.tolerance * abs(reached):
                    done = settings.iterations
                self.save(self.model.state_dict(), {"passes": done, "reached": reached, "seconds": self.seconds})
                self.tell(Progress(done, settings.iterations, "passes", line))
        self.figures = {"training_loss": reached}
        return done < settings.iterations

    def result(self) -> dict[str, Tensor]:
        """What the passes fitted."""
        return self.model.state_dict()
