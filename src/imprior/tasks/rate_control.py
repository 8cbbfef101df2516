"""Photographs of a wanted size in bytes or a wanted PSNR: the quality is searched for, on real files.

    transform of each tile, once ──► files at a few qualities ──► the target's two neighbours ──► a mix of their tiles

A file's size rises by about two per cent from a quality to the next, its PSNR by about an eighth of a decibel. What
lies between two qualities is met by tiles of both.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from imprior.coding.tiled import Photograph, pack
from imprior.errors import DataError
from imprior.tasks.coder import Coder

PASSES = 5  # that a search takes, about
NEAR = 0.99  # of the wanted size is near enough
NEAR_DB = 0.05
PER_QUALITY = 0.023, 0.12  # what a quality adds, about: to the logarithm of the size, and to the PSNR in decibels


@dataclass(frozen=True)
class Reached:
    """What a search ended at.

    Attributes:
        photograph: to be written.
        quality: from 0 to 100; where tiles of two qualities are mixed, between them.
        psnr_db: of the picture, where it was measured.
        told: what a person should know of it, or "".
    """

    photograph: Photograph
    quality: float
    psnr_db: float | None = None
    told: str = ""


def at_quality(coder: Coder, quality: int) -> Reached:
    """A photograph of this quality.

    Raises:
        DataError: no such quality.
    """
    if not 0 <= quality <= 100:
        raise DataError(f"quality {quality}: from 0 (smallest) to 100 (best)")
    return Reached(coder.at(quality), quality)


def at_size(coder: Coder, size: int) -> Reached:
    """The best photograph whose file has at most `size` bytes, all headers included.

    Raises:
        DataError: even at quality 0 it has more.
    """
    begin = _without_search(coder, lambda: at_size(coder, size))
    found: dict[int, Photograph] = {}
    sizes: dict[int, int] = {}

    def measure(quality: int) -> float:
        found[quality] = coder.at(quality, of=PASSES)
        sizes[quality] = len(pack(found[quality]))
        return math.log(sizes[quality])

    low, high = _between(measure, found, math.log(size), PER_QUALITY[0], enough=-math.log(NEAR), begin=begin)
    if low is None:
        raise DataError(f"{size:,} bytes are out of reach: at quality 0 this picture takes {sizes[0]:,}")
    if low == 100:
        told = f"quality 100 takes {sizes[100]:,} of {size:,} bytes" if sizes[100] < NEAR * size else ""
        return Reached(found[100], 100, told=told)
    if high is None or sizes[low] >= NEAR * size:
        return Reached(found[low], low)
    tiles, finer = list(found[low].tiles), found[high].tiles
    room, better = size - sizes[low], 0
    for number, tile in enumerate(finer):
        more = len(tile.payload or b"") - len(tiles[number].payload or b"")
        if more <= room:
            tiles[number] = tile
            room, better = room - more, better + 1
    return Reached(coder.of(tiles), low + better / len(tiles))


def at_psnr(coder: Coder, psnr_db: float) -> Reached:
    """The photograph whose PSNR is nearest to the wanted one.

    Raises:
        DataError: even quality 100 does not reach it.
    """
    begin = _without_search(coder, lambda: at_psnr(coder, psnr_db))
    found: dict[int, Photograph] = {}
    errors: dict[int, list[float]] = {}

    def measure(quality: int) -> float:
        found[quality] = coder.at(quality, of=PASSES)
        errors[quality] = coder.errors(found[quality])
        return coder.psnr_db(errors[quality])

    low, high = _between(measure, found, psnr_db, PER_QUALITY[1], enough=NEAR_DB, begin=begin)
    reached = {quality: coder.psnr_db(errors[quality]) for quality in found}
    nearest = min(reached, key=lambda quality: abs(reached[quality] - psnr_db))
    best = Reached(found[nearest], nearest, reached[nearest])
    if low == 100 and reached[100] < psnr_db - 2 * NEAR_DB:
        raise DataError(f"{psnr_db:g} dB are out of reach: at quality 100 this picture has {reached[100]:.2f}")
    if low is not None and high is not None and abs(reached[nearest] - psnr_db) > NEAR_DB:
        mixed = _mixed(coder, found, errors, low, psnr_db)
        if mixed.psnr_db is not None and abs(mixed.psnr_db - psnr_db) < abs(reached[nearest] - psnr_db):
            best = mixed
    assert best.psnr_db is not None
    away = abs(best.psnr_db - psnr_db) > 2 * NEAR_DB
    return replace(best, told=f"{best.psnr_db:.2f} dB is as near as this picture gets to {psnr_db:g}") if away else best


def _mixed(
    coder: Coder, found: dict[int, Photograph], errors: dict[int, list[float]], low: int, psnr_db: float
) -> Reached:
    """The photograph whose first tiles are of the next quality, so many that the PSNR is about the wanted one."""
    wanted = coder.picture.size * 255**2 / 10 ** (psnr_db / 10)
    tiles, total, better = list(found[low].tiles), sum(errors[low]), 0
    for number, tile in enumerate(found[low + 1].tiles):
        if total <= wanted:
            break
        total += errors[low + 1][number] - errors[low][number]
        tiles[number], better = tile, better + 1
    mixed = coder.of(tiles)
    return Reached(mixed, low + better / len(tiles), coder.psnr_db(coder.errors(mixed)))


def _without_search(coder: Coder, reach: Callable[[], Reached]) -> int:
    """The quality that reaches a target with the least effort, which more of it is near: where to begin."""
    if not coder.steps:
        return 50
    steps, coder.steps = coder.steps, 0
    try:
        return int(reach().quality)
    except DataError:
        return 50
    finally:
        coder.steps, coder.passes = steps, 0


def _between(
    measure: Callable[[int], float],
    found: dict[int, Photograph],
    target: float,
    slope: float,
    *,
    enough: float,
    begin: int = 50,
) -> tuple[int | None, int | None]:
    """The largest quality that measures at most the target, and the next one; None where there is none.

    What lies below by no more than `enough` ends the search; then the second is None. Photographs that are no neighbour
    of the target any more are dropped from `found`.
    """
    known: dict[int, float] = {}
    low, high = -1, 101
    quality = begin
    while high - low > 1:
        known[quality] = value = measure(quality)
        if value <= target:
            low = quality
            if target - value <= enough:
                return low, None
        else:
            high = quality
        for old in [q for q in found if q not in (low, high)]:
            del found[old]
        quality = _next(known, low, high, target, slope)
    return low if low >= 0 else None, high if high <= 100 else None


def _next(known: dict[int, float], low: int, high: int, target: float, slope: float) -> int:
    """Where to look next: by interpolation, by the usual slope, or in the middle where both were of no use."""
    if low >= 0 and high <= 100 and math.isfinite(known[high]) and len(known) < 6:
        guess = low + (high - low) * (target - known[low]) / max(known[high] - known[low], 1e-9)
    elif len(known) >= 6 or not math.isfinite(known.get(high, 0.0)):
        guess = (low + high) / 2
    elif low >= 0:
        guess = low + (target - known[low]) / slope + 1
    else:
        guess = high + (target - known[high]) / slope - 1
    return min(max(round(guess), low + 1), high - 1)
