"""A training by gradient steps, in its folder: budget, log, state to go on from."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from dataclasses import replace

from torch import Tensor, nn

from imprior.data.batches import Batches
from imprior.fit.folder import Progress, Training
from imprior.fit.interrupts import interrupts
from imprior.promises import Starts
from imprior.training import loop, state
from imprior.training.settings import Gradient

SAVE_SECONDS = 10.0
START = 800  # images that a model takes its start from, if it takes one


class Steps(Training):
    """By gradient steps."""

    state: state.State

    @property
    def settings(self) -> Gradient:
        """What the recipe says about the training."""
        assert isinstance(self.recipe.training, Gradient)
        return self.recipe.training

    def prepare(self, minutes: float | None) -> None:
        """Settle the budget, take up the state that a former process left, and begin the folder."""
        batches = self._batches(self.settings.batch)
        if minutes is not None and not self.run.exists():
            fits = self.group.from_leader(images_in(minutes, self.model, self.settings, batches, self.recipe.seed))
            fits = max(batches.batch, int(fits) // batches.batch * batches.batch)
            self.recipe = replace(self.recipe, training=replace(self.settings, images=fits))
        saved = self.saved()
        if self.fresh and saved is None and isinstance(self.model, Starts):
            self.model.start(self._first_images())
        self.state = state.begin(self.model, self.settings)
        self.begin_folder()  # what is refused above leaves nothing behind
        if saved is not None:
            self.state.restore(*saved)
        if self.group.leads:
            self.run.truncate_log(self.state.counters.images)

    def _batches(self, batch: int) -> Batches:
        group = self.group
        return Batches(
            self.images, self.recipe.data, batch=batch, seed=self.recipe.seed, rank=group.rank, world=group.world
        )

    def _first_images(self) -> Iterator[Tensor]:
        """Training images of the first steps, the same for every process."""
        batches = Batches(self.images, self.recipe.data, batch=self.settings.batch, seed=self.recipe.seed)
        for step in range(-(-START // batches.batch)):
            yield batches.at(step).x.to(next(self.model.parameters()).device)

    def go(self) -> bool:
        """Step to the end; True when a person stopped it."""
        validate = None
        if self.held_out is not None and len(self.held_out):
            data = replace(self.recipe.data, flip=False)
            batches = Batches(self.held_out, data, batch=1, seed=self.recipe.seed, train=False)
            validate = loop.objective_mean(self.model, self.settings, batches, seed=self.recipe.seed)
        with interrupts() as asked:
            try:
                loop.train(
                    self.state,
                    self.settings,
                    self._batches(self.settings.batch),
                    seed=self.recipe.seed,
                    validate=validate,
                    hooks=[self._report, self._checkpoint()],
                    group=self.group,
                    stop=asked,
                )
            finally:
                self.save(self.state.tensors(), self.state.metadata())
        self.seconds = self.state.counters.seconds
        lines = [line for line in self.run.log() if "validation" in line]
        self.figures = {"validation_loss": lines[-1]["validation"]} if lines else {}
        return not self.state.counters.finished

    def result(self) -> dict[str, Tensor]:
        """The best weights, else their average, else the last."""
        return self.state.result()

    def _report(self, moment: loop.Moment) -> None:
        counters, settings = moment.state.counters, self.settings
        batch = settings.batch or len(self.images)
        every = max(batch, settings.images // 200)
        line = None
        if counters.images // every > (counters.images - batch) // every or moment.validation is not None:
            line = {
                "images": counters.images,
                "step": counters.step,
                "seconds": round(counters.seconds, 2),
                "loss": moment.loss,
                **moment.report,
                "rate": moment.rate,
                "gradient_norm": moment.gradient_norm,
                "images_per_second": round(counters.images / max(counters.seconds, 1e-9), 1),
            }
            if moment.validation is not None:
                line["validation"] = moment.validation
        self.tell(Progress(min(counters.images, settings.images), settings.images, "images", line))

    def _checkpoint(self) -> loop.Hook:
        last = time.monotonic()

        def hook(moment: loop.Moment) -> None:
            nonlocal last
            if time.monotonic() - last >= SAVE_SECONDS:
                self.save(moment.state.tensors(), moment.state.metadata())
                last = time.monotonic()

        return hook


def images_in(minutes: float, model: nn.Module, settings: Gradient, batches: Batches, seed: int) -> int:
    """How many images a training can see in `minutes`, by a short timing on a copy.

    Steps are timed at places all along the training, since an objective may cost more in a later phase.
    """
    probe = state.begin(copy.deepcopy(model), settings)
    short = replace(settings, check=10**15, patience=None)
    done, started = 0, 0.0
    deadline = time.monotonic() + min(8.0, 6.0 * minutes)
    for turn in range(10_000):
        if turn == 3:  # the first steps allocate
            done, started = 0, time.perf_counter()
        elif turn > 12 and time.monotonic() > deadline:
            break
        # Low-discrepancy places, so that every phase has its share however few steps are timed.
        probe.counters.images = int(settings.images * ((turn * 0.6180339887) % 1.0) * 0.999)
        probe.counters.step = turn
        target = replace(short, images=settings.images)
        loop.train(probe, target, batches, seed=seed, stop=lambda: True)
        done += batches.batch
    per_second = done / (time.perf_counter() - started)
    return int(per_second * minutes * 60 * 0.97)
