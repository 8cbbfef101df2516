"""Weights in 8 bits, for models that travel with the package: a matrix takes a quarter of its size in float32.

Each row of a large weight (an output unit's weights) becomes integers of -127 … 127 and a scale in float16; everything
else becomes float16, but integers, which stay. A reader needs no flag: the scales say what was packed.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

SCALE = "::scale"
# Smaller tensors hold too little to be worth the rounding.
LARGE = 5_000


def pack(tensors: Mapping[str, Tensor], *, large: int = LARGE) -> dict[str, Tensor]:
    """Floating-point tensors of at least `large` numbers as int8 with a float16 scale a row, other ones as float16.

    The error of a large tensor is at most 1/254 of the largest weight in its row.
    """
    packed: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            packed[name] = tensor
        elif tensor.dim() < 2 or tensor.numel() < large:
            packed[name] = tensor.half()
        else:
            rows = tensor.detach().float().flatten(1)
            # Rounded up to float16, so that no weight exceeds 127 steps.
            scale = (rows.abs().amax(1) / 127).clamp_min(1e-7).half()
            scale = torch.where(scale.float() * 127 < rows.abs().amax(1), scale * (1 + 2**-10), scale)
            packed[name] = (rows / scale.float()[:, None]).round().clamp(-127, 127).to(torch.int8).view(tensor.shape)
            packed[name + SCALE] = scale
    return packed


def unpack(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What `pack` was given, up to its rounding; tensors that were never packed pass."""
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if name.endswith(SCALE):
            continue
        if name + SCALE in tensors:
            scale = tensors[name + SCALE].float()
            tensor = tensor.float() * scale.view(-1, *[1] * (tensor.dim() - 1))
        found[name] = tensor
    return found
