"""Weights in 7 bits, for models that travel with the package: a matrix takes 22 % of its size in float32.

Each row of a large weight (an output unit's weights) becomes integers of -63 … 63, seven bits each, and a scale in
float16; everything else becomes float16, but integers, which stay, in as few bytes as their range needs. A reader needs
no flag: the names say what was packed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import torch
from torch import Tensor

BITS = 7
LEVELS = (1 << (BITS - 1)) - 1
PACKED, SCALE, SHAPE = "::bits", "::scale", "::shape"
# Smaller tensors hold too little to be worth the rounding.
LARGE = 5_000


def pack(tensors: Mapping[str, Tensor], *, large: int = LARGE, precise: Collection[str] = ()) -> dict[str, Tensor]:
    """Floating-point tensors of at least `large` numbers as 7-bit rows with a float16 scale, other ones as float16.

    Those named in `precise` are other ones, whatever their size.

    Integers stay, in as many bytes as their range needs. The model that they are loaded into has its own type for them.
    The error of a large tensor is at most 1/126 of the largest weight in its row.
    """
    packed: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            packed[name] = _narrowed(tensor)
        elif tensor.dim() < 2 or tensor.numel() < large or name in precise:
            packed[name] = tensor.half()
        else:
            rows = tensor.detach().float().flatten(1)
            largest = rows.abs().amax(1)
            # Rounded up to float16, so that no weight exceeds the levels.
            scale = (largest / LEVELS).clamp_min(1e-7).half()
            scale = torch.where(scale.float() * LEVELS < largest, scale * (1 + 2**-10), scale)
            levels = (rows / scale.float()[:, None]).round().clamp(-LEVELS, LEVELS) + (LEVELS + 1)
            packed[name + PACKED] = _to_bits(levels.flatten())
            packed[name + SCALE] = scale
            packed[name + SHAPE] = torch.tensor(tensor.shape, dtype=torch.int32)
    return packed


def unpack(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What `pack` was given, up to its rounding; tensors that were never packed pass.

    Raises:
        KeyError, ValueError: parts of a packed tensor are missing, or don't fit each other.
    """
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if name.endswith(PACKED):
            plain = name.removesuffix(PACKED)
            shape = tensors[plain + SHAPE].tolist()
            levels = _from_bits(tensor, int(np.prod(shape))) - float(LEVELS + 1)
            rows = levels.view(shape[0], -1) * tensors[plain + SCALE].float()[:, None]
            found[plain] = rows.view(shape)
        elif not name.endswith((SCALE, SHAPE)):
            found[name] = tensor
    return found


def _narrowed(tensor: Tensor) -> Tensor:
    """The same integers in the smallest type that holds them all."""
    if tensor.dtype == torch.bool or not tensor.numel():
        return tensor
    low, high = int(tensor.min()), int(tensor.max())
    kinds = (torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64)
    return tensor.to(next(k for k in kinds if torch.iinfo(k).min <= low and high <= torch.iinfo(k).max))


def _to_bits(levels: Tensor) -> Tensor:
    """Whole numbers below 2^BITS, one after the other, lowest bit first: [M] -> uint8 [ceil(M · BITS / 8)]."""
    numbers = levels.to(torch.uint8).numpy()
    return torch.from_numpy(np.packbits((numbers[:, None] >> np.arange(BITS)) & 1, bitorder="little"))


def _from_bits(packed: Tensor, count: int) -> Tensor:
    """The first `count` numbers that `_to_bits` wrote, as float32 [count]."""
    bits = np.unpackbits(packed.numpy(), bitorder="little", count=count * BITS).reshape(count, BITS)
    return torch.from_numpy(bits @ (1 << np.arange(BITS)).astype(np.float32))
