"""Recipe and data become a run: the one place where the wings meet.

data.prepare ──► Batches ──► training.loop (objective, model) ──► calibrate ──► run folder
"""

from __future__ import annotations

import copy
import os
import platform
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from imprior import preview, recipes, runs
from imprior.data import prepare
from imprior.data.batches import Batches, Images
from imprior.errors import DataError, RecipeError, RunError
from imprior.loading import build, fill
from imprior.promises import Calibrates, kept
from imprior.recipes import Recipe
from imprior.training import distributed, loop, state
from imprior.training.settings import Fit, Gradient

SAVE_SECONDS = 20.0
CALIBRATION_IMAGES = 20_000


@dataclass(frozen=True)
class Progress:
    """What whoever watches a training is told.

    Attributes:
        done, total: images seen, or passes made, and how many it will be.
        unit: "images" or "passes".
        line: what the log says of this moment, or None between two lines.
    """

    done: int
    total: int
    unit: str
    line: dict[str, Any] | None


Watch = Callable[[Progress], None]


def train(
    recipe: Recipe,
    data: str | Path | tuple[Images, Images | None],
    out: Path | str,
    *,
    minutes: float | None = None,
    resume: bool = False,
    init: str | Path | None = None,
    on_broken: Literal["refuse", "skip"] = "refuse",
    watch: Watch | None = None,
) -> runs.Run:
    """Train `recipe` on `data` into the folder `out`.

    Args:
        recipe: what to train; zeros in the model's shape are filled in from the data.
        data: a source (see `data.source`), or training and validation images already prepared.
        out: the run folder; it must not hold a run yet, unless `resume`.
        minutes: replaces `training.images` by as many as a short timing says will fit.
        resume: go on from what `out` holds, with the recipe that it holds; begins where there is nothing.
        init: a run or embedded model whose weights to begin with.
        on_broken: "refuse" stops at the first image that can't be read, "skip" leaves such images out.
        watch: told about progress, a few times a second.

    Returns:
        The run.

    Raises:
        DataError, RecipeError, RunError: as their messages say.
        KeyboardInterrupt: after Ctrl-C; the run can be resumed.
    """
    run = runs.Run(Path(out))
    if run.exists() and not resume:
        raise RunError(f"{out} already holds a run: --resume goes on with it, another --out begins anew")
    if run.exists():
        recipe = _same(recipes.read(run.read("recipe.json")), recipe)
    elif run.path.exists() and not run.path.is_dir():
        raise RunError(f"can't write {out}: a file of that name is in the way")
    group = distributed.join()
    try:
        if isinstance(data, tuple):
            images, held_out = data
        else:
            images = prepare.load(data, recipe.data, "train", on_broken=on_broken)
            held_out = None
            if recipe.data.validation or "validation" in prepare.splits(data):
                held_out = prepare.load(data, recipe.data, "validation", on_broken=on_broken)
        recipe = recipe.with_shape(shape_of(images, recipe))
        model = build(recipe).to(_device(group))
        if init is not None:
            first = runs.find(init)
            fill(model, runs.read_tensors(first.weights_file)[0], where=str(first.weights_file))
        maker = _Steps if isinstance(recipe.training, Gradient) else _Passes
        training = maker(run, recipe, model, images, held_out, group=group, watch=watch)
        training.prepare(minutes)
        interrupted = training.go()
        if group.leads:
            _finish(training)
        if interrupted:
            raise KeyboardInterrupt
        return run
    finally:
        distributed.leave()


