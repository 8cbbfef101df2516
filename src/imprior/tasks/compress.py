"""Photographs to bytes and back, tile by tile: any size in bounded memory, parts of a picture alone, no seams.

    picture ──► tiles with surroundings ──► transform ──► the tile's part ──► settle ──► entropy coder ──► payload
    payload ──► entropy decoder ──► grid of the tile, joined with its neighbours' edges ──► synthesis ──► its pixels

A tile that is all of one colour is stored as that, and one that PNG stores in fewer bytes than the model would need is
stored without loss: screenshots, text and drawings are. If PNG is not far off, its pixels are given fewer levels, and
that is stored where it is no worse in any way: noise at high quality is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from imprior.coding.container import weights_hash
from imprior.coding.entropy import Decoder, Encoder
from imprior.coding.tiled import Photograph, Tile
from imprior.errors import BitstreamError
from imprior.promises import CodesTiles, Latents
from imprior.tasks.exactly import Exactly, from_png
from imprior.tasks.protocol import evaluating

Picture = NDArray[np.uint8]  # [H, W, 3]
Tell = Callable[[int, int], None]

SIDE = 1024  # of a tile


@dataclass(frozen=True)
class Area:
    """Pixels of a picture: rows top:bottom, columns left:right."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.bottom - self.top, self.right - self.left

    def of(self, picture: NDArray[Any]) -> NDArray[Any]:
        """That part of a picture."""
        return picture[self.top : self.bottom, self.left : self.right]

    def within(self, other: Area) -> Area:
        """What both have in common (with a negative size if nothing)."""
        return Area(
            max(self.top, other.top),
            min(self.bottom, other.bottom),
            max(self.left, other.left),
            min(self.right, other.right),
        )

    def seen_from(self, other: Area) -> Area:
        """The same pixels, counted from the corner of another area."""
        return Area(self.top - other.top, self.bottom - other.top, self.left - other.left, self.right - other.left)


def areas(height: int, width: int, side: int) -> list[Area]:
    """The tiles of a picture, row by row."""
    return [
        Area(top, min(top + side, height), left, min(left + side, width))
        for top in range(0, height, side)
        for left in range(0, width, side)
    ]


def of_one_colour(own: Picture) -> Tile | None:
    """A tile whose pixels are all the same."""
    return Tile("colour", 100, own[0, 0].tobytes()) if (own == own[:1, :1]).all() else None


def stored(model: CodesTiles, grid: Tensor, exactly: Exactly, rate: int) -> Tile:
    """A tile as the model writes it, or its pixels, all or coarser ones, if they are nearer and take no more bytes."""
    encoder = Encoder()
    latents = model.settle(grid, rate)
    model.write(latents, encoder, rate)
    learned = encoder.finish()
    exact = exactly.instead(len(learned), lambda: _mse(model, latents, exactly.pixels))
    return Tile("learned", rate, learned) if exact is None else Tile("png", 100, exact)


def _mse(model: CodesTiles, latents: Latents, pixels: Picture) -> float:
    """The mean squared error of a tile as the model shows it alone, on the 8-bit scale."""
    height, width = pixels.shape[:2]
    shown = 255 * model.picture(model.arrived(latents))[0, :, :height, :width].permute(1, 2, 0).double().cpu().numpy()
    return float(np.square(shown - pixels.reshape(height, width, -1)).mean())


