"""What a training leaves when it ends or is stopped: weights, code tables, card, pictures."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from imprior import preview, runs
from imprior.coding.container import weights_hash
from imprior.data.batches import Batches, Images
from imprior.fit.folder import Training
from imprior.fit.steps import Steps
from imprior.loading import build, fill
from imprior.promises import Calibrates, CodesTiles, kept
from imprior.recipes import Recipe

CALIBRATION_IMAGES = 20_000


def finish(training: Training) -> None:
    """Weights, card and pictures of a training that has ended or was stopped."""
    run, recipe = training.run, training.recipe
    weights = {name: tensor.detach().cpu() for name, tensor in training.result().items()}
    model = build(recipe)
    fill(model, weights, where=str(run.weights_file))
    model.eval()
    if isinstance(model, Calibrates):
        model.calibrate(calibration(training.images, recipe))
        weights = {name: tensor for name, tensor in model.state_dict().items() if name in weights}
    runs.write_tensors(run.weights_file, weights, {"recipe": recipe.name})
    run.write("card.json", _card(training, model, weights))
    shown = training.held_out if training.held_out is not None and len(training.held_out) else training.images
    batches = Batches(shown, replace(recipe.data, flip=False), batch=0, seed=recipe.seed, train=False)
    preview.write(run, model, batches)


def calibration(images: Images, recipe: Recipe) -> Sequence[Tensor]:
    """Training images as batches, cropped where the recipe crops, neither binarized nor corrupted."""
    clean = Batches(images, type(recipe.data)(crop=recipe.data.crop), batch=0, seed=recipe.seed, train=False)
    count = min(len(images), CALIBRATION_IMAGES)
    rng = torch.Generator().manual_seed(0)
    return [clean.take(torch.arange(i, min(i + 500, count)), rng).x for i in range(0, count, 500)]


def _card(training: Training, model: nn.Module, weights: dict[str, Tensor]) -> dict[str, Any]:
    recipe, images = training.recipe, training.images
    family = type(recipe.model).__module__.rsplit(".", 1)[-1].replace("_", "-")
    return {
        "name": training.run.name,
        "recipe": recipe.name,
        "family": family,
        "promises": kept(model),
        "shape": list(recipe.model.shape),
        "levels": getattr(model, "levels", None),
        "classes": getattr(model, "classes", None),
        "parameters": sum(t.numel() for n, t in weights.items() if n in dict(model.named_parameters())),
        "data": {"images": len(images), "fingerprint": images.fingerprint, "classes": list(images.classes)},
        "training": {
            "images": training.state.counters.images if isinstance(training, Steps) else len(images),
            "seconds": round(training.seconds, 1),
            "finished": not isinstance(training, Steps) or training.state.counters.finished,
            "processor": _processor(),
            "threads": torch.get_num_threads(),
            "processes": training.group.world,
            "torch": torch.__version__,
        },
        "figures": training.figures,
    } | ({"decoder": weights_hash(model.decoder).hex()} if isinstance(model, CodesTiles) else {})


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
        name = next(line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f"{name}, {os.cpu_count()} cores"
