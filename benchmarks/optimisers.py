"""Optimisers and schedules on one model and one budget, in one table.

    python benchmarks/optimisers.py MNIST_FOLDER --recipe mnist-ae --images 540000

Every optimiser chooses among four learning rates by the validation loss, then meets all schedules with the best.
"""

import argparse

from show import finish, progress_to_stderr

from imprior import recipes
from imprior.data import prepare
from imprior.studies import optimisers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", metavar="SRC", help="images to train on")
    parser.add_argument("settings", metavar="key=value", nargs="*", help="settings of the recipe")
    parser.add_argument("--recipe", default="mnist-ae")
    parser.add_argument("--images", type=int, default=540_000, help="that each training sees")
    asked = parser.parse_args()

    recipe = recipes.find(asked.recipe).with_overrides(asked.settings)
    train, held_out = (prepare.load(asked.source, recipe.data, split) for split in ("train", "validation"))
    told = progress_to_stderr("trainings")
    found = optimisers.run(recipe, train, held_out, budget=asked.images, progress=told)
    print(found.markdown())
    print()
    finish("optimisers", found.protocol | {"settings": asked.settings}, found.record()["rows"])


if __name__ == "__main__":
    main()
