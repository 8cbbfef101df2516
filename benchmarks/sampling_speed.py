"""How fast models draw; autoregressive ones also by computing everything before a position anew.

    python benchmarks/sampling_speed.py                                           # all embedded models
    python benchmarks/sampling_speed.py --models mnist-rnn mnist-transformer,model.patch=1 runs/mine

One batch, as `imprior sample` draws it: the mean image of a latent where the model has latents, else pixels. What is
neither embedded nor a run folder is a recipe with overrides, its weights fresh (speed does not depend on them).
Recomputing runs the whole network of an autoregressive model for each position, as code without a cache does; it is
timed on the first positions and multiplied up, since each costs the same. Both give the same features
(tests/test_autoregressive.py); what differs is the time.
"""

import argparse
import math
import time
from pathlib import Path
from typing import Any

import torch
from show import finish

from imprior import face, recipes, runs
from imprior.loading import build
from imprior.models.autoregressive import Autoregressive
from imprior.promises import Decodes, Samples
from imprior.tasks import sample


def opened(name: str) -> Any:
    """The embedded model or run of that name, or one of fresh weights by a recipe."""
    if name in runs.embedded() or Path(name).is_dir():
        return face.load(name)
    recipe, *overrides = name.split(",")
    return build(recipes.find(recipe).with_overrides(overrides).with_shape((1, 28, 28))).eval()


def drawn(model: Any, n: int, repeats: int) -> float:
    """Seconds to draw n images, the best of some repeats."""
    rng = torch.Generator().manual_seed(0)
    best = math.inf
    for _ in range(repeats):
        started = time.perf_counter()
        sample.run(model, n, rng=rng)
        best = min(best, time.perf_counter() - started)
    return best


@torch.no_grad()
def recomputed(model: Autoregressive, n: int, positions: int) -> float:
    """Seconds to draw n images without a cache, from the time of `positions` of the positions."""
    rng = torch.Generator().manual_seed(0)
    rows, columns = model.grid
    patches = torch.zeros(n, rows, columns, model.config.shape[0] * model.config.patch**2)
    labels = None if model.classes is None else torch.arange(n) % model.classes
    started = time.perf_counter()
    for position in range(positions):
        i, j = divmod(position, columns)
        features = model.network((2 * patches - 1).permute(0, 3, 1, 2), labels)[:, :, i, j]
        patches[:, i, j] = model.output.sample(features, rng)
    return (time.perf_counter() - started) * rows * columns / positions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", metavar="MODEL|RECIPE[,key=value…]",
                        help="names, runs, recipes with overrides [all embedded models that draw]")  # fmt: skip
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--positions", type=int, default=10, help="positions timed without a cache [10]")
    parser.add_argument("--repeats", type=int, default=5, help="of which the best counts [5]")
    parser.add_argument("--name", default="sampling_speed", help="results go to NAME.json")
    asked = parser.parse_args()

    rows = []
    for name in asked.models or list(runs.embedded()):
        model = opened(name)
        if not isinstance(model, Decodes | Samples):
            continue
        seconds = drawn(model, asked.batch, asked.repeats)
        row = {"model": name, "images_per_second": asked.batch / seconds, "seconds": seconds}
        if isinstance(model, Autoregressive):
            slow = recomputed(model, asked.batch, min(asked.positions, math.prod(model.grid)))
            row |= {"network": type(model.config.network).__name__, "positions": math.prod(model.grid)}
            row |= {"recomputed_seconds": slow, "times_faster": slow / seconds}
        rows.append(row)
    protocol = {"batch": asked.batch, "repeats": asked.repeats, "precision": "float32"}
    protocol |= {"positions_timed": asked.positions}
    finish(asked.name, protocol, rows)


if __name__ == "__main__":
    main()
