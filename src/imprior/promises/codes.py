"""What compression asks for: integers for an entropy coder, of images and of pictures in tiles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor

from imprior.promises.model import Model


@dataclass(frozen=True)
class Latents:
    """Integers that a codec writes, in `blocks` of int32 whose meaning the model knows, for images of `shape`."""

    blocks: tuple[Tensor, ...]
    shape: tuple[int, int, int, int]


class Tables(Protocol):
    """Integer frequency tables: cumulative int32 [T, S + 1] that rise from 0 to 2^precision."""

    cumulative: Tensor
    precision: int


class Sink(Protocol):
    """Where a model puts symbols: the encoding end of an entropy coder."""

    def put(self, symbols: Tensor, index: Tensor, tables: Tables) -> None:
        """Code int32 symbols [M] (0 … S-1), each with the table of its index [M]."""
        ...


class Source(Protocol):
    """Where a model gets symbols back, in the order in which they were put."""

    def get(self, index: Tensor, tables: Tables) -> Tensor:
        """Decode as many symbols as `index` has entries: int32 [M]."""
        ...


@runtime_checkable
class Codes(Model, Protocol):
    """Turns images into integers and drives an entropy coder with them.

    Tiles are disjoint blocks of one grid of latents at 1/`stride` of the image; the synthesis of a block sees `halo`
    neighbours, so tiles leave no seam. `exact`: decoding gives the same pixels on every machine. `rates` is the
    number of rate levels, 0 being the smallest file.
    """

    stride: int
    halo: int
    exact: bool
    lossless: bool
    rates: int

    def analyse(self, x: Tensor, rate: int) -> Latents:
        """Images -> integers, at rate level `rate`."""
        ...

    def write(self, latents: Latents, sink: Sink, rate: int) -> None:
        """Put all integers of `latents`."""
        ...

    def read(self, source: Source, shape: tuple[int, int, int, int], rate: int) -> Latents:
        """Get back what `write` put, for images of `shape` [N, C, H, W]."""
        ...

    def synthesise(self, latents: Latents, rate: int) -> Tensor:
        """Integers -> images [N, C, H, W]."""
        ...


@runtime_checkable
class CodesTiles(Codes, Protocol):
    """A codec of pictures of any size, tile by tile, without seams.

    Its integers stand for a grid with a place for each `place` x `place` pixels. A tile begins at multiples of `stride`
    pixels. Its grid is the part of the transform of the picture cut with at least `sees` pixels more to each side
    (rounded up to `stride`); its integers are written and read knowing nothing of other tiles; its pixels are the
    part of the synthesis of the grid cut with `halo` · `stride` pixels more to each side, from the neighbouring tiles.
    `decoder` is the module that reading and synthesis depend on; the hash of its weights ties a file to it.
    """

    place: int
    sees: int

    @property
    def decoder(self) -> object:
        """What decides how a file is decoded."""
        ...

    def transform(self, x: Tensor) -> Tensor:
        """Images, sides multiples of `stride` -> real numbers [N, U, H/place, W/place]."""
        ...

    def refine(
        self, grid: Tensor, x: Tensor, rate: int, steps: int, *, tell: Callable[[int, int], None] | None = None
    ) -> Tensor:
        """Numbers like those of the transform that cost less at this rate, or show more of `x`, by a search."""
        ...

    def settle(self, grid: Tensor, rate: int) -> Latents:
        """Real numbers of a tile -> its integers."""
        ...

    def arrived(self, latents: Latents) -> Tensor:
        """The grid that the integers of a tile stand for, whole numbers [N, U, h, w]."""
        ...

    def picture(self, grid: Tensor) -> Tensor:
        """The grid, of one tile or of several joined -> images [N, C, place · h, place · w]."""
        ...
