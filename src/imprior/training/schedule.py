"""Optimisers by name, and the learning rate as a pure function of progress."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

from imprior.training.muon import Muon
from imprior.training.settings import Optimiser, Schedule


def optimiser_for(model: nn.Module, parameters: Sequence[nn.Parameter], settings: Optimiser) -> torch.optim.Optimizer:
    """The optimiser that the settings name, of a model's or a player's parameters.

    Vectors (biases, gains) are never decayed. Muon is for what multiplies features, the weights of layers; tables of
    numbers, such as embeddings, are no matrices to it.
    """
    if settings.name == "muon":
        linear = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d)
        layers = {id(m.weight) for m in model.modules() if isinstance(m, linear)}
        groups = [
            {"params": [p for p in parameters if id(p) in layers], "weight_decay": settings.weight_decay},
            {"params": [p for p in parameters if id(p) not in layers], "weight_decay": 0.0, "matrices": False},
        ]
        return Muon([g for g in groups if g["params"]], settings.rate, settings.momentum, settings.betas)
    decayed = [p for p in parameters if p.dim() > 1]
    others = [p for p in parameters if p.dim() <= 1]
    groups = [
        {"params": decayed, "weight_decay": settings.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    # Fused kernels do a whole update in one pass over memory: for small nets on a CPU that is a third of a step.
    if settings.name == "adamw":
        return torch.optim.AdamW(groups, lr=settings.rate, betas=settings.betas, fused=True)
    if settings.name == "adam":
        return torch.optim.Adam(groups, lr=settings.rate, betas=settings.betas, fused=True)
    if settings.name == "adagrad":
        return torch.optim.Adagrad(groups, lr=settings.rate, fused=True)
    return torch.optim.SGD(groups, lr=settings.rate, momentum=settings.momentum, fused=True)


def rate_factor(schedule: Schedule, progress: float, drops: int = 0) -> float:
    """What the learning rate is multiplied by.

    Args:
        schedule: which shape.
        progress: fraction of the training's images seen, in [0, 1].
        drops: how often a plateau was met so far.

    >>> [round(rate_factor(Schedule("cosine", warmup=0.1, floor=0.0), p), 3) for p in (0.0, 0.05, 0.1, 0.55, 1.0)]
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    if progress < schedule.warmup:
        return progress / schedule.warmup
    along = (progress - schedule.warmup) / max(1e-12, 1 - schedule.warmup)
    if schedule.name == "cosine":
        return schedule.floor + (1 - schedule.floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, along)))
    if schedule.name == "exponential":
        return float(max(schedule.floor, 1e-8) ** along)
    if schedule.name == "step":
        return float(schedule.factor ** int(along / schedule.every + 1e-9))
    if schedule.name == "plateau":
        return float(schedule.factor**drops)
    return 1.0
