"""How fast autoregressive models draw: with their caches, and by computing everything before a position anew.

    python benchmarks/sampling_speed.py --models mnist-pixelcnn mnist-transformer,model.patch=1 mnist-rnn

Fresh weights (speed does not depend on them), images of 28x28, one batch. Recomputing runs the whole network for each
position, as code without a cache does; it is timed on the first positions and multiplied up, since each costs the
same. Both give the same features (tests/test_autoregressive.py); what differs is the time.
"""

import argparse
import math
import time

import torch
from show import finish

from imprior import recipes
from imprior.loading import build
from imprior.models.autoregressive import Autoregressive


@torch.no_grad()
def cached(model: Autoregressive, n: int, repeats: int) -> float:
    """Seconds to draw n images, the best of some repeats."""
    rng = torch.Generator().manual_seed(0)
    best = math.inf
    for _ in range(repeats):
        started = time.perf_counter()
        model.sample(n, rng)
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
    parser.add_argument("--models", nargs="+", required=True, metavar="RECIPE[,key=value…]",
                        help="recipes of autoregressive models, with overrides")  # fmt: skip
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--positions", type=int, default=10, help="positions timed without a cache [10]")
    parser.add_argument("--repeats", type=int, default=2, help="of which the best counts, with the cache [2]")
    parser.add_argument("--name", default="sampling_speed", help="results go to NAME.json")
    asked = parser.parse_args()

    rows = []
    for name in asked.models:
        recipe, *overrides = name.split(",")
        model = build(recipes.find(recipe).with_overrides(overrides).with_shape((1, 28, 28))).eval()
        assert isinstance(model, Autoregressive), f"{name} is no autoregressive model"
        fast = cached(model, asked.batch, asked.repeats)
        slow = recomputed(model, asked.batch, min(asked.positions, math.prod(model.grid)))
        rows.append(
            {"model": name, "network": type(model.config.network).__name__, "positions": math.prod(model.grid)}
            | {"cached_seconds": fast, "recomputed_seconds": slow, "times_faster": slow / fast}
            | {"images_per_second": asked.batch / fast, "parameters": sum(p.numel() for p in model.parameters())}
        )
    protocol = {"image": [1, 28, 28], "batch": asked.batch, "precision": "float32", "positions_timed": asked.positions}
    finish(asked.name, protocol, rows)


if __name__ == "__main__":
    main()
