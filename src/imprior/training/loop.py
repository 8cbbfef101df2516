"""The training loop: one function. What happens around steps is handed in as hooks.

    batches.at(step) ──► objective(model, batch) ──► backward ──► mean over processes ──► clip ──► step ──► average

Everything here is a function of (seed, step): kill it anywhere, restore the state, and the weights come out the same.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from imprior.data.batches import Batches
from imprior.errors import RunError
from imprior.parts import Batch
from imprior.randomness import generator
from imprior.training.allocation import keep_freed_memory
from imprior.training.distributed import Group
from imprior.training.schedule import rate_factor
from imprior.training.settings import Gradient
from imprior.training.state import State, players_of


@dataclass(frozen=True)
class Moment:
    """What a hook is told after each step.

    Attributes:
        state: the training as it is now.
        report: the parts of the loss of this step, by player and name.
        loss: mean over the processes.
        rate: learning rate of this step.
        gradient_norm: before clipping.
        validation: the validation loss, at a check; else None.
    """

    state: State
    report: Mapping[str, float]
    loss: float
    rate: float
    gradient_norm: float
    validation: float | None


Hook = Callable[[Moment], None]


def train(
    state: State,
    settings: Gradient,
    batches: Batches,
    *,
    seed: int,
    validate: Callable[[], float] | None = None,
    hooks: Sequence[Hook] = (),
    group: Group | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> None:
    """Step until `settings.images` images are seen, early stopping says so, or `stop()` does (asked after each step).

    Args:
        state: where to begin; changed in place. `state.counters.finished` tells whether the end was reached.
        settings: objective, optimiser, schedule, budget.
        batches: the training data.
        seed: of the objective's noise.
        validate: the loss on the validation part, called every `settings.check` images.
        hooks: called after each step, in order.
        group: the processes that train together.
        stop: whether a person wants to stop.

    Raises:
        RunError: the loss or a gradient is not a number, or depends on nothing that is trained; the state is that
            before the step.
    """
    keep_freed_memory()
    group = group or Group()
    model, counters = state.model, state.counters
    players = players_of(model)
    device = next(model.parameters()).device
    named = dict(model.named_parameters())
    averaged, sources = list(state.average.values()), [named[name].data for name in state.average]
    model.train()
    while counters.images < settings.images and not counters.finished:
        started = time.perf_counter()
        batch = on_device(batches.at(counters.step), device)
        progress = counters.images / settings.images
        # The first step has a rate above zero: warm-up counts the step that is being made.
        along = min(1.0, (counters.images + batches.batch) / settings.images)
        rate = settings.optimiser.rate * rate_factor(settings.schedule, along, counters.drops)
        report: dict[str, float] = {}
        loss, norm, asked = 0.0, 0.0, float(stop())
        for player, optimiser in state.optimisers.items():
            optimiser.zero_grad(set_to_none=True)
            rng = generator(seed, "objective", counters.step, player, group.rank, device=device)
            turn = None if len(players) == 1 else player
            with autocast(settings, device):
                parts = settings.objective(model, batch, rng=rng, progress=progress, player=turn)
            if not parts.loss.requires_grad:
                raise RunError(f"the loss does not depend on what is trained (training.only={settings.only})")
            parts.loss.backward()  # type: ignore[no-untyped-call]
            mean_loss, asked = group.average(players[player], [parts.loss.item(), asked])
            norm = _clip(players[player], settings.clip)
            if not (math.isfinite(mean_loss) and math.isfinite(norm)):
                raise RunError(
                    f"the loss is not a number at image {counters.images} (step {counters.step}): "
                    "training stopped with the last good state; try a lower optimiser.rate"
                )
            for part in optimiser.param_groups:
                part["lr"] = rate
            optimiser.step()
            loss += mean_loss
            prefix = "" if turn is None else f"{player}."
            report |= {prefix + name: float(value) for name, value in parts.report.items()}
        if averaged:
            torch._foreach_lerp_(averaged, sources, 1 - _decay(settings, batches.batch, counters.step))
        counters.step += 1
        before, counters.images = counters.images, counters.images + batches.batch
        checked = counters.images // settings.check > before // settings.check or counters.images >= settings.images
        validation = None
        if checked and validate is not None:
            with using(state):
                validation = validate()
            model.train()
            _judge(state, settings, validation)
        if counters.images >= settings.images:
            counters.finished = True
        counters.seconds += time.perf_counter() - started
        moment = Moment(state, report, loss, rate, norm, validation)
        for hook in hooks:
            hook(moment)
        if asked > 0:
            return


def objective_mean(
    model: nn.Module, settings: Gradient, batches: Batches, *, seed: int, most: int = 5000
) -> Callable[[], float]:
    """A function that gives the mean objective over (at most `most`) validation images, with the same noise each time.

    It is the objective as it stands at the end of training (`progress` 1), so that values stay comparable while
    warm-ups run.
    """
    images, device = min(len(batches.images), most), next(model.parameters()).device

    def validate() -> float:
        model.eval()
        total = 0.0
        for start in range(0, images, 500):
            index = torch.arange(start, min(start + 500, images))
            batch = on_device(batches.take(index, generator(seed, "validation data", start)), device)
            rng = generator(seed, "validation", start, device=device)
            with torch.no_grad(), autocast(settings, device):
                total += settings.objective(model, batch, rng=rng, progress=1.0).loss.item() * len(index)
        return total / images

    return validate


def autocast(settings: Gradient, device: torch.device) -> AbstractContextManager[None]:
    """bfloat16 for networks where the settings ask for it."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=settings.precision == "bfloat16")  # type: ignore[return-value]


