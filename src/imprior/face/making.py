"""Models: what there is to train and to load, training, tuning."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imprior.errors import RecipeError

if TYPE_CHECKING:
    from imprior.data.batches import Images
    from imprior.data.prepare import Broken
    from imprior.fit import Watch
    from imprior.runs import Run
    from imprior.studies.tune import Criterion, Tuning


def load(model: str | Path) -> Any:
    """The trained model of an embedded name or a run folder, or a classical denoiser; its methods are its promises.

    Raises:
        RunError: no such model, or its files are missing, damaged or of another model.
    """
    from imprior import opening

    return opening.model(model).model


def list_models() -> list[dict[str, Any]]:
    """What comes with the package, from the models' cards: name, family, promises, data, space, figures, and more."""
    from imprior import runs

    found = []
    for name, run in runs.embedded().items():
        card = run.read("card.json")
        space = {2: "binary", 256: "8-bit", None: "continuous"}[card.get("levels")]
        found.append(card | {"name": name, "space": space})
    return found


def list_recipes() -> dict[str, str]:
    """What can be trained: names, each with the line that says what it is."""
    from imprior import recipes

    return recipes.names()


def info(model: str | Path) -> dict[str, Any]:
    """What a model's card says, and every setting of its recipe by path.

    Raises:
        RunError: no such model.
    """
    from imprior import recipes, runs, settings

    run = runs.find(model)
    recipe = recipes.read(run.read("recipe.json"))
    card = run.read("card.json") if (run.path / "card.json").is_file() else {}
    return {"name": run.name, "folder": str(run.path)} | card | {"settings": settings.flatten(recipe)}


def inspect_data(source: str | Path) -> dict[str, Any]:
    """What is in a data set: counts, sizes, channels, broken files, duplicates, balance of classes.

    Raises:
        DataError: nothing there.
    """
    from imprior.data.inspect import inspect

    return inspect(source).record()


def plan(
    recipe: str, overrides: Iterable[str] = (), *, data: str | Path | None = None, on_broken: Broken = "refuse"
) -> dict[str, Any]:
    """What `train` would do: every setting by path; with data, also the images, their shape and the parameters.

    Raises:
        RecipeError, DataError: as `train`.
    """
    from imprior import recipes, settings

    asked = recipes.find(recipe).with_overrides(overrides)
    found: dict[str, Any] = {"recipe": recipe}
    if data is not None:
        from imprior import fit, loading
        from imprior.data import prepare

        images = prepare.load(data, asked.data, "train", on_broken=on_broken)
        asked = asked.with_shape(fit.shape_of(images, asked))
        parameters = sum(p.numel() for p in loading.build(asked).parameters())
        found |= {"images": len(images), "classes": list(images.classes), "parameters": parameters}
    return found | {"settings": settings.flatten(asked)}


def train(
    recipe: str,
    data: str | Path | tuple[Images, Images | None],
    out: str | Path,
    *,
    overrides: Iterable[str] = (),
    minutes: float | None = None,
    resume: bool = False,
    init: str | Path | None = None,
    on_broken: Broken = "refuse",
    watch: Watch | None = None,
) -> Run:
    """Train a recipe on images into a run folder; see `fit.train` for the arguments.

    Args:
        recipe: its name.
        data: a source, or training and validation images already prepared.
        out: the run folder.
        overrides: texts "key=value", as on the command line.
        minutes, resume, init, on_broken, watch: see `fit.train`. A resumed run need not be told its overrides again.

    Raises:
        RecipeError, DataError, RunError: as their messages say.
        KeyboardInterrupt: after Ctrl-C; the run can be resumed.
    """
    from imprior import fit, recipes, runs

    begun = runs.Run(Path(out))
    asked = recipes.find(recipe)
    if resume and begun.exists():
        asked = recipes.read(begun.read("recipe.json"))
        if asked.name != recipe:
            raise RecipeError(f"{out} is a run of {asked.name}, not of {recipe}: use another --out")
    return fit.train(
        asked.with_overrides(overrides),
        data,
        Path(out),
        minutes=minutes,
        resume=resume,
        init=init,
        on_broken=on_broken,
        watch=watch,
    )


def tune(
    recipe: str,
    data: str | Path,
    grid: Sequence[tuple[str, Sequence[str]]],
    out: str | Path,
    *,
    overrides: Iterable[str] = (),
    folds: int = 5,
    criterion: Criterion = "nats",
    minutes: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Tuning:
    """Grid search with cross-validation on the training images; see `studies.tune` for the arguments.

    Raises:
        RecipeError, DataError, RunError: as their messages say.
    """
    from imprior import recipes
    from imprior.data import prepare
    from imprior.studies import tune as study

    asked = recipes.find(recipe).with_overrides(overrides)
    images = prepare.load(data, asked.data, "train")
    return study.run(
        asked, grid, images, Path(out), folds=folds, criterion=criterion, minutes=minutes, progress=progress
    )
