"""Named, typed, complete trainings: one module each, found by listing this folder.

A recipe module's docstring begins with a line that says what it trains; its `recipe` is a `Recipe`. Names are the
modules' names with hyphens.
"""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from imprior.data.settings import Data
from imprior.errors import RecipeError, nearest
from imprior.settings import from_json, override, to_json
from imprior.training.settings import Fit, Gradient

if TYPE_CHECKING:
    from torch import nn

VERSION = 1


@runtime_checkable
class ModelConfig(Protocol):
    """What a model's `Config` has: the shape of its images and a way to build it."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height, width; 0 where the data decide."""
        ...

    def build(self) -> nn.Module:
        """The model, freshly initialised."""
        ...


@dataclass(frozen=True)
class Recipe:
    """A complete training.

    Attributes:
        name: as `imprior train` knows it.
        data: how images are prepared.
        model: the model's config; zeros in its shape are filled in from the data.
        training: by gradient steps or by passes.
        seed: of initialisation, order and noise.
        version: of this format.
    """

    name: str
    data: Data
    model: ModelConfig
    training: Gradient | Fit
    seed: int = 0
    version: int = VERSION

    def variant(self, name: str, *overrides: str, **parts: Any) -> Recipe:
        """A recipe of another name that differs in the given parts (`data`, `model`, `training`) and overrides."""
        return replace(self, name=name, **parts).with_overrides(overrides)

    def with_overrides(self, overrides: Iterable[str]) -> Recipe:
        """A copy with `key=value` texts applied in turn; `training.` may be left out of a key.

        Raises:
            RecipeError: not of that form, an unknown key (the nearest is named), or a value of the wrong type.
        """
        recipe = self
        for text in overrides:
            key, equals, value = text.partition("=")
            if not equals or not key:
                raise RecipeError(f"'{text}' is not of the form key=value")
            if key in ("name", "version"):
                raise RecipeError(f"'{key}' is not a setting")
            recipe = override(recipe, key, value, through=("training",))
        return recipe

    def with_shape(self, shape: tuple[int, int, int]) -> Recipe:
        """A copy whose model is for images of `shape`.

        Raises:
            RecipeError: the recipe names another shape.
        """
        wanted = self.model.shape
        if any(w not in (0, s) for w, s in zip(wanted, shape, strict=True)):
            raise RecipeError(
                f"the recipe is for images of {'x'.join(map(str, wanted))} (channels x height x width), "
                f"the data have {'x'.join(map(str, shape))}"
            )
        return replace(self, model=_replace(self.model, shape=shape))


def _replace(config: Any, **changes: Any) -> Any:
    # A config is a dataclass, which a protocol can't say.
    return replace(config, **changes)


def names() -> dict[str, str]:
    """All recipes by name, with the line that says what each trains; nothing is imported."""
    found = {}
    for path in sorted(Path(__file__).parent.glob("*.py")):
        if not path.stem.startswith("_"):
            text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
            found[path.stem.replace("_", "-")] = text.partition("\n")[0].rstrip(".")
    return found


def find(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        RecipeError: there is none; the nearest is named.
    """
    known = names()
    if name not in known:
        raise RecipeError(f"no recipe '{name}'{nearest(name, known)}; `imprior recipes` lists them")
    recipe = importlib.import_module(f"{__name__}.{name.replace('-', '_')}").recipe
    assert isinstance(recipe, Recipe) and recipe.name == name, f"recipes/{name}: its recipe has another name"
    return recipe


def read(values: dict[str, Any]) -> Recipe:
    """The recipe that recipe.json holds.

    Raises:
        RecipeError: it is of another version, or something in it is unknown or of the wrong type.
    """
    if values.get("version", VERSION) != VERSION:
        raise RecipeError(f"recipe.json has version {values.get('version')}; this program reads version {VERSION}")
    recipe = from_json(values, "recipe.json")
    if not isinstance(recipe, Recipe):
        raise RecipeError("recipe.json holds no recipe")
    return recipe


def as_json(recipe: Recipe) -> dict[str, Any]:
    """What recipe.json holds."""
    return to_json(recipe)
