"""Do generated images help a classifier, or a detector? Four training sets, and generated images alone, in one plot.

    python benchmarks/augmentation.py MNIST_FOLDER --recipe mnist-gan images=60000
    python benchmarks/augmentation.py MNIST_FOLDER --model mnist-gan --task detect --per-class 10 100

With --recipe the generator of each trial is trained on the real images of that trial and on no others: the honest
question. With --model it is trained already, on more than the trial has: then the gain is what the generator brings
along from there. Equal steps for every training set; a few minutes with the settings given here, more steps, sizes and
seeds make better figures.
"""

import argparse
from dataclasses import replace
from typing import Any

from show import RESULTS, finish, progress_to_stderr

from imprior import opening, recipes, runs
from imprior.data import prepare
from imprior.data.settings import Data
from imprior.report import figures
from imprior.studies import augment
from imprior.studies.detect import Detecting


def plot(found: augment.Augmentation, name: str) -> None:
    series = []
    for kind in dict.fromkeys(row.kind for row in found.rows):
        rows = sorted((row for row in found.rows if row.kind == kind), key=lambda row: row.per_class)
        errors = [row.standard_error for row in rows if row.standard_error is not None]
        series.append(figures.Series(kind, [r.per_class for r in rows], [100 * r.mean for r in rows],
                                     [100 * e for e in errors]))  # fmt: skip
    title = "What a network learns from"
    drawn = figures.lines(series, x="real images a class", y=f"{found.measure} [%]", title=title, logarithmic="x")
    runs.write_bytes(RESULTS / f"{name}.png", drawn)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", metavar="SRC", help="labelled images with a training and a test part")
    parser.add_argument("settings", metavar="key=value", nargs="*", help="settings of the recipe")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--recipe", help="of the generator; one that knows no classes is trained once for each class")
    which.add_argument("--model", help="a trained generator that knows classes: a name or a run folder")
    parser.add_argument("--task", choices=["classify", "detect"], default="classify")
    parser.add_argument("--per-class", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=300, help="of each network")
    parser.add_argument("--generated", type=int, default=5000, help="images drawn from the generator, in all")
    parser.add_argument("--share", type=float, default=0.5, help="of a batch that is generated, where both kinds are")
    parser.add_argument("--elastic", type=float, default=0.0, help="bending by classical augmentation, in pixels")
    parser.add_argument("--split", choices=["test", "validation"], default="test", help="part that is judged on")
    parser.add_argument("--name", default="augmentation", help="results go to NAME_TASK.json and .png")
    asked = parser.parse_intermixed_args()

    train, test = (prepare.load(asked.source, Data(), split) for split in ("train", asked.split))
    if asked.recipe is not None:
        recipe = recipes.find(asked.recipe).with_overrides(asked.settings)
        generate: Any = augment.FromRecipe(recipe, asked.generated)
    else:
        generate = augment.FromModel(opening.model(asked.model).model, asked.model, asked.generated)
    trial: Any = {"classify": augment.Classifying(), "detect": Detecting()}[asked.task]
    trial = replace(trial, steps=asked.steps, share=asked.share, warp=replace(trial.warp, elastic=asked.elastic))
    found = augment.run(
        train,
        test,
        generate,
        trial,
        per_class=asked.per_class,
        seeds=asked.seeds,
        progress=progress_to_stderr(asked.task),
    )
    print(found.markdown(), end="\n\n")
    name = f"{asked.name}_{asked.task}"
    plot(found, name)
    gains = [
        {"training set": row.kind, "per_class": row.per_class}
        | dict(zip(("gain over real", "standard_error"), found.gain(row.kind, row.per_class), strict=True))
        for row in found.rows
        if row.kind != "real"
    ]
    finish(name, found.protocol | {"judged on": asked.split}, found.record(), gains=gains)


if __name__ == "__main__":
    main()
