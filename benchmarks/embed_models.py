"""Embed finished runs: weights packed in 7 bits, code tables fitted to the packed weights, figures on the test split.

    python benchmarks/embed_models.py --data MNIST_FOLDER --samples 1000 runs/mnist-vae [RUN …]

Training images of --data fit the tables; its test split gives the figures in the card (its validation split where it
has no test split, which the card says). The figures are those of the weights as they are embedded.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch

from imprior import loading, opening, packing, recipes, runs
from imprior.coding.container import weights_hash
from imprior.data import prepare
from imprior.data.batches import Images
from imprior.data.settings import Corruption
from imprior.fit.finish import calibration
from imprior.promises import Calibrates, Classifies, CodesTiles, Denoises, Encodes, Scores, kept
from imprior.tasks import classify, evaluate


def embed(run: runs.Run, source: str, samples: int, *, large: int, about: dict[str, str]) -> int:
    recipe = recipes.read(run.read("recipe.json"))
    target = runs.Run(runs.EMBEDDED / recipe.name)
    images = prepare.load(source, recipe.data, "train")
    model = loading.build(recipe)
    trained = {k: v for k, v in runs.read_tensors(run.weights_file)[0].items() if not k.startswith("code_")}
    names = set(model.state_dict())
    implied, precise = (tuple(getattr(model, name, ())) for name in ("implied", "precise"))
    stored = {k: v for k, v in trained.items() if not k.startswith(implied)}
    model.load_state_dict(trained | packing.unpack(packing.pack(stored, large=large, precise=precise)), strict=False)
    model.eval()
    if isinstance(model, Calibrates):
        model.calibrate(calibration(images, recipe))
    weights = {k: v for k, v in model.state_dict().items() if k in names or k.startswith("code_")}
    explicit = {k: v for k, v in weights.items() if not k.startswith(implied)}
    packed = packing.pack(explicit, large=large, precise=precise)
    runs.write_tensors(target.weights_file, packed, {"recipe": recipe.name})
    target.write("recipe.json", recipes.as_json(recipe))
    card = run.read("card.json") | {"name": recipe.name, "promises": kept(model)} | about
    if isinstance(model, CodesTiles):
        card["decoder"] = weights_hash(model.decoder).hex()
    split = "test" if "test" in prepare.splits(source) else "validation"
    target.write("card.json", card)
    judged = opening.images(source, recipe.data, split=split)
    card["figures"] = {"split": split, **figures(loading.load(target), judged, recipe, samples)}
    target.write("card.json", card)
    size = sum(p.stat().st_size for p in target.path.iterdir())
    short = {k: v for k, v in card["figures"].items() if isinstance(v, float)}
    print(recipe.name, f"{size:,} bytes", json.dumps(short), flush=True)
    return size


@torch.no_grad()
def figures(model: Any, judged: Images, recipe: recipes.Recipe, samples: int) -> dict[str, Any]:
    """What the model's promises allow; of one that only draws, nothing (`imprior quality` measures it)."""
    if isinstance(model, Classifies):
        return classify.run(model, judged).record()
    if not isinstance(model, Scores | Encodes | Denoises):
        return {}
    corruption = recipe.data.corruption if recipe.data.corruption.kind not in ("none", "photographic") else None
    if corruption is None and not isinstance(model, Scores | Encodes):
        corruption = Corruption("gaussian", 25 / 255, 25 / 255)  # what denoisers of photographs are mostly asked
    return evaluate.run(model, judged, samples=samples, corruption=corruption).record()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--data", required=True)
    parser.add_argument("--samples", type=int, default=1)
    parser.add_argument("--exact", action="store_true", help="float16 throughout: directions that stay orthogonal")
    for name in ("source", "licence", "limits"):
        parser.add_argument(f"--{name}", help="a line of the card")
    given = parser.parse_args()
    about = {name: text for name in ("source", "licence", "limits") if (text := getattr(given, name))}
    for path in given.runs:
        embed(runs.Run(path), given.data, given.samples, large=10**9 if given.exact else packing.LARGE, about=about)
    total = sum(p.stat().st_size for p in runs.EMBEDDED.glob("*/*.safetensors"))
    print(f"all embedded weights: {total:,} bytes")
