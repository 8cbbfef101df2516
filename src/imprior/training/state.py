"""All that a training is at one moment, as tensors and counters that go into one file."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn

from imprior.errors import RecipeError, RunError
from imprior.training.schedule import optimiser_for
from imprior.training.settings import Gradient


@dataclass
class Counters:
    """What is counted; all of it is saved and none of it depends on the clock, but `seconds`, which only informs."""

    step: int = 0
    images: int = 0
    seconds: float = 0.0
    best: float = float("inf")  # validation loss
    waited: int = 0  # checks since the best
    waited_plateau: int = 0  # checks since the best or the last drop
    drops: int = 0
    finished: bool = False


@dataclass
class State:
    """Model, optimisers, averages and counters of a training.

    Attributes:
        model: its raw weights.
        optimisers: one for each player; one named "model" where there is one player.
        average: moving average of each parameter, by name; empty where none is kept.
        best: weights at the best check, by name; empty without early stopping.
        counters: what is counted.
    """

    model: nn.Module
    optimisers: dict[str, torch.optim.Optimizer]
    average: dict[str, Tensor]
    best: dict[str, Tensor] = field(default_factory=dict)
    counters: Counters = field(default_factory=Counters)

    def result(self) -> dict[str, Tensor]:
        """The weights that tasks use: the best, else the average, else the last; buffers as they are."""
        weights = {**self.model.state_dict(), **(self.best or self.average)}
        return {name: tensor for name, tensor in weights.items() if not _belongs(name, self._training_only())}

    def tensors(self) -> dict[str, Tensor]:
        """Everything as named tensors."""
        found = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        found |= {f"average.{k}": v for k, v in self.average.items()}
        found |= {f"best.{k}": v for k, v in self.best.items()}
        for player, optimiser in self.optimisers.items():
            for number, values in optimiser.state_dict()["state"].items():
                found |= {f"optimiser.{player}.{number}.{k}": v for k, v in values.items() if isinstance(v, Tensor)}
        return found

    def metadata(self) -> dict[str, Any]:
        """The counters, as JSON values."""
        return asdict(self.counters)

    def restore(self, tensors: dict[str, Tensor], metadata: dict[str, Any]) -> None:
        """Become the state that `tensors` and `metadata` describe.

        Raises:
            RunError: they are of another model, or of another version.
        """
        try:
            self.model.load_state_dict(_under(tensors, "model."))
            self.average = {k: _under(tensors, "average.")[k] for k in self.average}
            self.best = _under(tensors, "best.")
            for player, optimiser in self.optimisers.items():
                values: dict[int, dict[str, Tensor]] = {}
                for key, tensor in _under(tensors, f"optimiser.{player}.").items():
                    number, _, name = key.partition(".")
                    values.setdefault(int(number), {})[name] = tensor
                optimiser.load_state_dict({"state": values, "param_groups": optimiser.state_dict()["param_groups"]})
            self.counters = Counters(**metadata)
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            first = str(error).splitlines()[0]
            raise RunError(f"the saved state is not of this recipe's model ({first}); use another --out") from None

    def _training_only(self) -> tuple[str, ...]:
        return tuple(getattr(self.model, "training_only", ()))


def begin(model: nn.Module, settings: Gradient) -> State:
    """The state before the first step.

    Raises:
        RecipeError: nothing in the model has the name that `settings.only` gives, or its parts are trained in turns.
    """
    if settings.only is not None:
        _freeze(model, settings.only)
    return State(
        model=model,
        optimisers={name: optimiser_for(model, ps, settings.optimiser) for name, ps in players_of(model).items()},
        average={n: p.detach().clone() for n, p in model.named_parameters()} if settings.average else {},
    )


def players_of(model: nn.Module) -> dict[str, list[nn.Parameter]]:
    """Parameter groups that are stepped in turn: what `model.players()` says, else all as the one player "model"."""
    if hasattr(model, "players"):
        return {name: list(ps) for name, ps in cast(Any, model).players().items()}
    return {"model": [p for p in model.parameters() if p.requires_grad]}


def _freeze(model: nn.Module, only: str) -> None:
    """Let training change nothing but the parts whose names begin with `only`."""
    if hasattr(model, "players"):
        raise RecipeError("training.only is for models of one player, whose parts aren't trained in turns")
    parameters = dict(model.named_parameters())
    if not any(_belongs(name, (only,)) for name in parameters):
        parts = ", ".join(dict.fromkeys(name.split(".")[0] for name in parameters))
        raise RecipeError(f"training.only={only}: no parameter's name begins so; the model's parts are {parts}")
    for name, parameter in parameters.items():
        parameter.requires_grad_(parameter.requires_grad and _belongs(name, (only,)))


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _belongs(name: str, modules: tuple[str, ...]) -> bool:
    return any(name == m or name.startswith(m + ".") for m in modules)
