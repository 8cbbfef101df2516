"""A training and its folder: what steps and passes share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from imprior import recipes, runs
from imprior.data.batches import Images
from imprior.errors import RunError
from imprior.recipes import Recipe
from imprior.training import distributed


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


class Training(ABC):
    """A training and its folder."""

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
        self.fresh = True  # whether the model's weights are random ones
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

    @abstractmethod
    def prepare(self, minutes: float | None) -> None:
        """Settle the budget and begin the folder."""

    @abstractmethod
    def go(self) -> bool:
        """Train; True when a person stopped it."""

    @abstractmethod
    def result(self) -> dict[str, Tensor]:
        """The weights that tasks use."""
