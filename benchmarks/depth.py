"""Depth without vanishing gradients: plain, normalised and residual stacks of 4 to 64 layers, in one plot.

    python benchmarks/depth.py MNIST_FOLDER

Two activations: with ReLU and variance-keeping initialisation a plain stack holds out longer, with sigmoids (the
textbooks' choice) it is lost early. Left: norm of each layer's gradient before the first step, deepest stacks. Right:
squared error that is reached on held-out images after the same number of training images.
"""

import argparse
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from show import RESULTS, finish, progress_to_stderr

from imprior.data import prepare
from imprior.data.settings import Data
from imprior.studies import depth

COLOURS = {"plain": "tab:red", "normalised": "tab:blue", "residual": "tab:green"}


def draw(found: dict[str, depth.Depth], path: Path) -> None:
    figure, panels = plt.subplots(len(found), 2, figsize=(10, 3.8 * len(found)), squeeze=False, layout="constrained")
    for (activation, study), (left, right) in zip(found.items(), panels, strict=True):
        deepest = max(s.depth for s in study.stacks)
        for block in dict.fromkeys(s.block for s in study.stacks):
            own = [s for s in study.stacks if s.block == block]
            norms = next(s.gradient_norms for s in own if s.depth == deepest)
            left.semilogy(range(1, len(norms) + 1), norms, color=COLOURS[block], label=block)
            right.plot([s.depth for s in own], [s.loss for s in own], "o-", color=COLOURS[block], label=block)
        left.set(title=f"{activation}: gradient before the first step, {deepest} hidden layers", xlabel="layer")
        left.set(ylabel="norm of the gradient")
        right.set(title=f"{activation}: after {study.protocol['images']:,} images", xlabel="hidden layers")
        right.set(ylabel="squared error per image", xscale="log")
        right.set_xticks([s.depth for s in own], [str(s.depth) for s in own], minor=False)
        right.minorticks_off()
        left.legend()
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", metavar="SRC", help="images to train on")
    parser.add_argument("--depths", type=int, nargs="+", default=[4, 8, 16, 32, 64])
    parser.add_argument("--activations", nargs="+", default=["relu", "sigmoid"])
    parser.add_argument("--images", type=int, default=200_000, help="that each stack sees")
    asked = parser.parse_args()

    train, held_out = (prepare.load(asked.source, Data(), split) for split in ("train", "validation"))
    found: dict[str, depth.Depth] = {}
    rows: list[dict[str, Any]] = []
    for activation in asked.activations:
        found[activation] = depth.run(
            train,
            held_out,
            depths=asked.depths,
            activation=activation,
            budget=asked.images,
            progress=progress_to_stderr(activation),
        )
        print(f"\n{activation}\n{found[activation].markdown()}", flush=True)
        rows += [{"activation": activation} | stack for stack in found[activation].record()["stacks"]]
    draw(found, RESULTS / "depth.png")
    shown = [
        {k: v for k, v in row.items() if k != "gradient_norms"}
        | {"first_gradient": row["gradient_norms"][0], "last_gradient": row["gradient_norms"][-1]}
        for row in rows
    ]
    print()
    protocol = next(iter(found.values())).protocol
    norms = [{k: row[k] for k in ("activation", "block", "depth", "gradient_norms")} for row in rows]
    finish("depth", {k: v for k, v in protocol.items() if k != "activation"}, shown, gradient_norms=norms)


if __name__ == "__main__":
    main()
