"""Depth without vanishing gradients: plain, normalised and residual stacks of dense layers, from 4 to 64 of them.

An autoencoder of each kind and depth starts from the same seed and sees the same images in the same order. Two things
are measured: the norm of each layer's gradient before the first step, and the loss that is reached. In a plain stack
the gradient is multiplied by some factor at every layer. An initialisation that suits the activation (see nn.dense)
makes it one for ReLU, but nothing does for a sigmoid, whose slope is a quarter at best: the first layers of a deep
stack learn nothing. Normalisation keeps signals in range, not slopes from being small; a residual sum makes a way
around every layer, so that gradients arrive whatever the activation, and depth costs nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from imprior import loading
from imprior.data.batches import Batches, Images
from imprior.data.settings import Data
from imprior.models import autoencoder
from imprior.nn.dense import Activation, Dense
from imprior.objectives.reconstruction import Reconstruction
from imprior.randomness import generator
from imprior.recipes import Recipe
from imprior.studies.reach import reach
from imprior.tasks.protocol import same_size
from imprior.training.settings import Gradient, Optimiser, Schedule

Block = Literal["plain", "normalised", "residual"]
BLOCKS: tuple[Block, ...] = ("plain", "normalised", "residual")


@dataclass(frozen=True)
class Stack:
    """One autoencoder.

    Attributes:
        block: what a layer is.
        depth: hidden layers, half of them in the encoder.
        gradient_norms: of each layer's weights before the first step, in the order in which an image meets them.
        start, loss: on the validation images, before and after; infinite where training broke down.
        seconds: of training.
    """

    block: Block
    depth: int
    gradient_norms: tuple[float, ...]
    start: float
    loss: float
    seconds: float


@dataclass(frozen=True)
class Depth:
    """All stacks, and the settings that they share."""

    stacks: tuple[Stack, ...]
    protocol: dict[str, Any]

    def markdown(self) -> str:
        """The loss that is reached, a line for each depth and a column for each block."""
        blocks = list(dict.fromkeys(s.block for s in self.stacks))
        found = {(s.depth, s.block): s for s in self.stacks}
        lines = ["| hidden layers | " + " | ".join(f"{b}: loss, first / last gradient" for b in blocks) + " |"]
        lines.append("| ---: |" + " ---: |" * len(blocks))
        for depth in dict.fromkeys(s.depth for s in self.stacks):
            cells = [found[depth, block] for block in blocks]
            texts = [f"{c.loss:.2f}, {c.gradient_norms[0] / c.gradient_norms[-1]:.1e}" for c in cells]
            lines.append(f"| {depth} | " + " | ".join(texts) + " |")
        return "\n".join(lines)

    def record(self) -> dict[str, Any]:
        """JSON values; the loss of a training that broke down is null."""
        stacks = [
            vars(s) | {"gradient_norms": list(s.gradient_norms), "loss": s.loss if math.isfinite(s.loss) else None}
            for s in self.stacks
        ]
        return {"stacks": stacks, "protocol": self.protocol}


def run(
    images: Images,
    validation: Images,
    *,
    depths: Sequence[int] = (4, 8, 16, 32, 64),
    blocks: Sequence[Block] = BLOCKS,
    width: int = 64,
    activation: Activation = "relu",
    budget: int = 200_000,
    progress: Callable[[int, int], None] | None = None,
) -> Depth:
    """Train a stack of each block and depth on the same images.

    Args:
        images: to train on.
        validation: to judge on.
        depths: hidden layers of a stack, even numbers.
        blocks: kinds of layers.
        width: units of each hidden layer; the code has 32.
        activation: between layers.
        budget: images that each stack sees.
        progress: told (stacks done, stacks in all).
    """
    stacks = []
    for block in blocks:
        for depth in depths:
            recipe = stack_recipe(depth, block, width=width, activation=activation, budget=budget)
            norms = gradient_norms(recipe, images)
            reached = reach(recipe, images, validation)
            stacks.append(Stack(block, depth, norms, reached.start, reached.loss, reached.seconds))
            if progress is not None:
                progress(len(stacks), len(depths) * len(blocks))
    protocol = {"width": width, "activation": activation, "images": budget, "data": images.fingerprint} | {
        "loss": "squared error, summed over pixels, mean over validation images",
        "optimiser": "adamw 1e-3, batch 128, no clipping, warm-up then cosine",
    }
    return Depth(tuple(stacks), protocol)


def stack_recipe(depth: int, block: Block, *, width: int, activation: Activation, budget: int) -> Recipe:
    """An autoencoder with `depth` hidden layers of `width` units and a code of 32 numbers."""
    assert depth >= 2 and depth % 2 == 0
    network = Dense((width,) * (depth // 2), activation=activation, block=block)
    # No clipping: what the study shows would be hidden by it.
    training = Gradient(
        objective=Reconstruction(),
        optimiser=Optimiser("adamw", rate=1e-3),
        schedule=Schedule("cosine", warmup=0.05),
        images=budget,
        batch=128,
        clip=None,
        check=budget,
    )
    return Recipe(f"depth-{depth}-{block}", Data(), autoencoder.Config(network=network, latent=32), training)


def gradient_norms(recipe: Recipe, images: Images) -> tuple[float, ...]:
    """Norm of the gradient of every dense layer's weights on the first batch, in the order of the forward pass."""
    assert isinstance(recipe.training, Gradient)
    channels, height, width = same_size(images).shape[1:]
    model = loading.build(recipe.with_shape((channels, height, width)))
    batch = Batches(images, recipe.data, batch=recipe.training.batch, seed=recipe.seed).at(0)
    rng = generator(recipe.seed, "gradient norms")
    recipe.training.objective(model, batch, rng=rng, progress=0.0).loss.backward()  # type: ignore[no-untyped-call]
    weights = [module.weight for module in model.modules() if isinstance(module, nn.Linear)]
    assert all(weight.grad is not None for weight in weights)
    return tuple(float(weight.grad.norm()) for weight in weights if weight.grad is not None)
