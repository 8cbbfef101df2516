"""The features of the Inception network in which the FID of papers is measured, from a file that a person supplies.

    x [N, 1 or 3, H, W] in [0, 1] ──► 3 channels, 299 x 299, 0 … 255 ──► the file's program ──► features [N, 2048]

The network of the original FID (Heusel et al. 2017) is not ours to distribute and does not come with the package. It
is passed around as a TorchScript file, which is a *program*: whoever loads one runs what its author wrote. Whether a
file is that network we can't tell, so the distance is named after the hash of the file, and two of different files are
never the same measure. Images are resized bilinearly, with antialiasing where they shrink (Parmar, Zhang, Zhu 2022, On
aliased resizing and surprising subtleties in GAN evaluation, tell how much that matters).
"""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from imprior.errors import RunError

SIDE = 299
FEATURES = 2048
BATCH = 32  # images at a time: the network is large


class Inception:
    """A TorchScript program that makes features of images.

    Args:
        path: a file that maps float32 [N, 3, 299, 299] of levels 0 … 255 to [N, 2048]. **It is run**: load none that
            you don't trust.

    Attributes:
        shape, levels, classes: as models state them; any size.
        measure: "FID (Inception 1a2b3c4d)", with the beginning of `sha256`.
        sha256: of the file.

    Raises:
        RunError: no such file, no TorchScript, or one that makes something else of such images.
    """

    shape: tuple[int | None, int | None, int | None] = (None, None, None)
    levels: int | None = 256
    classes: int | None = None

    def __init__(self, path: str | Path):
        try:
            self.sha256 = hashlib.sha256(Path(path).read_bytes()).hexdigest()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # it is how such networks are passed around
                self._program = torch.jit.load(str(path), map_location="cpu").eval()  # type: ignore[no-untyped-call]
        except (OSError, RuntimeError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "no TorchScript program"
            raise RunError(f"{path}: {reason}") from None
        self.measure = f"FID (Inception {self.sha256[:8]})"
        try:
            found = tuple(self.features(torch.zeros(2, 3, 8, 8)).shape)
        except RuntimeError:
            found = ()
        if found != (2, FEATURES):
            raise RunError(f"{path}: makes no features [N, {FEATURES}] of images [N, 3, {SIDE}, {SIDE}]")

    @torch.no_grad()
    def features(self, x: Tensor) -> Tensor:
        """[N, 1 or 3, H, W] in [0, 1] -> [N, 2048], as the network has them."""
        found = []
        for part in torch.split(x, BATCH):
            coloured = part.expand(-1, 3, -1, -1)
            large = F.interpolate(coloured, (SIDE, SIDE), mode="bilinear", antialias=True)
            found.append(self._program(255 * large.clamp(0, 1)))
        return torch.cat(found)
