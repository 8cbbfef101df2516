"""Generative models as classifiers, by Bayes' rule, beside a small network that classifies, from few labels to many.

    python benchmarks/bayes_classifier.py MNIST_FOLDER
    python benchmarks/bayes_classifier.py MNIST_FOLDER --contender cnn mnist-classifier images=100000 patience=5 \\
        --contender hmm mnist-hmm

A contender is a name, a recipe and its settings: a classifier, a likelihood that takes labels, or any other likelihood,
of which one model is trained for each class. Whoever stops early does so by a fifth of its own labels. Likelihoods over
binary images see the test images binarized, the classifier sees them grey.
"""

import argparse

from show import RESULTS, finish, progress_to_stderr

from imprior import opening, recipes, runs
from imprior.data import prepare
from imprior.data.settings import Data
from imprior.report import figures
from imprior.studies import few_labels

# Small enough for a few minutes; the recipes' own settings are what they are worth.
CONTENDERS = (
    ["classifier (CNN)", "mnist-classifier", "model.network.channels=16,32", "images=64000", "batch=32", "check=3200",
     "patience=5"],
    ["autoregressive, by class", "mnist-pixelcnn", "model.classes=10", "model.network.width=24",
     "model.network.inner=12", "model.network.dilations=1,1,2,1", "images=32000", "batch=32", "check=3200",
     "patience=5", "average=2000"],
    ["Bernoulli mixture a class", "mnist-bernoulli-mixture", "model.components=5"],
)  # fmt: skip


def plot(found: few_labels.FewLabels, name: str) -> None:
    series = []
    for contender in dict.fromkeys(row.contender for row in found.rows):
        rows = sorted((row for row in found.rows if row.contender == contender), key=lambda row: row.per_class)
        points = [row.of("accuracy") for row in rows]
        errors = [100 * error for _, error in points if error is not None]
        series.append(figures.Series(contender, [r.per_class for r in rows], [100 * m for m, _ in points], errors))
    drawn = figures.lines(
        series, x="labels a class", y="accuracy [%]", title="Learning from few labels", logarithmic="x"
    )
    runs.write_bytes(RESULTS / f"{name}.png", drawn)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", metavar="SRC", help="labelled images with a training and a test part")
    parser.add_argument("--contender", metavar=("NAME RECIPE", "key=value"), nargs="+", action="append",
                        help="may be repeated; instead of those that are tried by default")  # fmt: skip
    parser.add_argument("--per-class", type=int, nargs="+", default=[10, 30, 100, 300, 1000, 5000])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--samples", type=int, default=1, help="draws per image where a likelihood is a bound")
    parser.add_argument("--split", choices=["test", "validation"], default="test", help="part that is judged on")
    parser.add_argument("--limit", type=int, help="judge on the first so many images only")
    parser.add_argument("--name", default="bayes_classifier", help="results go to NAME.json and NAME.png")
    asked = parser.parse_args()

    train = prepare.load(asked.source, Data(validation=0.0), "train")  # contenders hold out a part of what they have
    test = opening.images(asked.source, Data(), split=asked.split, limit=asked.limit)
    contenders = {
        name: recipes.find(recipe).with_overrides(settings) for name, recipe, *settings in asked.contender or CONTENDERS
    }
    found = few_labels.run(
        contenders,
        train,
        test,
        per_class=asked.per_class,
        seeds=asked.seeds,
        samples=asked.samples,
        progress=progress_to_stderr("trainings"),
    )
    print(found.markdown(), end="\n\n")
    plot(found, asked.name)
    finish(asked.name, found.protocol | {"judged on": asked.split}, found.record())


if __name__ == "__main__":
    main()
