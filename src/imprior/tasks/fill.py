"""Missing pixels of pictures by plug-and-play: a denoiser in the place of the prior, known pixels kept bit for bit.

    known pixels ──► start ──► x ──► z = denoise(x + push, sigma) ──► x = known where known, z where missing ──► picture
                               │                                      push = KEPT (push + x - z) where known
                               └───────────────◄── sigma falls from STRONGEST to WEAKEST ◄──┘

Half-quadratic splitting of "the most likely picture that agrees with what is known": z is near x and likely, which is
what a denoiser finds; x is near z and agrees, which for pixels that are known without noise means to put them back.
What the denoiser took from known pixels, so wrongly, is given back to it in the next step: `push`, which is the
multiplier of the alternating directions method, fading.

Every denoiser that takes sigma and pictures of any size will do. One whose pixels see their surroundings only
(`DenoisesLocally`) is asked near the holes only, so a scratch in a large photograph takes seconds.

References: D. Geman, C. Yang, "Nonlinear image recovery with half-quadratic regularization", 1995; S. Venkatakrishnan,
C. Bouman, B. Wohlberg, "Plug-and-play priors for model based reconstruction", 2013; K. Zhang et al., "Plug-and-play
image restoration with deep denoiser prior", 2021 (sigma falls evenly in its logarithm; one of the eight flips and
rotations a step).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from imprior.data.images import from_batch, split_alpha, to_batch
from imprior.promises import Denoises, DenoisesLocally, check_shape, require
from imprior.tasks import masks
from imprior.tasks.protocol import evaluating

STEPS = 24
# Chosen on eight training photographs with photo-denoiser; to be chosen anew for another one.
STRONGEST, WEAKEST = 25 / 255, 3 / 255
KEPT = 0.9  # of the push, from step to step
NEAR = 8  # pixels from a hole, as far as there is a push
SWEEPS = 16  # of the start, at each size
TILE = 1024  # side of what a denoiser is given at a time, its surroundings not counted

Box = tuple[slice, slice]  # rows, columns


def can(model: object) -> bool:
    """Whether a model is a denoiser for pictures of any size."""
    return isinstance(model, Denoises) and tuple(model.shape[1:]) == (None, None)


def run(
    model: Any,
    x: Tensor,
    known: Tensor,
    *,
    steps: int = STEPS,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Fill in what is missing.

    Args:
        model: keeps `Denoises`.
        x: images [N, C, H, W] in [0, 1]; what stands at missing pixels is not looked at.
        known: bool [N, 1, H, W], or [1, 1, H, W] for all, True where a pixel is known.
        steps: of the denoiser on each image.
        progress: told (steps done, steps in all).

    Returns:
        [N, C, H, W] in [0, 1]; at known pixels x, bit for bit.

    Raises:
        CapabilityError: the model does not denoise.
        DataError: images of another shape than the model's; a mask of another size, or one that hides everything or
            nothing.
    """
    denoiser = require(model, Denoises)
    check_shape(x, denoiser.shape)
    mask = masks.checked(known, x)
    sigmas, filled = levels(denoiser, steps), []
    with evaluating(model) as device:
        for place, image in enumerate(torch.split(start(x, mask), 1)):

            def tell(done: int, before: int = place * steps) -> None:
                if progress is not None:
                    progress(before + done, len(x) * steps)

            filled.append(_filled(denoiser, image, ~mask[place, 0], sigmas, device, tell))
    return torch.where(mask, x, torch.cat(filled).clamp(0, 1))


def fill_picture(
    model: Any, picture: NDArray[Any], known: Tensor, *, progress: Callable[[int, int], None] | None = None
) -> NDArray[Any]:
    """Fill in what is missing of one picture.

    A model of grey images fills a colour picture channel by channel; transparency is left as it is. Of a denoiser that
    looks at surroundings only, no more than the holes and their surroundings are worked on.

    Args:
        model: keeps `Denoises`.
        picture: [H, W] or [H, W, C] with 1 to 4 channels (2 and 4: with transparency); uint8, uint16 or floating in
            [0, 1]; what stands at missing pixels is not looked at.
        known: bool [1, 1, H, W], True where a pixel is known.
        progress: told (steps done, steps in all).

    Returns:
        A picture of the same shape and type, at known pixels equal to `picture`, bit for bit.

    Raises:
        CapabilityError: the model does not denoise.
        DataError: a picture of another shape or type than models take; a mask of another size, or one that hides
            everything or nothing.
    """
    denoiser = require(model, Denoises)
    colour, _ = split_alpha(picture)
    missing = ~masks.checked(known, torch.empty(1, 1, *colour.shape[:2], device="meta"))[0, 0]  # [H, W]
    stride, reach, _ = _sight(denoiser, missing.shape)
    height, width = missing.shape
    box = _widened(_tight(missing, (slice(0, height), slice(0, width))), reach + NEAR, stride, missing.shape)
    hidden = missing[box]
    cut = colour[box].copy()
    cut[hidden.numpy()] = 0  # may be NaN
    x = to_batch(cut)  # [1, C, h, w]
    if denoiser.shape[0] == 1:
        x = x.transpose(0, 1)  # [C, 1, h, w]: the channels as a batch
    filled = run(denoiser, x, ~hidden[None, None], progress=progress).reshape(-1, *x.shape[2:])  # [C, h, w]
    result = picture.copy()
    planes = result[..., None] if result.ndim == 2 else result  # a view: what is written there is in `result`
    values = from_batch(filled, picture.dtype).reshape(*hidden.shape, -1)
    planes[box][..., : len(filled)][hidden.numpy()] = values[hidden.numpy()]
    return result


