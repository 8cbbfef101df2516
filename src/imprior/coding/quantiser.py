"""How the codes of a model are rounded to integers, and how often each integer occurs: fitted to training images.

The steps come from theory: for a given number of bits the error is least where every unit's rounding costs the same
error *in the image* (reverse water-filling; Cover & Thomas 2006, Elements of information theory, section 10.3.3). So
the step of a unit is q / (how strongly the image answers to it), with one q for all units of a rate level. q goes
from where most units round to one value, to where rounding no longer matters beside what the model itself loses. A
unit that the decoder ignores gets one value, and costs no bits.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from imprior.coding.tables import TOTAL, frequencies
from imprior.errors import ImpriorError
from imprior.promises import Encodes
from imprior.randomness import generator

# Rounding at the finest level costs this part of the model's own error, 0.2 dB; and it is never finer than what
# rounding the image to 8 bits costs.
FINEST = 0.05
MOST_SYMBOLS = 1024  # per unit; ten bits are far more than any unit of a learned code is good for
PROBES = 64  # images on which the answer of the decoder is measured
# Weight of a smooth (logistic) distribution beside the counts, in observations: what rare values cost after few images.
SMOOTH = 16.0
AROUND = 16  # places of a grid to each side within which a decoder's reach is looked for
EVERYWHERE = 1 << 16  # reach of a decoder without an end


@dataclass(frozen=True)
class Quantiser:
    """What `fit` finds, for R rate levels and a code of U units (the numbers of a vector, the channels of a grid).

    Attributes:
        grid: int64: (U) of a vector code, (U, h, w, stride, halo) of a grid.
        centre: float32 [U].
        step: float32 [R, U].
        low: int32 [R, U], the integer that symbol 0 stands for.
        count: int32 [R, U], number of symbols.
        frequency: int32, all tables end to end, rate by rate, unit by unit. At use each is padded with ones to the
            longest of its rate, and then sums to 2^24.
        centroid: int8, for each symbol: where its values lie on average, in 1/254 steps from its middle.
    """

    grid: Tensor
    centre: Tensor
    step: Tensor
    low: Tensor
    count: Tensor
    frequency: Tensor
    centroid: Tensor


def as_grid(z: Tensor) -> Tensor:
    """A code [N, U] or [N, U, h, w] as [N, U, h, w]."""
    assert z.dim() in (2, 4), f"a code is [N, D] or [N, c, h, w], not {tuple(z.shape)}"
    return z if z.dim() == 4 else z[:, :, None, None]


def to_symbols(z: Tensor, centre: Tensor, step: Tensor, low: Tensor, count: Tensor) -> Tensor:
    """Code values [N, U, h, w] -> symbols int32 of the same shape; what is out of range is clamped.

    Args:
        z: the code.
        centre: [U], as step, low and count, which are those of one rate level.
        step: the size of a bin.
        low: the integer of symbol 0.
        count: number of symbols.
    """
    centre, step, low, count = (t.view(-1, 1, 1) for t in (centre, step, low, count))
    integers = ((z - centre) / step).round().clamp(-(2.0**30), 2.0**30).int()
    return torch.minimum((integers - low).clamp_min(0), count - 1)


@torch.no_grad()
def fit(model: Encodes, batches: Sequence[Tensor], *, rates: int, device: torch.device) -> Quantiser:
    """Two passes: the spread of each unit, then how often each symbol occurs at each rate.

    Args:
        model: in evaluation mode.
        batches: training images [N, C, H, W].
        rates: number of levels, at least 2.
        device: where the model is; what is found is on the CPU.

    Raises:
        ImpriorError: no images, or codes that are not numbers.
    """
    total, squares = torch.zeros(()).double(), torch.zeros(()).double()
    least, most = torch.tensor(math.inf).double(), torch.tensor(-math.inf).double()
    values, code = 0, torch.zeros(0, 0)
    for x in batches:
        code = model.encode(x.to(device))
        z = as_grid(code).double().cpu()
        values += z[:, 0].numel()
        total, squares = total + z.sum((0, 2, 3)), squares + z.square().sum((0, 2, 3))
        least, most = torch.minimum(least, z.amin((0, 2, 3))), torch.maximum(most, z.amax((0, 2, 3)))
    if values == 0:
        raise ImpriorError("fitting the entropy tables needs at least one training image")
    if not bool(squares.isfinite().all()):
        raise ImpriorError("the model's codes of some training images are not numbers")
    centre = (total / values).float()
    spread = (squares / values - centre.double().square()).clamp_min(0).sqrt()
    reach = torch.maximum(most - centre, centre - least)
    step = _steps(model, batches[0][:PROBES].to(device), spread, reach, rates).float()
    margin = 2 + 0.1 * (most - least) / step  # room for images that lie further out than any training image
    low = ((least - centre) / step - margin).round().int()
    count = ((most - centre) / step + margin).round().int() - low + 1
    seen, centroid = _histograms(model, (x.to(device) for x in batches), centre, step, low, count)
    starts = count.sum(1).cumsum(0) - count.sum(1)
    tables = [_integers(seen[starts[r] :], spread, step[r], low[r], count[r]) for r in range(rates)]
    return Quantiser(torch.tensor(_grid(model, code)), centre, step, low, count, torch.cat(tables), centroid)


def _grid(model: Encodes, code: Tensor) -> list[int]:
    """What `Quantiser.grid` holds, of a model that made `code` [N, …]."""
    units, *size = code.shape[1:]
    if not size:
        return [units]
    height, width = size
    if model.shape[1] is not None and model.shape[2] is not None:
        # The decoder takes grids of this size only, so a block of it can be decoded with all the others alone.
        return [units, height, width, max(-(-model.shape[1] // height), -(-model.shape[2] // width)), max(size) - 1]
    stride = model.decode(code[:1]).shape[-1] // width
    return [units, height, width, stride, _halo(model, code, stride)]


def _halo(model: Encodes, code: Tensor, stride: int) -> int:
    """How many places away a decoder of grids of any size sees, by changing one place in grids of random numbers."""
    device, rng = code.device, generator(0, "halo")
    mean, spread = code.mean((0, 2, 3), keepdim=True), code.std((0, 2, 3), keepdim=True)
    side = 2 * AROUND + 1
    grids = mean + spread * torch.randn(4, code.shape[1], side, side, generator=rng).to(device)
    changed = grids.clone()
    changed[:, :, AROUND, AROUND] += 4 * spread[:, :, 0, 0] * torch.randn(4, code.shape[1], generator=rng).to(device)
    differs = (model.decode(grids) != model.decode(changed)).any(0).any(0)
    pixels = (
        (differs.any(0) | differs.any(1)).nonzero().flatten()
    )  # rows or columns that differ, whichever reach further
    if len(pixels) == 0:
        return 0
    first, last = int(pixels.min()) // stride, int(pixels.max()) // stride
    halo = max(AROUND - first, last - AROUND)
    return halo if halo < AROUND else EVERYWHERE


def _steps(model: Encodes, x: Tensor, spread: Tensor, reach: Tensor, rates: int) -> Tensor:
    """The step of each unit at each rate, float64 [rates, U], from how strongly the image answers to each unit."""
    code = model.encode(x)
    grid, image = as_grid(code), model.decode(code)
    positions = grid[0, 0].numel()
    strength = torch.zeros_like(spread)  # root of: squared error of the image / squared change of the unit
    signs = torch.randint(0, 2, grid.shape, generator=generator(0, "calibrate")).to(grid) * 2 - 1
    for unit in spread.nonzero().flatten().tolist():
        change = 0.25 * float(spread[unit])  # of the size of a rounding error; an infinitesimal one says less
        moved = grid.clone()
        moved[:, unit] += change * signs[:, unit]
        error = (model.decode(moved.view(code.shape)) - image).double().square().sum()
        strength[unit] = math.sqrt(float(error) / (change**2 * len(x) * positions))
    shown = image[..., : x.shape[-2], : x.shape[-1]]
    own = float((shown - x).double().square().sum()) / len(x)  # squared error of an image without any rounding
    rounded = len(spread) * positions  # numbers in a code; each adds q²/12 to an image's squared error
    coarse = 2 * float((spread * strength).max()) or 1.0
    fine = max(
        math.sqrt(12 * FINEST * own / rounded),
        math.sqrt(x[0].numel() / rounded) / 255,
        float((2 * reach * strength).max()) / MOST_SYMBOLS,
    )
    fine = min(fine, coarse / rates)
    q = coarse * (fine / coarse) ** (torch.arange(rates).double() / (rates - 1))
    # From a step of 2·reach on, all values round to the centre; some room for images unlike those of training, yet
    # within float16, which packed weights are kept in.
    largest = torch.where(reach > 0, 8 * reach, torch.ones_like(reach))
    return torch.minimum(q[:, None] / strength, largest)


def _histograms(
    model: Encodes, batches: Iterable[Tensor], centre: Tensor, step: Tensor, low: Tensor, count: Tensor
) -> tuple[Tensor, Tensor]:
    """How often each symbol occurs (float64), and the centroid of its values (int8), end to end."""
    starts = (count.flatten().cumsum(0) - count.flatten()).view(count.shape)
    seen, rest = torch.zeros(int(count.sum())).double(), torch.zeros(int(count.sum())).double()
    for x in batches:
        z = as_grid(model.encode(x).cpu().float())
        for r in range(len(step)):
            symbols = to_symbols(z, centre, step[r], low[r], count[r])
            exact = (z.double() - centre.view(-1, 1, 1)) / step[r].view(-1, 1, 1)
            place = (starts[r].view(-1, 1, 1) + symbols).flatten()
            beyond = (exact - symbols - low[r].view(-1, 1, 1)).clamp(-0.5, 0.5).flatten()
            seen += torch.bincount(place, minlength=len(seen))
            rest += torch.bincount(place, beyond, minlength=len(seen))
    return seen, (254 * rest / (seen + 1)).round().to(torch.int8)  # one imagined value in the middle of each bin


def _integers(seen: Tensor, spread: Tensor, step: Tensor, low: Tensor, count: Tensor) -> Tensor:
    """Integer frequencies of the units of one rate, end to end, from how often each symbol was seen."""
    longest = max(2, int(count.max()))
    edges = (low[:, None] + torch.arange(longest + 1) - 0.5) * step[:, None].double()
    scale = spread[:, None].clamp_min(1e-12) * math.sqrt(3) / math.pi  # of the logistic with that standard deviation
    weights = SMOOTH * (edges / scale).sigmoid().diff(dim=1).clamp_min(0)
    found = []
    for row, own, start in zip(weights, count.tolist(), (count.cumsum(0) - count).tolist(), strict=True):
        total = TOTAL - (longest - own)  # the padding keeps a frequency of 1 each
        found.append(frequencies((row[:own] + seen[start : start + own])[None], total)[0])
    return torch.cat(found).int()
