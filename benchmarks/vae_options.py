"""Every likelihood and every prior of a VAE: the same network and minutes for each, figures in their own columns.

    python benchmarks/vae_options.py MNIST_FOLDER --minutes 5 --out runs/options

One thing is changed at a time: each likelihood with the standard prior, each prior with Bernoulli pixels. `--full`
crosses all of them.

What a likelihood is over decides what it can be compared with: Bernoulli over binarized digits (nats), the others over
the 8-bit levels, by a probability (logistic mixture) or by a density on dequantised levels (bits per dimension). A
killed table goes on with the same --out.
"""

import argparse
from pathlib import Path
from typing import Any

from show import finish, progress_to_stderr

from imprior import fit, loading, recipes
from imprior.data import prepare
from imprior.tasks import compare, evaluate

# Each is trained on what it is judged on: bits, levels, or levels made continuous.
DENSITY = ["data.binarize=false", "data.dequantise=true"]
LIKELIHOODS: dict[str, list[str]] = {
    "bernoulli": ["model.likelihood=bernoulli", "data.binarize=true"],
    "continuous Bernoulli": ["model.likelihood=continuous_bernoulli", *DENSITY],
    "Gaussian, fixed": ["model.likelihood=gaussian", "model.likelihood.scale=fixed", *DENSITY],
    "Gaussian, shared": ["model.likelihood=gaussian", "model.likelihood.scale=shared", *DENSITY],
    "Gaussian, image": ["model.likelihood=gaussian", "model.likelihood.scale=image", *DENSITY],
    "Gaussian, pixel": ["model.likelihood=gaussian", "model.likelihood.scale=pixel", *DENSITY],
    "logistic mixture": ["model.likelihood=logistic_mixture", "data.binarize=false"],
}
PRIORS = {name: [f"model.prior={name}"] for name in ("standard", "flow", "mixture", "vamp")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", metavar="SRC", help="images with a training and a test part")
    parser.add_argument("settings", metavar="key=value", nargs="*", help="settings that all share")
    parser.add_argument("--recipe", default="mnist-vae")
    parser.add_argument("--minutes", type=float, default=5.0, help="of each training")
    parser.add_argument("--likelihoods", nargs="+", default=list(LIKELIHOODS), choices=list(LIKELIHOODS))
    parser.add_argument("--priors", nargs="+", default=list(PRIORS), choices=list(PRIORS))
    parser.add_argument("--full", action="store_true", help="every likelihood with every prior")
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--limit", type=int, help="test images, the first so many [all]")
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    asked = parser.parse_args()

    found: dict[str, evaluate.Evaluation] = {}
    rows: list[dict[str, Any]] = []
    for likelihood in asked.likelihoods:
        for prior in asked.priors:
            if not asked.full and prior != "standard" and likelihood != "bernoulli":
                continue
            name = f"{likelihood}, {prior}"
            overrides = [*LIKELIHOODS[likelihood], *PRIORS[prior], *asked.settings]
            recipe = recipes.find(asked.recipe).with_overrides(overrides)
            place = asked.out / name.replace(", ", "-").replace(" ", "-").lower()
            run = fit.train(recipe, asked.source, place, minutes=asked.minutes, resume=True)
            test = prepare.load(asked.source, recipe.data, "test")
            found[name] = evaluate.run(
                loading.load(run), test, samples=asked.samples, limit=asked.limit, progress=progress_to_stderr(name)
            )
            record = found[name].record()
            rows.append(
                {"likelihood": likelihood, "prior": prior} | _figures(record) | _training(run.read("card.json"))
            )
    compared = compare.run(found)
    print(compared.markdown())
    print()
    protocol = {"recipe": asked.recipe, "settings": asked.settings, "minutes": asked.minutes, "samples": asked.samples}
    finish("vae_options", protocol | {"limit": asked.limit}, rows, comparison=compared.record())


def _figures(record: dict[str, Any]) -> dict[str, Any]:
    keys = ("space", "nats", "bits_per_dim", "standard_error", "active_units", "units", "collapsed", "psnr_db")
    return {key: record[key] for key in keys}


def _training(card: dict[str, Any]) -> dict[str, Any]:
    return {"parameters": card["parameters"], "images": card["training"]["images"]}


if __name__ == "__main__":
    main()
