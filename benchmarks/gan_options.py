"""What a GAN's losses and a layer of self-attention are worth: one network and length of training, several seeds.

    python benchmarks/gan_options.py MNIST_FOLDER --out runs/gan-options images=30000

One thing is changed at a time against the recipe: its layer of self-attention, its loss, each with the penalty that it
is known with. The standard errors are those of trainings with other seeds, so they tell how stable a loss is as well.
Distances are in the features of the embedded classifier, never FID. A killed table goes on with the same --out.
"""

import argparse
import statistics
from pathlib import Path
from typing import Any

from show import finish, progress_to_stderr

from imprior import face, fit, recipes

ATTENTION = "with self-attention"
OPTIONS: dict[str, list[str]] = {
    "relativistic": [],
    ATTENTION: ["model.network.attention=2"],
    "with the term of labels": ["objective.labels=0.15"],
    "non-saturating": ["objective.loss=non-saturating"],
    "minimax": ["objective.loss=minimax"],
    "hinge": ["objective.loss=hinge"],
    "wgan-gp": ["objective.loss=wgan-gp", "objective.weight=10"],
}
FIGURES = ("fd_ratio", "accuracy", "precision", "recall")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", metavar="SRC", help="labelled images with a training and a test part")
    parser.add_argument("settings", metavar="key=value", nargs="*", help="settings that all share")
    parser.add_argument("--recipe", default="mnist-gan")
    parser.add_argument("--options", nargs="+", default=list(OPTIONS), choices=list(OPTIONS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("-n", type=int, help="samples of each model [half of the test images]")
    parser.add_argument("--classifier", help="[the embedded one of these images]")
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    asked = parser.parse_intermixed_args()

    rows: list[dict[str, Any]] = []
    for option in asked.options:
        found = []
        for seed in range(asked.seeds):
            recipe = recipes.find(asked.recipe).with_overrides([*OPTIONS[option], *asked.settings, f"seed={seed}"])
            run = fit.train(recipe, asked.source, asked.out / f"{option.replace(' ', '-')}-{seed}", resume=True)
            judged = face.quality(
                run.path,
                asked.source,
                classifier=asked.classifier,
                n=asked.n,
                progress=progress_to_stderr(f"{option}, seed {seed}"),
            ).record()
            found.append(judged | judged["samples"] | {"card": run.read("card.json")})
        card = found[0]["card"]
        rows.append(
            {"option": option, "seeds": asked.seeds, "n": found[0]["n"]}
            | {name: value for key in FIGURES for name, value in _mean(key, [one[key] for one in found]).items()}
            | {"worst_fd_ratio": max(one["fd_ratio"] for one in found)}
            | {"parameters": card["parameters"], "images": card["training"]["images"]}
            | {"minutes": statistics.fmean(one["card"]["training"]["seconds"] for one in found) / 60}
        )
    protocol = {"recipe": asked.recipe, "settings": asked.settings, "measure": found[0]["measure"]}
    finish("gan_options", protocol | found[0]["protocol"], rows)


def _mean(name: str, values: list[float]) -> dict[str, float | None]:
    """The mean over seeds, and its standard error if there are several."""
    error = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else None
    return {name: statistics.fmean(values), f"{name}_standard_error": error}


if __name__ == "__main__":
    main()
