"""Causal networks over a grid of patches in raster order: what they promise, and a gated masked convolution.

    h ──► causal network ──► features        [N,channels,H,W] → [N,width,H,W], features (i, j) from h before (i, j)
"""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor


class CausalNetwork(Protocol):
    """What an autoregressive model needs of its network.

    Settings classes have `width`, the number of features, and `build(channels, height, width, classes)`.
    """

    def __call__(self, h: Tensor, labels: Tensor | None = None) -> Tensor:
        """[N, channels, H, W] -> [N, width, H, W]; the features at a position depend on h strictly before it alone."""
        ...

    def begin(self, n: int, labels: Tensor | None, like: Tensor) -> Any:
        """What `step` goes on from, for n images; in the precision and on the device of `like`."""
        ...

    def step(self, state: Any, position: int, before: Tensor | None) -> Tensor:
        """The features at a raster position, as `__call__` has them there: [N, width].

        Args:
            state: of `begin`; changed in place.
            position: 0, 1, 2, … in turn.
            before: [N, channels], h at position - 1; None at position 0.
        """
        ...
