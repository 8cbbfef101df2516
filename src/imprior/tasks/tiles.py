"""Pictures of any size, cleaned tile by tile: only a tile is ever in floating point, and no seam is left.

    picture ──► tiles, each with its surroundings ──► noise of each block ──► averaged over regions: sigma or a map
    picture ──► tiles, each with its surroundings ──► denoise(tile, sigma there) ──► cores of the tiles, side by side

Tiles begin at multiples of the model's stride and are cut with its reach around them, so they hold the pixels that the
whole picture would give. The map of sigma is interpolated by each pixel's place in the picture, not in the tile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from imprior.data.images import from_batch, to_batch
from imprior.promises import DenoisesLocally, Model
from imprior.tasks.protocol import evaluating

Array = NDArray[Any]
Tell = Callable[[int, int], None]  # done, of how many

SIDE = 768  # of a tile without its surroundings, in pixels: a hundred megapixels stay below 1 GiB, at 1024 they do not
WINDOW = 9  # blocks a side over which the squares of their rough estimates are averaged
ALIKE = 0.1  # variation of sigma over a picture (deviation over mean) below which it is taken to be one number


@dataclass(frozen=True)
class Span:
    """Pixels start:stop of one axis, and low:high, the same with their surroundings."""

    start: int
    stop: int
    low: int
    high: int

    @property
    def core(self) -> slice:
        """start:stop in the picture."""
        return slice(self.start, self.stop)

    @property
    def around(self) -> slice:
        """low:high in the picture."""
        return slice(self.low, self.high)

    @property
    def inside(self) -> slice:
        """start:stop in what `around` cut out."""
        return slice(self.start - self.low, self.stop - self.low)

    def blocks(self, stride: int) -> Span:
        """The same in blocks of `stride` pixels."""
        return Span(self.start // stride, -(-self.stop // stride), self.low // stride, -(-self.high // stride))


def spans(length: int, *, reach: int, stride: int, side: int = SIDE) -> list[Span]:
    """An axis of `length` pixels in parts that begin at multiples of `stride`, each with `reach` pixels around it.

    The first and the last part have surroundings on one side only, so they are longer: a picture a little larger than
    a tile is one tile.

    >>> [(s.low, s.start, s.stop, s.high) for s in spans(100, reach=3, stride=4, side=50)]
    [(0, 0, 48, 52), (44, 48, 100, 100)]
    """
    halo = -(-reach // stride) * stride
    inner = length - 2 * halo
    count = max(1, -(-inner // max(side, 2 * stride)))
    cuts = [0, *(halo + inner * k // count // stride * stride for k in range(1, count)), length]
    return [Span(a, b, max(a - halo, 0), min(b + halo, length)) for a, b in pairwise(cuts)]


def planes(model: Model, picture: Array) -> Tensor:
    """A picture without transparency as what `model` takes: [1, C, H, W]; for a grey model [C, 1, H, W]."""
    y = to_batch(picture)
    return y.transpose(0, 1) if model.shape[0] == 1 else y


def put(x: Tensor, into: Array) -> None:
    """Write what `planes` made, [1, C, H, W] or [C, 1, H, W], into a part of a picture, in the picture's type."""
    into[...] = from_batch(x.reshape(-1, *x.shape[2:]), into.dtype).reshape(into.shape)


