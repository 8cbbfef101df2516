"""Recipe and data become a run: the one place where the wings meet.

data.prepare ──► Batches ──► training.loop (objective, model) ──► calibrate ──► run folder
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch

from imprior import recipes, runs
from imprior.data import prepare
from imprior.data.batches import Images
from imprior.errors import DataError, RecipeError, RunError
from imprior.fit.finish import finish
from imprior.fit.folder import Progress, Training, Watch
from imprior.fit.passes import Passes
from imprior.fit.steps import Steps
from imprior.loading import build, fill
from imprior.promises import Converts
from imprior.recipes import Recipe
from imprior.settings import flatten
from imprior.training import distributed
from imprior.training.settings import Gradient

__all__ = ["Progress", "Watch", "shape_of", "train"]


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
        if held_out is not None and len(held_out) and shape_of(held_out, recipe) != recipe.model.shape:
            raise DataError(
                f"images for training of {recipe.model.shape}, but for validation of {shape_of(held_out, recipe)} "
                "(channels, height, width): train with data.size=… and data.channels=…"
            )
        model = build(recipe).to(_device(group))
        if init is not None:
            first = runs.find(init)
            weights = runs.read_tensors(first.weights_file)[0]
            if isinstance(model, Converts):
                weights = model.converted(weights)
            fill(model, weights, where=str(first.weights_file))
        maker: type[Training] = Steps if isinstance(recipe.training, Gradient) else Passes
        training = maker(run, recipe, model, images, held_out, group=group, watch=watch)
        training.fresh = init is None
        training.prepare(minutes)
        interrupted = training.go()
        if group.leads:
            finish(training)
        if interrupted:
            raise KeyboardInterrupt
        return run
    finally:
        distributed.leave()


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


def _same(saved: Recipe, asked: Recipe) -> Recipe:
    """The saved recipe, if what is asked for does not contradict it (the budget may have been settled by minutes)."""
    before, now = flatten(saved), flatten(asked)
    for key in before:
        settled = key in ("training.images", "model.shape")
        if not settled and before[key] != now.get(key):
            raise RecipeError(f"the run was begun with {key}={before[key]}, not {now.get(key)}: use another --out")
    return saved


def _device(group: distributed.Group) -> torch.device:
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")