def on_device(batch: Batch, device: torch.device) -> Batch:
    """The batch where the model is."""
    if device.type == "cpu":
        return batch
    moved = {k: v.to(device, non_blocking=True) for k, v in vars(batch).items() if isinstance(v, Tensor)}
    return replace(batch, **moved)


@contextmanager
def using(state: State) -> Iterator[nn.Module]:
    """The model with the averaged weights in it (if there are any) while the block runs."""
    named = dict(state.model.named_parameters())
    raw = {name: named[name].detach().clone() for name in state.average}
    with torch.no_grad():
        for name, tensor in state.average.items():
            named[name].copy_(tensor)
    try:
        yield state.model
    finally:
        with torch.no_grad():
            for name, tensor in raw.items():
                named[name].copy_(tensor)


def _clip(parameters: Sequence[nn.Parameter], largest: float | None) -> float:
    """Norm of the gradient, which is scaled down where that is above `largest`."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    # One call for all of them: on small nets the checks of nn.utils take as long as the norm itself.
    norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
    if largest is not None and norm > largest:  # most steps need no second pass over the gradient
        nn.utils.clip_grads_with_norm_(parameters, largest, norm, foreach=True)
    return float(norm)


def _decay(settings: Gradient, batch: int, step: int) -> float:
    # Early averages would remember the random start, so the first steps forget faster.
    assert settings.average is not None
    return min(math.pow(0.5, batch / settings.average), (1 + step) / (10 + step))


def _judge(state: State, settings: Gradient, validation: float) -> None:
    """Early stopping and the plateau schedule, by a validation loss."""
    counters = state.counters
    if validation < counters.best:
        counters.best, counters.waited, counters.waited_plateau = validation, 0, 0
        if settings.patience is not None:
            source = state.average or dict(state.model.named_parameters())
            state.best = {name: tensor.detach().clone() for name, tensor in source.items()}
        return
    counters.waited += 1
    counters.waited_plateau += 1
    if counters.waited_plateau > settings.schedule.patience:
        counters.drops, counters.waited_plateau = counters.drops + 1, 0
    if settings.patience is not None and counters.waited >= settings.patience:
        counters.finished = True
