"""Random generators made from keys: the same keys give the same numbers, whatever was drawn before.

Nothing in the package keeps a generator's state across steps: the noise of a training step is a function of (seed,
purpose, step, rank). So a resumed training needs no random state, and order of data can't drift between processes.
"""

from __future__ import annotations

import hashlib

import torch


def generator(*keys: int | str, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator seeded by `keys` (a seed, a purpose, a step, …), on `device`.

    >>> bool(torch.rand(1, generator=generator(0, "noise")) == torch.rand(1, generator=generator(0, "noise")))
    True
    """
    digest = hashlib.blake2b(repr(keys).encode(), digest_size=8).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest, "big") >> 1)