def levels(model: Denoises, steps: int = STEPS) -> list[float]:
    """The falling sigmas, on the [0, 1] scale, within what the model was trained on.

    >>> [round(255 * sigma, 2) for sigma in levels(None, 3)]
    [25.0, 8.66, 3.0]
    """
    strongest = min(STRONGEST, model.largest) if isinstance(model, DenoisesLocally) else STRONGEST
    return torch.logspace(math.log10(strongest), math.log10(WEAKEST), steps, dtype=torch.float64).tolist()


def start(x: Tensor, known: Tensor) -> Tensor:
    """Smooth surfaces over the missing pixels: each the mean of its neighbours, nearly, found from coarse to fine.

    Args:
        x: images [N, C, H, W]; what stands at missing pixels is not looked at.
        known: bool [N, 1, H, W], in each image somewhere True.

    Returns:
        [N, C, H, W], at known pixels x.
    """
    return _surface(torch.where(known, x, 0.0), known.to(x))


def _surface(x: Tensor, weight: Tensor) -> Tensor:
    """x where `weight` [N, 1, H, W] is above 0, and there the means of so many pixels; else a smooth surface."""
    missing = weight == 0
    if not bool(missing.any()):
        return x
    share = F.avg_pool2d(weight, 2, ceil_mode=True)
    means = F.avg_pool2d(weight * x, 2, ceil_mode=True) / share.clamp_min(torch.finfo(x.dtype).tiny)
    coarse = _surface(means, share)
    finer = F.interpolate(coarse, scale_factor=2, mode="bilinear")[..., : x.shape[2], : x.shape[3]]
    x = torch.where(missing, finer, x)
    for _ in range(SWEEPS):
        edged = F.pad(x, (1, 1, 1, 1), mode="replicate")
        beside = edged[..., 1:-1, 2:] + edged[..., 1:-1, :-2] + edged[..., 2:, 1:-1] + edged[..., :-2, 1:-1]
        x = torch.where(missing, beside / 4, x)
    return x


def _sight(model: Denoises, size: tuple[int, ...]) -> tuple[int, int, int]:
    """Stride, reach and side of a tile; a model that may look anywhere is given all of a picture of `size` at once."""
    if isinstance(model, DenoisesLocally):
        return model.stride, model.reach, TILE // model.stride * model.stride
    return 1, max(size), max(size)


def _filled(
    model: Denoises,
    x: Tensor,
    missing: Tensor,
    sigmas: Sequence[float],
    device: torch.device,
    tell: Callable[[int], None],
) -> Tensor:
    """One image x [1, C, H, W] gone through all sigmas; `tell` is told how many are done."""
    height, width = missing.shape
    stride, reach, side = _sight(model, (height, width))
    # Whole strides, so that a turned tile meets the same grid as the turned picture; what is added is never filled.
    x = F.pad(x, (0, -width % stride, 0, -height % stride), mode="replicate")
    push = torch.zeros_like(x)
    near = F.max_pool2d(missing[None].float(), 2 * NEAR + 1, 1, NEAR)[0] > 0
    boxes = [_tight(near, tile) for tile in _grid(height, width, side) if bool(near[tile].any())]
    places = [(box, _widened(box, reach, stride, x.shape[2:])) for box in boxes]
    turns = 8 if can(model) else 1  # a model of one size may know what is up, and need not be square
    for step, sigma in enumerate(sigmas):
        found = []
        for box, seen in places:
            z = _turned(x[(..., *seen)] + push[(..., *seen)], step % turns).to(device)
            z = _turned_back(model.denoise(z, sigma), step % turns).to(x)
            rows, columns = (slice(b.start - s.start, b.stop - s.start) for b, s in zip(box, seen, strict=True))
            found.append(z[..., rows, columns])
        for (box, _), z in zip(places, found, strict=True):
            here = (..., *box)
            left = torch.where(near[box] & ~missing[box], x[here] - z, 0.0)
            push[here] = KEPT * (push[here] + left)
            x[here] = torch.where(missing[box], z, x[here])
        tell(step + 1)
    return x[..., :height, :width]


def _grid(height: int, width: int, side: int) -> list[Box]:
    """A picture cut into tiles."""
    return [
        (slice(top, min(top + side, height)), slice(left, min(left + side, width)))
        for top in range(0, height, side)
        for left in range(0, width, side)
    ]


def _tight(missing: Tensor, box: Box) -> Box:
    """The least box that holds all that is missing [H, W] within a box."""
    part, found = missing[box], []
    for axis, side in enumerate(box):
        places = part.any(1 - axis).nonzero()
        found.append(slice(side.start + int(places[0]), side.start + int(places[-1]) + 1))
    return found[0], found[1]


def _widened(box: Box, reach: int, stride: int, size: Sequence[int]) -> Box:
    """A box and `reach` more to each side, in whole strides, as far as a picture of `size` has them."""
    rows, columns = (
        slice(max(side.start - reach, 0) // stride * stride, min(-(-(side.stop + reach) // stride) * stride, end))
        for side, end in zip(box, size, strict=True)
    )
    return rows, columns


def _turned(x: Tensor, turn: int) -> Tensor:
    """One of the eight flips and rotations of [..., H, W]."""
    return torch.rot90(x.flip(-1) if turn > 3 else x, turn % 4, (-2, -1)).contiguous()


def _turned_back(x: Tensor, turn: int) -> Tensor:
    back = torch.rot90(x, -(turn % 4), (-2, -1))
    return back.flip(-1) if turn > 3 else back