def grid_of(
    model: CodesTiles,
    picture: Picture,
    area: Area,
    device: torch.device,
    search: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> Tensor:
    """The transform of a tile, which looks at its surroundings: [1, U, h, w].

    Args:
        model: the codec.
        picture: uint8 [H, W, 3].
        area: of the tile.
        device: the model's.
        search: makes a better one of a grid and what it shall show; the surroundings take part in it, so that tiles
            go together at their borders.
    """
    stride, place = model.stride, model.place
    around = -(-model.sees // stride) * stride
    height, width = picture.shape[:2]
    top, left = max(area.top - around, 0), max(area.left - around, 0)
    cut = picture[top : min(area.bottom + around, height), left : min(area.right + around, width)]
    x = torch.from_numpy(np.array(cut)).to(device).permute(2, 0, 1)[None].float() / 255
    # At the picture's right and lower edge the last pixels are repeated until the sides are whole.
    x = F.pad(x, (0, -cut.shape[1] % stride, 0, -cut.shape[0] % stride), mode="replicate")
    grid = model.transform(x)
    grid = grid if search is None else search(grid, x)
    rows, columns = (places(model, n) for n in area.size)
    down, across = (area.top - top) // place, (area.left - left) // place
    return grid[..., down : down + rows, across : across + columns]


def places(model: CodesTiles, pixels: int) -> int:
    """Places of the grid for a side of so many pixels of a tile, which is filled up to a multiple of the stride."""
    return -(-pixels // model.stride) * model.stride // model.place


def decompress(
    model: CodesTiles,
    photograph: Photograph,
    *,
    region: Area | None = None,
    tell: Tell | None = None,
    lost: list[int] | None = None,
) -> Picture:
    """A picture, or a region of it, uint8 [H, W, 3].

    Args:
        model: the codec that made it.
        photograph: what the file holds.
        region: only this part; None for all.
        tell: is told how far the work is.
        lost: takes the numbers of the tiles that can't be decoded, which stay grey; None refuses them.

    Raises:
        BitstreamError: made by another model, or damaged.
    """
    own = weights_hash(model.decoder)
    if own != photograph.weights:
        raise BitstreamError(
            f"written with another model (of hash {photograph.weights.hex()}; this one has {own.hex()})"
        )
    whole = Area(0, photograph.height, 0, photograph.width)
    wanted = region or whole
    result = np.full((*wanted.size, 3), 128, np.uint8)
    everything = areas(photograph.height, photograph.width, photograph.side)
    needed = [number for number, area in enumerate(everything) if min(area.within(wanted).size) > 0]
    with evaluating(model):
        grids = _Grids(model, photograph, everything, lost)
        for done, number in enumerate(needed, 1):
            pixels = grids.pixels(number)
            area = everything[number]
            if pixels is not None:
                part = area.within(wanted)
                part.seen_from(wanted).of(result)[...] = part.seen_from(area).of(pixels)
            if tell is not None:
                tell(done, len(needed))
    return result


class _Grids:
    """Decoded grids of tiles, kept for as long as neighbours want them."""

    def __init__(
        self, model: CodesTiles, photograph: Photograph, everything: list[Area], lost: list[int] | None
    ) -> None:
        self.model, self.photograph, self.areas, self.lost = model, photograph, everything, lost
        self.columns = photograph.grid[1]
        self.kept: dict[int, Tensor | None] = {}

    def pixels(self, number: int) -> Picture | None:
        """The pixels of a tile, None of a lost one."""
        tile, area = self.photograph.tiles[number], self.areas[number]
        for old in [n for n in self.kept if n < number - self.columns - 1]:
            del self.kept[old]
        try:
            if tile.payload is None:
                raise BitstreamError(f"tile {number} is damaged")
            if tile.kind == "colour":
                return _one_colour(tile.payload, area)
            if tile.kind == "png":
                return from_png(tile.payload, area.size)
            own = self.grid(number)
            if own is None:  # found to be damaged when a neighbour wanted it
                raise BitstreamError(f"tile {number} is damaged")
        except BitstreamError:
            if self.lost is None:
                raise
            self.lost.append(number)
            return None
        height, width = area.size
        grid, down, across = self.with_surroundings(number, own)
        x = self.model.picture(grid)[0, :, down : down + height, across : across + width]
        return x.mul(255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()

    def grid(self, number: int) -> Tensor | None:
        """The grid of a tile [1, U, h, w]; None where it has none (of another kind, or damaged)."""
        if number not in self.kept:
            tile, area = self.photograph.tiles[number], self.areas[number]
            self.kept[number] = None
            if tile.kind == "learned" and tile.payload is not None:
                latents = self.model.read(Decoder(tile.payload), (1, 3, *area.size), tile.rate)
                self.kept[number] = self.model.arrived(latents)
        return self.kept[number]

    def with_surroundings(self, number: int, own: Tensor) -> tuple[Tensor, int, int]:
        """A tile's grid with its neighbours' edges around it, and how many pixels these add above and to the left.

        Where a neighbour has no grid, the tile's own edge is repeated; beyond the picture there is nothing.
        """
        row, column = divmod(number, self.columns)
        rows = self.photograph.grid[0]
        reach = self.model.halo * self.model.stride // self.model.place
        beside = self.areas[number + 1].size[1] if column + 1 < self.columns else 0
        beneath = self.areas[number + self.columns].size[0] if row + 1 < rows else 0
        above, left = reach * (row > 0), reach * (column > 0)
        below, right = (min(reach, places(self.model, length)) for length in (beneath, beside))
        padded = F.pad(own.double(), (left, right, above, below), mode="replicate").to(own.dtype)
        height, width = own.shape[2:]
        for down in (-1, 0, 1):
            for across in (-1, 0, 1):
                if (down, across) == (0, 0) or not (0 <= row + down < rows and 0 <= column + across < self.columns):
                    continue
                try:
                    other = self.grid(number + down * self.columns + across)
                except BitstreamError:
                    if self.lost is None:
                        raise
                    other = None  # it is reported when its own turn comes
                if other is None:
                    continue
                source_rows, target_rows = _meeting(down, other.shape[2], height, above, below)
                source_columns, target_columns = _meeting(across, other.shape[3], width, left, right)
                padded[..., target_rows, target_columns] = other[..., source_rows, source_columns]
        return padded, above * self.model.place, left * self.model.place


def _meeting(side: int, theirs: int, ours: int, before: int, after: int) -> tuple[slice, slice]:
    """Along one axis: which places of a neighbour are needed, and where they go among ours and what surrounds them."""
    if side < 0:
        return slice(theirs - before, theirs), slice(0, before)
    if side > 0:
        return slice(0, after), slice(before + ours, before + ours + after)
    return slice(0, ours), slice(before, before + ours)


def _one_colour(data: bytes, area: Area) -> Picture:
    if len(data) != 3:
        raise BitstreamError("damaged: a tile of one colour has three bytes")
    return np.broadcast_to(np.frombuffer(data, np.uint8), (*area.size, 3)).copy()
