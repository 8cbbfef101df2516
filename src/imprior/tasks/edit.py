"""Images changed by way of their latents: moved along a direction, mixed with another, mended, composed.

    move       z + strength · step                        of a direction of labels or components (tasks.directions)
    like       (1 - strength) · z + strength · z_ref      towards the features of a reference image
    correct    the model's image nearest to x; with a mask, damaged pixels alone are replaced
    compose    the model's image nearest to one image pasted into another: what no model image has, a seam, goes

Latents are found as in tasks.invert: by the encoder where there is one, else by search.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from imprior.errors import DataError
from imprior.promises import Decodes, require
from imprior.tasks import complete, invert, masks
from imprior.tasks.directions import Direction
from imprior.tasks.invert import Inversion, decoded


@dataclass(frozen=True)
class Edit:
    """Images and what was made of them.

    Attributes:
        x: as given, [N, C, H, W].
        shown: pictures of the way there by name, [N, C, H, W] each: a reference, a mask, what was pasted.
        images: results, [N, K, C, H, W].
        columns: what each of the K results is, for people.
        how: how latents were found, for people.
        inversion: the latents and the error that they leave; None where known pixels were kept by a completion.
    """

    x: Tensor
    shown: dict[str, Tensor]
    images: Tensor
    columns: tuple[str, ...]
    how: str
    inversion: Inversion | None

    def rows(self) -> list[Tensor]:
        """A row of images for each x, [2 + …, C, H, W]: original, the way there, results."""
        way = list(self.shown.values())
        return [
            torch.cat([self.x[i, None], *(one[i, None] for one in way), self.images[i]]) for i in range(len(self.x))
        ]

    def headings(self) -> list[str]:
        """What stands above the columns of `rows`."""
        return ["original", *self.shown, *self.columns]

    def record(self) -> dict[str, Any]:
        """JSON values."""
        found = {"images": len(self.x), "columns": list(self.columns), "how": self.how}
        return found | ({} if self.inversion is None else self.inversion.record())


def run(model: object, x: Tensor, *, rng: torch.Generator) -> Edit:
    """The image that its latent gives back, nothing moved: inversion, to see what a model keeps of an image.

    Raises:
        CapabilityError: the model can't decode.
        DataError: images of another shape than the model's.
    """
    found = invert.run(model, x, rng=rng)
    return Edit(x, {}, found.mean[:, None], ("inverted",), found.method, found)


def move(model: object, x: Tensor, direction: Direction, strengths: Sequence[float], *, rng: torch.Generator) -> Edit:
    """Move images along a direction.

    Args:
        model: keeps `Decodes`.
        x: images, [N, C, H, W] in [0, 1].
        direction: of this model.
        strengths: how far, in its steps; a result for each, 0 being the reconstruction.
        rng: where a search begins.

    Raises:
        CapabilityError: the model can't decode.
        DataError: images of another shape than the model's, or no strength.
    """
    found = invert.run(model, x, rng=rng)
    return _moved(model, found, direction.step.expand_as(found.z), strengths, {})


def like(model: object, x: Tensor, reference: Tensor, strengths: Sequence[float], *, rng: torch.Generator) -> Edit:
    """Give images the features of a reference.

    Args:
        model: keeps `Decodes`.
        x: images, [N, C, H, W] in [0, 1].
        reference: one image [C, H, W] of the same shape.
        strengths: how much of the reference: 0 none, 1 all of it.
        rng: where a search begins.

    Raises:
        CapabilityError: the model can't decode.
        DataError: images of different shapes or another than the model's, or no strength.
    """
    if reference.shape != x.shape[1:]:
        raise DataError(f"the reference is {tuple(reference.shape)} and the images are {tuple(x.shape[1:])}")
    both = invert.run(model, torch.cat([x, reference[None]]), rng=rng)
    found = _first(both, len(x))
    step = both.z[-1:] - found.z
    return _moved(model, found, step, strengths, {"like": reference.expand_as(x)})


def correct(model: object, x: Tensor, known: Tensor | None = None, *, rng: torch.Generator) -> Edit:
    """Mend damaged images: the nearest images of the model.

    Args:
        model: keeps `Decodes`; with a mask `Completes` will do.
        x: images, [N, C, H, W] in [0, 1].
        known: bool [N, 1, H, W] or [1, 1, H, W], False where an image is damaged: only these pixels change, and what
            stands there is not looked at. None: the damage is anywhere.
        rng: where the randomness comes from.

    Raises:
        CapabilityError: the model can't do it.
        DataError: a mask of another size, or that hides everything or nothing; images of another shape.
    """
    if known is None:
        found = invert.run(model, x, rng=rng)
        return Edit(x, {}, found.mean[:, None], ("corrected",), found.method, found)
    way = "search" if isinstance(model, Decodes) else None
    filled = complete.run(model, x, known, n=1, rng=rng, method=way)
    return Edit(x, {"damage": filled.masked}, filled.images, ("corrected",), filled.how, None)


def compose(model: object, x: Tensor, other: Tensor, known: Tensor, *, rng: torch.Generator) -> Edit:
    """Paste a part of another image and let the model make one image of both.

    Args:
        model: keeps `Decodes`.
        x: images, [N, C, H, W] in [0, 1].
        other: one image [C, H, W], where the hidden part comes from.
        known: bool [N, 1, H, W] or [1, 1, H, W], False where `other` is pasted.
        rng: where a search begins.

    Raises:
        CapabilityError: the model can't decode.
        DataError: images of different shapes, or a mask that pastes all or nothing.
    """
    if other.shape != x.shape[1:]:
        raise DataError(f"the other image is {tuple(other.shape)} and the images are {tuple(x.shape[1:])}")
    pasted = torch.where(masks.checked(known, x), x, other)
    found = invert.run(model, pasted, rng=rng)
    shown = {"other": other.expand_as(x), "pasted": pasted}
    return Edit(x, shown, found.mean[:, None], ("composed",), found.method, found)


def _moved(model: object, found: Inversion, step: Tensor, strengths: Sequence[float], shown: dict[str, Tensor]) -> Edit:
    if not strengths:
        raise DataError("there is at least one strength to move by")
    z = torch.stack([found.z + strength * step for strength in strengths], 1)  # [N, K, …]
    labels = None if found.labels is None else found.labels.repeat_interleave(len(strengths))
    images = decoded(require(model, Decodes), z.flatten(0, 1), labels, found.x)
    columns = tuple(f"{strength:+g}" for strength in strengths)
    return Edit(found.x, shown, images.view(*z.shape[:2], *images.shape[1:]), columns, found.method, found)


def _first(both: Inversion, n: int) -> Inversion:
    labels = None if both.labels is None else both.labels[:n]
    return Inversion(both.x[:n], both.z[:n], labels, both.mean[:n], both.psnr_db[:n], both.method)