class _Training:
    """A training and its folder; what steps and passes share."""

    def __init__(
        self,
        run: runs.Run,
        recipe: Recipe,
        model: nn.Module,
        images: Images,
        held_out: Images | None,
        *,
        group: distributed.Group,
        watch: Watch | None,
    ):
        self.run, self.recipe, self.model, self.images, self.held_out = run, recipe, model, images, held_out
        self.group, self.watch = group, watch
        self.seconds = 0.0
        self.figures: dict[str, float] = {}

    def begin_folder(self) -> None:
        """Write recipe.json where there is none yet."""
        if self.group.leads and not self.run.exists():
            self.run.write("recipe.json", recipes.as_json(self.recipe))

    def saved(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """What a former process left to go on from.

        Raises:
            RunError: it was trained on other data.
        """
        if not self.run.state_file.is_file():
            return None
        tensors, metadata = runs.read_tensors(self.run.state_file)
        if metadata.pop("fingerprint", None) != self.images.fingerprint:
            raise RunError(f"{self.run.path} was trained on other data than these; use another --out")
        return tensors, metadata

    def save(self, tensors: dict[str, Tensor], metadata: dict[str, Any]) -> None:
        """Make this moment the one to go on from."""
        if self.group.leads:
            runs.write_tensors(self.run.state_file, tensors, metadata | {"fingerprint": self.images.fingerprint})

    def tell(self, progress: Progress) -> None:
        """Log a line, and pass the moment on to whoever watches."""
        if not self.group.leads:
            return
        if progress.line is not None:
            self.run.append(progress.line)
        if self.watch is not None:
            self.watch(progress)

    def prepare(self, minutes: float | None) -> None:
        """Settle the budget and begin the folder."""
        raise AssertionError("each kind has its own")

    def go(self) -> bool:
        """Train; True when a person stopped it."""
        raise AssertionError("each kind has its own")

    def result(self) -> dict[str, Tensor]:
        """The weights that tasks use."""
        raise AssertionError("each kind has its own")


class _Steps(_Training):
    """By gradient steps."""

    state: state.State

    @property
    def settings(self) -> Gradient:
        assert isinstance(self.recipe.training, Gradient)
        return self.recipe.training

    def prepare(self, minutes: float | None) -> None:
        batches = self._batches(self.settings.batch)
        if minutes is not None and not self.run.exists():
            fits = self.group.from_leader(images_in(minutes, self.model, self.settings, batches, self.recipe.seed))
            fits = max(batches.batch, int(fits) // batches.batch * batches.batch)
            self.recipe = replace(self.recipe, training=replace(self.settings, images=fits))
        self.begin_folder()
        self.state = state.begin(self.model, self.settings)
        if (saved := self.saved()) is not None:
            self.state.restore(*saved)
        if self.group.leads:
            self.run.truncate_log(self.state.counters.images)

    def _batches(self, batch: int) -> Batches:
        group = self.group
        return Batches(
            self.images, self.recipe.data, batch=batch, seed=self.recipe.seed, rank=group.rank, world=group.world
        )

    def go(self) -> bool:
        validate = None
        if self.held_out is not None and len(self.held_out):
            data = replace(self.recipe.data, flip=False)
            batches = Batches(self.held_out, data, batch=1, seed=self.recipe.seed, train=False)
            validate = loop.objective_mean(self.model, self.settings, batches, seed=self.recipe.seed)
        with _interrupts() as asked:
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


class _Passes(_Training):
    """By passes over the data: `model.update(batches)` makes one and returns what it reached (lower is better)."""

    def prepare(self, minutes: float | None) -> None:
        if minutes is not None:
            raise RecipeError(f"{self.recipe.name} is fitted in passes, not by minutes: see training.iterations")
        if self.group.world > 1:
            raise RecipeError(f"{self.recipe.name} is fitted by one process")
        self.begin_folder()
        self.run.truncate_log(10**18)

    def go(self) -> bool:
        settings = self.recipe.training
        assert isinstance(settings, Fit)
        done, reached = 0, float("inf")
        if (saved := self.saved()) is not None:
            fill(self.model, saved[0], where=str(self.run.state_file))
            done, reached, self.seconds = saved[1]["passes"], saved[1]["reached"], saved[1]["seconds"]
        batches = self.images.chunks(settings.batch)
        with _interrupts() as asked:
            while done < settings.iterations and not asked():
                started = time.perf_counter()
                before, reached = reached, float(cast(Any, self.model).update(batches))
                done, self.seconds = done + 1, self.seconds + time.perf_counter() - started
                self.save(self.model.state_dict(), {"passes": done, "reached": reached, "seconds": self.seconds})
                line = {"images": done * len(self.images), "passes": done, "loss": reached, "seconds": self.seconds}
                self.tell(Progress(done, settings.iterations, "passes", line))
                if abs(before - reached) <= settings.tolerance * abs(reached):
                    done = settings.iterations
        self.figures = {"training_loss": reached}
        return done < settings.iterations

    def result(self) -> dict[str, Tensor]:
        return self.model.state_dict()


def _finish(training: _Training) -> None:
    """Weights, card and pictures of a training that has ended or was stopped."""
    run, recipe = training.run, training.recipe
    weights = {name: tensor.detach().cpu() for name, tensor in training.result().items()}
    model = build(recipe)
    fill(model, weights, where=str(run.weights_file))
    model.eval()
    if isinstance(model, Calibrates):
        model.calibrate(calibration(training.images, recipe))
        weights = {name: tensor for name, tensor in model.state_dict().items() if name in weights}
    runs.write_tensors(run.weights_file, weights, {"recipe": recipe.name})
    run.write("card.json", _card(training, model, weights))
    shown = training.held_out if training.held_out is not None and len(training.held_out) else training.images
    batches = Batches(shown, replace(recipe.data, flip=False), batch=0, seed=recipe.seed, train=False)
    preview.write(run, model, batches)


def calibration(images: Images, recipe: Recipe) -> Sequence[Tensor]:
    """Training images as batches, cropped where the recipe crops, neither binarized nor corrupted."""
    clean = Batches(images, type(recipe.data)(crop=recipe.data.crop), batch=0, seed=recipe.seed, train=False)
    count = min(len(images), CALIBRATION_IMAGES)
    rng = torch.Generator().manual_seed(0)
    return [clean.take(torch.arange(i, min(i + 500, count)), rng).x for i in range(0, count, 500)]


def _card(training: _Training, model: nn.Module, weights: dict[str, Tensor]) -> dict[str, Any]:
    recipe, images = training.recipe, training.images
    family = type(recipe.model).__module__.rsplit(".", 1)[-1].replace("_", "-")
    return {
        "name": training.run.name,
        "recipe": recipe.name,
        "family": family,
        "promises": kept(model),
        "shape": list(recipe.model.shape),
        "levels": getattr(model, "levels", None),
        "classes": getattr(model, "classes", None),
        "parameters": sum(t.numel() for n, t in weights.items() if n in dict(model.named_parameters())),
        "data": {"images": len(images), "fingerprint": images.fingerprint, "classes": list(images.classes)},
        "training": {
            "images": training.state.counters.images if isinstance(training, _Steps) else len(images),
            "seconds": round(training.seconds, 1),
            "finished": not isinstance(training, _Steps) or training.state.counters.finished,
            "processor": _processor(),
            "threads": torch.get_num_threads(),
            "processes": training.group.world,
            "torch": torch.__version__,
        },
        "figures": training.figures,
    }


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


def _same(saved: Recipe, asked: Recipe) -> Recipe:
    """The saved recipe, if what is asked for does not contradict it (the budget may have been settled by minutes)."""
    from imprior.settings import flatten

    before, now = flatten(saved), flatten(asked)
    for key in before:
        settled = key in ("training.images", "model.shape")
        if not settled and before[key] != now.get(key):
            raise RecipeError(f"the run was begun with {key}={before[key]}, not {now.get(key)}: use another --out")
    return saved


def shape_of(images: Images, recipe: Recipe) -> tuple[int, int, int]:
    """Shape of the images as the recipe crops them.

    Raises:
        DataError: they differ in size and the recipe crops nothing.
    """
    channels, height, width = images.shape
    crop = recipe.data.crop
    if crop is not None:
        height = width = crop
    if channels is None or height is None or width is None:
        raise DataError("the images differ in size: set data.size=… (resize and cut) or data.crop=…")
    return channels, height, width


def _device(group: distributed.Group) -> torch.device:
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
        name = next(line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f"{name}, {os.cpu_count()} cores"


@contextmanager
def _interrupts() -> Iterator[Callable[[], bool]]:
    """Ctrl-C sets a flag that is asked for between steps; a second one interrupts at once."""
    asked = False

    def handler(number: int, frame: object) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    former = signal.signal(signal.SIGINT, handler)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, former)
