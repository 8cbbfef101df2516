"""In which precision a machine computes fast."""

from __future__ import annotations

import torch
from torch import Tensor


def fast_bfloat16(x: Tensor) -> bool:
    """Whether products of bfloat16 are faster than those of float32 where x is; many processors emulate them."""
    if x.device.type != "cpu":
        return x.device.type == "cuda"
    known = getattr(torch.cpu, "_is_avx512_bf16_supported", None)  # torch has no public question for it
    return bool(known and known())
