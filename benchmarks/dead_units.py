"""Units that are never above zero: of each layer of a photo model's networks, whatever the picture, noise or quality.

    python benchmarks/dead_units.py val.tar --models photo-denoiser photo-codec
    python benchmarks/dead_units.py train.tar --models runs/codec --revive runs/revived        for train --init

Counted at the activations inside residual blocks and between layers, on the centres of the pictures. A plain ReLU that
is dead learns no more and computes nothing; a leaky one still passes a part of what is below zero. `rare` ones are
above zero, but in less than one place of a hundred. --revive leaves a run like that of the one model, in which dead and
rare units begin anew: fresh weights lead to them and none from them, so that training finds a use for them.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import photos
import torch
from show import finish
from torch import Tensor, nn

from imprior import loading, opening, recipes, runs
from imprior.models.codec import LEVELS, PhotoCodec
from imprior.nn.unet import Block

RARE = 0.01


@dataclass(frozen=True)
class Rectified:
    """Units between two layers: what `first` gives goes through a rectifier of this slope to `second`."""

    first: nn.Module
    second: nn.Module
    slope: float


def rectified(model: nn.Module) -> dict[str, Rectified]:
    """Of all residual blocks, and of all networks of layers one after another."""
    found = {}
    for name, module in model.named_modules():
        if isinstance(module, Block):
            found[name] = Rectified(module.first, module.second, module.slope)
        elif isinstance(module, nn.Sequential):
            layers = list(module)
            for place, act in enumerate(layers[:-1]):
                if isinstance(act, nn.LeakyReLU):
                    found[f"{name}.{place - 1}"] = Rectified(layers[place - 1], layers[place + 1], act.negative_slope)
    return {name: units for name, units in found.items() if not name.startswith(("whole.", "estimator."))}


@torch.no_grad()
def activity(model: Any, pictures: photos.Pictures) -> dict[str, Tensor]:
    """The share of the places in which each unit is above zero."""
    shares: dict[str, list[Tensor]] = {name: [] for name in rectified(model)}

    def look(name: str) -> Any:
        return lambda _, __, inner: shares[name].append((inner > 0).double().mean((0, 2, 3)))

    hooks = [units.first.register_forward_hook(look(name)) for name, units in rectified(model).items()]
    for place, x in enumerate(pictures.pictures):
        if isinstance(model, PhotoCodec):
            for level in (0.0, (LEVELS - 1) / 2, LEVELS - 1.0):
                model.transmit(photos.as_batch(x), torch.full((1,), level), None)
        else:
            for sigma in (2.0, 15.0, 50.0):
                model.denoise(photos.as_batch(photos.noisy(x, sigma, 0, place)), sigma / 255)
    for hook in hooks:
        hook.remove()
    return {name: torch.stack(found).mean(0) for name, found in shares.items()}


@torch.no_grad()
def revive(run: runs.Run, shares: dict[str, Tensor], out: Path) -> None:
    """A run folder with the weights of `run`, in which seldom active units begin anew."""
    recipe = recipes.read(run.read("recipe.json"))
    weights = runs.read_tensors(run.weights_file)[0]
    model, fresh = loading.build(recipe), loading.build(recipe)
    model.load_state_dict(weights, strict=False)
    for name, share in shares.items():
        idle, units, anew = share < RARE, rectified(model)[name], rectified(fresh)[name]
        outputs(units.first)[idle] = outputs(anew.first)[idle]
        units.first.bias[idle] = 0
        inputs(units.second)[idle] = 0
    revived = runs.Run(out)
    for file in ("recipe.json", "card.json"):
        revived.write(file, run.read(file))
    runs.write_tensors(revived.weights_file, {k: v for k, v in model.state_dict().items() if k in weights}, {})


def outputs(layer: Any) -> Tensor:
    """The weights of a convolution, the channels that it gives first."""
    weight: Tensor = layer.weight
    return weight.transpose(0, 1) if isinstance(layer, nn.ConvTranspose2d) else weight


def inputs(layer: Any) -> Tensor:
    """The weights of a convolution, the channels that it is given first."""
    return outputs(layer).transpose(0, 1)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", metavar="SRC", help="photographs")
    parser.add_argument("--models", nargs="+", default=["photo-denoiser", "photo-codec"], help="names or run folders")
    parser.add_argument("--crop", type=int, default=256, help="at most so many pixels a side [256]")
    parser.add_argument("--limit", type=int, help="only so many pictures")
    parser.add_argument("--revive", type=Path, metavar="OUT", help="leave a run there; no figures")
    asked = parser.parse_args(argv)
    if asked.revive and len(asked.models) != 1:
        parser.error("--revive is for one model")

    rows: list[dict[str, Any]] = []
    for name in asked.models:
        model: Any = opening.model(name).model
        found = photos.load(asked.source, model.shape[0], crop=asked.crop, limit=asked.limit)
        shares = activity(model, found)
        if asked.revive:
            revive(runs.find(name), shares, asked.revive)
            return
        rows += [
            {"model": name, "layer": called, "units": len(share), "dead": int((share == 0).sum())}
            | {"rare": int(((share > 0) & (share < RARE)).sum()), "slope": rectified(model)[called].slope}
            for called, share in shares.items()
        ]
    finish("dead_units", {"fingerprint": found.fingerprint, "pictures": len(found.pictures), "crop": asked.crop}, rows)


if __name__ == "__main__":
    main()