def estimate(model: DenoisesLocally, picture: Array, *, side: int = SIDE, tell: Tell | None = None) -> float | Tensor:
    """The noise of a picture: one number where it is much the same everywhere, else a map.

    Args:
        model: keeps `DenoisesLocally`.
        picture: [H, W] or [H, W, 3].
        side: of a tile, in pixels.
        tell: is told how far the work is.

    Returns:
        sigma on the [0, 1] scale, at most the model's `largest`; or one for each block, [1, 1, ⌈H/stride⌉, ⌈W/stride⌉].
    """
    stride = model.stride
    height, width = picture.shape[:2]
    squares = torch.zeros(1, 1, -(-height // stride), -(-width // stride), dtype=torch.float64)
    with evaluating(model) as device:
        for rows, columns in _tiles(model, picture, side, tell):
            y = planes(model, picture[rows.around, columns.around])
            found = model.noise(y.to(device)).double().square().mean(0).cpu()  # [1, h, w]
            down, across = rows.blocks(stride), columns.blocks(stride)
            squares[0, :, down.core, across.core] = found[:, down.inside, across.inside]
    return smoothed(squares, _pixels(height, stride)[:, None] * _pixels(width, stride), model.largest)


def smoothed(squares: Tensor, pixels: Tensor, largest: float) -> float | Tensor:
    """Rough variances of blocks as sigma: of the whole picture where its regions are alike, else of each region.

    Args:
        squares: [1, 1, h, w] float64, estimated variance of each block.
        pixels: [h, w], how many pixels each block has (at the edges fewer).
        largest: where estimates are cut.
    """
    weight = pixels.to(squares)[None, None]

    def pooled(values: Tensor) -> Tensor:
        return F.avg_pool2d(values, WINDOW, 1, WINDOW // 2)

    regions = (pooled(weight * squares) / pooled(weight)).sqrt()
    weight = weight / weight.sum()
    mean = (weight * regions).sum()
    deviation = (weight * (regions - mean).square()).sum().sqrt()
    if deviation <= ALIKE * mean:
        return min(float((weight * squares).sum().sqrt()), largest)
    return regions.clamp_max(largest).float()


def sigma_at(sigma: float | Tensor, rows: Span, columns: Span, stride: int) -> float | Tensor:
    """The part of sigma that belongs to a tile with its surroundings: a number, or [1, 1, H, W] from a map of blocks.

    Between the middles of blocks sigma is interpolated, beyond the outermost ones it is constant.
    """
    if isinstance(sigma, float):
        return sigma
    rough = sigma
    for axis, span in ((2, rows), (3, columns)):
        place = ((torch.arange(span.low, span.high, dtype=torch.float64) + 0.5) / stride - 0.5).clamp_min(0)
        before = place.floor().long()
        share = (place - before).to(rough).view([-1 if axis == a else 1 for a in range(4)])
        last = rough.shape[axis] - 1
        left, right = (rough.index_select(axis, index.clamp_max(last)) for index in (before, before + 1))
        rough = left + share * (right - left)
    return rough


def clean(
    model: DenoisesLocally,
    picture: Array,
    sigma: float | Tensor,
    into: Array,
    *,
    strength: float = 1.0,
    side: int = SIDE,
    tell: Tell | None = None,
) -> None:
    """Clean a picture into an array of its own kind.

    Args:
        model: keeps `DenoisesLocally`.
        picture: [H, W] or [H, W, 3].
        sigma: on the [0, 1] scale; one number, or one for each block (see `estimate`).
        into: the result, of the picture's shape and type.
        strength: 0 leaves the picture as it is, 1 cleans it.
        side: of a tile, in pixels.
        tell: is told how far the work is.
    """
    with evaluating(model) as device:
        for rows, columns in _tiles(model, picture, side, tell):
            y = planes(model, picture[rows.around, columns.around]).to(device)
            level = sigma_at(sigma, rows, columns, model.stride)
            if isinstance(level, Tensor):
                level = level.to(device).expand(len(y), -1, -1, -1)
            x = torch.lerp(y, model.denoise(y, level), strength)
            put(x[..., rows.inside, columns.inside], into[rows.core, columns.core])


def _tiles(model: DenoisesLocally, picture: Array, side: int, tell: Tell | None) -> Iterator[tuple[Span, Span]]:
    down, across = (spans(n, reach=model.reach, stride=model.stride, side=side) for n in picture.shape[:2])
    for done, (rows, columns) in enumerate(((r, c) for r in down for c in across), 1):
        yield rows, columns
        if tell is not None:
            tell(done, len(down) * len(across))


def _pixels(length: int, stride: int) -> Tensor:
    """How many pixels of an axis each block holds: `stride`, the last one perhaps fewer."""
    return (length - stride * torch.arange(-(-length // stride))).clamp_max(stride)
