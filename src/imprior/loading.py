"""A model by name or folder: JSON and safetensors only, so a foreign folder can be wrong but can't run code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from imprior import packing, recipes, runs
from imprior.errors import RunError


def load(name: str | Path | runs.Run) -> Any:
    """The trained model of an embedded name or a run folder, ready for use.

    Args:
        name: "mnist-vae", or a run folder's path.

    Returns:
        The model, in evaluation mode, on the CPU, in float32. Its methods are the promises that it keeps
        (`imprior.promises`); `imprior info NAME` lists them.

    Raises:
        RunError: no such model, or its weights are missing, damaged or of another model.

    >>> load("mnist-vae").shape
    (1, 28, 28)
    """
    run = name if isinstance(name, runs.Run) else runs.find(name)
    model = build(recipes.read(run.read("recipe.json")))
    if not run.weights_file.is_file() and run.state_file.is_file():
        raise RunError(f"{run.path}: its training was killed before it had weights; go on with --resume")
    tensors, _ = runs.read_tensors(run.weights_file)
    fill(model, tensors, where=str(run.weights_file))
    return model.eval()


def build(recipe: recipes.Recipe) -> nn.Module:
    """A freshly initialised model, the same for the same seed; the global random state is left as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        model = recipe.model.build()
    if any(p.dim() == 4 for p in model.parameters()):
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model


def fill(model: nn.Module, tensors: dict[str, torch.Tensor], *, where: str) -> None:
    """Put weights into a model.

    What only training needs (names that begin with one of `model.training_only`) may be missing, and what others say
    (`model.implied`, which `model.imply()` then fills).

    Raises:
        RunError: a weight is missing, unknown or of another shape.
    """
    try:
        tensors = packing.unpack(tensors)
    except (KeyError, ValueError, RuntimeError):
        raise RunError(f"{where}: damaged (packed weights whose parts don't fit each other)") from None
    try:
        missing, unknown = model.load_state_dict(tensors, strict=False)
    except RuntimeError as error:
        raise RunError(
            f"{where}: not the weights of this recipe's model ({str(error).splitlines()[-1].strip()})"
        ) from None
    training_only, implied = (tuple(getattr(model, which, ())) for which in ("training_only", "implied"))
    wrong = [name for name in missing if not name.startswith((*training_only, *implied))] + unknown
    if wrong:
        raise RunError(f"{where}: not the weights of this recipe's model ('{wrong[0]}' does not match)")
    if any(name.startswith(implied) for name in missing):
        model.imply()  # type: ignore[operator]
