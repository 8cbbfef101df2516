"""Images with a part filled in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from imprior.errors import CapabilityError, DataError

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from imprior.data.prepare import Split
    from imprior.face.pictures import Picture
    from imprior.opening import Given
    from imprior.tasks.complete import Completion


def complete(
    model: Any,
    data: Given,
    mask: str | Path | Picture | Tensor | None = None,
    *,
    hide: str | None = None,
    n: int | None = None,
    seed: int = 0,
    method: str | None = None,
    label: int | None = None,
    draw: bool = False,
    limit: int | None = None,
    split: Split | None = None,
) -> Completion:
    """Fill in what a mask hides, n times each image; the result says by which method.

    Args:
        model: keeps `Completes`, `LatentVariable`, `Decodes` or `Denoises`.
        data: images; what stands at hidden pixels is not looked at.
        mask: a picture (a file or an array) of the images' size, white where it is to be filled in; or bool
            [N or 1, 1, H, W], True where a pixel is known.
        hide: instead of a mask, the part to fill in: "top", "bottom", "left", "right", "centre" or "random:0.5".
        n: completions of each image; 4 if None, or 1 of "plug-and-play", which draws nothing.
        seed: of all draws.
        method: "conditional", "posterior", "search" or "plug-and-play"; None takes the first that the model can do.
        label: class of all images, of a conditional model; None leaves it open.
        draw: of "posterior", draw missing pixels instead of showing the mean image of the latent.
        limit: at most so many images.
        split: part of a source.

    Raises:
        CapabilityError: the model can't complete, or not by that method; or it knows no classes.
        DataError: a mask of another size, or one that hides everything or nothing; images that can't be used.
    """
    import torch

    from imprior import opening, randomness
    from imprior.tasks import complete as task

    opened = opening.model(model)
    if method is None:
        method = task.method_for(opened.model, name=opened.name)
    x = opening.batch(data, opened.data, split=split, limit=limit)
    classes = opened.model.classes
    if label is not None and classes is None:
        raise CapabilityError(f"{opened.name} knows no classes; label is {label}")
    if label is not None and not 0 <= label < classes:
        raise DataError(f"{opened.name} knows classes 0 to {classes - 1}; label is {label}")
    rng = randomness.generator(seed, "complete")
    return task.run(
        opened.model,
        x,
        known(x, mask, hide, seed=seed),
        n=n,
        rng=rng,
        method=method,
        labels=None if label is None else torch.full((len(x),), label),
        draw=draw,
    )


def fill(
    picture: Picture,
    mask: str | Path | Picture | None = None,
    *,
    hide: str | None = None,
    model: Any = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Picture:
    """Fill in scratches, text or missing pixels of a picture of any size, by plug-and-play with a denoiser.

    Args:
        picture: [H, W] or [H, W, C], transparency left as it is; uint8, uint16 or float in [0, 1]; what stands at
            hidden pixels is not looked at.
        mask: a picture (a file or an array) of the same size, white where it is to be filled in.
        hide: instead of a mask, the part to fill in: "top", "bottom", "left", "right", "centre" or "random:0.5".
        model: keeps `Denoises`; None takes the photo denoiser for grey pictures or the one for colour.
        seed: of "random:…".
        progress: told (steps done, steps in all).

    Returns:
        A picture of the same shape and type; what was not hidden is as it was, bit for bit.

    Raises:
        CapabilityError: the model does not denoise.
        DataError: a mask of another size, or one that hides everything or nothing; a picture that the model can't take.
    """
    import torch

    from imprior import opening
    from imprior.face.pictures import default_denoiser
    from imprior.promises import Denoises
    from imprior.tasks import fill as task

    if picture.ndim not in (2, 3):
        raise DataError(f"a picture is [H, W] or [H, W, C], not {picture.shape}")
    opened = opening.model(default_denoiser(picture) if model is None else model, Denoises)
    where = known(torch.empty(1, 1, *picture.shape[:2], device="meta"), mask, hide, seed=seed)
    return task.fill_picture(opened.model, picture, where, progress=progress)


def known(x: Tensor, mask: str | Path | Picture | Tensor | None, hide: str | None = None, *, seed: int = 0) -> Tensor:
    """A mask in any form as bool [N or 1, 1, H, W], True where a pixel of x [N, C, H, W] is known.

    Raises:
        DataError: neither or both of a mask and a part; a mask of another size, no such part, or a picture that can't
            be read.
    """
    from torch import Tensor

    from imprior import randomness
    from imprior.data.images import read_picture
    from imprior.tasks import masks

    if (mask is None) == (hide is None):
        raise DataError("say what is hidden: a mask or the name of a part, one of the two")
    height, width = x.shape[2:]
    if hide is not None:
        return masks.known(hide, height, width, rng=randomness.generator(seed, "mask"))
    if isinstance(mask, Tensor):
        return mask
    picture = read_picture(mask) if isinstance(mask, str | Path) else mask
    assert picture is not None
    return masks.of_picture(picture, height, width)
