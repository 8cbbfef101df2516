"""A picture coded at several qualities: its tiles' transforms are computed once, its files are real ones.

tile ──► transform (kept) ──► search for what costs less, where effort is asked for ──► integers ──► payload, or PNG
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from imprior.coding.container import weights_hash
from imprior.coding.tiled import Photograph, Tile
from imprior.promises import CodesTiles
from imprior.tasks.compress import SIDE, Area, Picture, Tell, areas, decompress, grid_of, of_one_colour, stored
from imprior.tasks.exactly import Exactly
from imprior.tasks.protocol import evaluating

KEPT = 64_000_000  # pixels whose transform is kept, five bytes for each; of larger pictures it is computed every time
STEPS = (0, 20, 50, 100)  # of the search for better coefficients, by effort


class Coder:
    """A picture that is coded at several qualities; what does not depend on them is computed once.

    Args:
        model: the codec.
        picture: uint8 [H, W, 3].
        side: of a tile.
        grey: whether it is three times the same channel.
        extras: what the file holds besides.
        tell: is told how far the work is.
        effort: from 0, which takes the transform as it is, to 3, which searches longest for what costs less.
        keep: transforms are kept of pictures of at most so many pixels.
    """

    def __init__(
        self,
        model: CodesTiles,
        picture: Picture,
        *,
        side: int = SIDE,
        grey: bool = False,
        extras: dict[str, bytes] | None = None,
        tell: Tell | None = None,
        effort: int = 0,
        keep: int = KEPT,
    ) -> None:
        height, width = picture.shape[:2]
        self.model, self.picture, self.tell = model, picture, tell
        self.areas = areas(height, width, side)
        self.empty = Photograph(weights_hash(model.decoder), width, height, side, grey, [], extras or {})
        self.passes = 0
        self.steps = STEPS[effort]
        self._keep = keep
        self._grids: dict[int, Tensor] = {}
        self._exactly: dict[int, Exactly] = {}

    def at(self, quality: int, *, of: int = 1) -> Photograph:
        """The photograph at a quality from 0 to 100; `of` is how many there are going to be, about."""
        total = max(of, self.passes + 1) * len(self.areas)
        tiles = []
        for number in range(len(self.areas)):
            before = self.passes * len(self.areas) + number
            tiles.append(self._tile(number, quality, before, total))
            self._told(before + 1, total)
        self.passes += 1
        return self.of(tiles)

    def of(self, tiles: Sequence[Tile]) -> Photograph:
        """The photograph of these tiles."""
        return replace(self.empty, tiles=tiles)

    def errors(self, photograph: Photograph) -> list[float]:
        """The sum of squared errors of each tile, on the 8-bit scale."""
        found = decompress(self.model, photograph)
        if photograph.grey:
            found = np.broadcast_to(to_grey(found)[..., None], found.shape)
        return [_squares(area, self.picture, found) for area in self.areas]

    def psnr_db(self, errors: Sequence[float]) -> float:
        """PSNR of the picture, infinite where nothing is lost."""
        mean = sum(errors) / self.picture.size
        return 10 * math.log10(255**2 / mean) if mean else math.inf

    def _tile(self, number: int, quality: int, before: int, total: int) -> Tile:
        own = self.areas[number].of(self.picture)
        flat = of_one_colour(own)
        if flat is not None:
            return flat
        exactly = self._exactly.setdefault(number, Exactly(own))
        with evaluating(self.model) as device:
            tile = stored(self.model, self._grid(number, device), exactly, quality)
            if not self.steps or tile.kind != "learned":
                return tile

            def search(grid: Tensor, x: Tensor) -> Tensor:
                def tell(done: int, of: int) -> None:
                    self._told(before + done / of, total)

                return self.model.refine(grid, x, quality, self.steps, tell=tell)

            better = grid_of(self.model, self.picture, self.areas[number], device, search)
            return stored(self.model, better, exactly, quality)

    def _grid(self, number: int, device: torch.device) -> Tensor:
        grid = self._grids.get(number)
        if grid is None:
            grid = grid_of(self.model, self.picture, self.areas[number], device)
            if self.picture.shape[0] * self.picture.shape[1] <= self._keep:
                self._grids[number] = grid
        return grid

    def _told(self, done: float, total: int) -> None:
        """Tell of tiles, or where they take long of hundredths."""
        if self.tell is not None:
            unit = 100 if self.steps else 1
            self.tell(int(unit * done), unit * total)


def to_grey(picture: Picture) -> Picture:
    """The rounded mean of three channels, [H, W, 3] -> [H, W]."""
    grey: Picture = np.empty(picture.shape[:2], np.uint8)
    for top in range(0, len(picture), SIDE):  # sums take twice the memory of what they are of
        rows = slice(top, top + SIDE)
        grey[rows] = (picture[rows].sum(2, dtype=np.uint16) + 1) // 3
    return grey


def _squares(area: Area, wanted: Picture, found: Picture) -> float:
    return float(np.square(area.of(wanted).astype(np.int32) - area.of(found)).sum(dtype=np.int64))
