"""Directions in the latents of a model that mean something: from labels, or from what varies most.

    label:7-1    from the mean code of class 1 to that of class 7; strength 1 is the whole way
    label:7      from the mean code of all other classes to that of class 7 (a class by its name also without "label:")
    pca:3        the third component of the codes; strength 1 is one standard deviation

Where codes tell nothing (a model that decodes only, or draws its latents alike in all directions), the components are
those of the decoded images, carried back to the latents by linear regression.

References: Larsen et al., 2016, Autoencoding beyond pixels using a learned similarity metric (means of labels);
Härkönen et al., 2020, GANSpace: discovering interpretable GAN controls (components and regression).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from imprior.data.batches import Images
from imprior.errors import DataError, nearest
from imprior.promises import Decodes, Encodes, require
from imprior.tasks import invert
from imprior.tasks.protocol import evaluating, fits

DRAWS = 2000  # latents decoded where no images are given
SEARCHED = 20  # images of a class whose latents are searched for, of models without an encoder


@dataclass(frozen=True)
class Direction:
    """A step in the space of latents.

    Attributes:
        step: what strength 1 adds to a latent, [1, …] in the latents' shape.
        name: as it was asked for.
    """

    step: Tensor
    name: str


def find(model: object, name: str, images: Images | None, *, rng: torch.Generator) -> Direction:
    """The direction of that name.

    Args:
        model: keeps `Decodes`.
        name: "label:A-B", "label:A", "A" or "pca:K", K counted from 1; A and B are names of classes of `images`.
        images: labelled, for directions of labels; for components of codes they need no labels.
        rng: where draws come from.

    Raises:
        CapabilityError: the model can't decode.
        DataError: no such direction or class, no labels, or no images of a class.
    """
    known = require(model, Decodes)
    kind, _, rest = name.partition(":")
    if kind == "pca":
        if not rest.isdecimal() or int(rest) < 1:
            raise DataError(f"'{name}': components are counted from 1, as in pca:3")
        return Direction(component(known, int(rest), images, rng=rng), name)
    towards, away = _classes(rest if kind == "label" else name, images)
    assert images is not None and images.labels is not None
    fits(known, images)
    return Direction(_mean(known, images, towards, rng) - _mean(known, images, away, rng), name)


def component(model: Decodes, number: int, images: Images | None, *, rng: torch.Generator) -> Tensor:
    """One standard deviation along a component, [1, …] in the latents' shape; the largest number in it is positive.

    Raises:
        DataError: there are fewer components.
    """
    if images is not None and isinstance(model, Encodes):
        fits(model, images)
        with evaluating(model) as device:
            z = torch.cat([model.encode(x.to(device)) for x in images.chunks(500)])
        target = z.flatten(1)
    else:
        with evaluating(model) as device:
            z = model.latent(DRAWS, rng).to(device)
            labels = None
            if model.classes is not None:
                labels = torch.randint(model.classes, (DRAWS,), generator=rng, device=rng.device).to(device)
            parts = [slice(i, i + 500) for i in range(0, DRAWS, 500)]
            target = torch.cat(
                [model.decode(z[part], None if labels is None else labels[part]).flatten(1) for part in parts]
            )
    codes, target = z.flatten(1).double().cpu(), target.double().cpu()
    centred = target - target.mean(0)
    most = min(*centred.shape, codes.shape[1])
    if number > most:
        raise DataError(f"pca:{number}: there are {most} components here")
    left, values, _ = torch.linalg.svd(centred, full_matrices=False)
    # u has one entry an image, of deviation 1; the step in the codes that goes with it is E[(z - mean) u].
    along = left[:, number - 1] * len(left) ** 0.5
    step: Tensor = (codes - codes.mean(0)).T @ along / len(along)
    if float(values[number - 1]) <= 1e-9 * float(values[0]) or float(step.norm()) == 0:
        raise DataError(f"pca:{number}: nothing varies along this component")
    # The sign of a direction is arbitrary; fixed, so that an edit comes out the same everywhere.
    step = step * step[step.abs().argmax()].sign()
    return step.to(z).view(1, *z.shape[1:])


def _classes(text: str, images: Images | None) -> tuple[Tensor, Tensor]:
    """Which images (bool [N]) a direction leads to, and which it comes from."""
    if images is None or images.labels is None:
        raise DataError(f"the direction '{text}' is found from labelled images: name a source of them with --data")
    names, labels = list(images.classes), images.labels

    def members(name: str) -> Tensor:
        found = labels == names.index(name)
        if not bool(found.any()):
            raise DataError(f"there are no images of class '{name}'")
        return found

    if text in names:
        one = members(text)
        if bool(one.all()):
            raise DataError(f"all images are of class '{text}': a direction leads from something else to it")
        return one, ~one
    for cut in (i for i, letter in enumerate(text) if letter == "-"):  # names of classes may have hyphens themselves
        if text[:cut] in names and text[cut + 1 :] in names:
            return members(text[:cut]), members(text[cut + 1 :])
    unknown = next((part for part in text.split("-") if part not in names), text)
    raise DataError(
        f"no class or direction '{unknown}'{nearest(unknown, names)}; the classes are {', '.join(names)}, "
        "and directions are label:A, label:A-B and pca:K"
    )


def _mean(model: Decodes, images: Images, which: Tensor, rng: torch.Generator) -> Tensor:
    """The mean latent of some images, [1, …]."""
    index = which.nonzero().flatten()
    if not isinstance(model, Encodes):
        index = index[torch.randperm(len(index), generator=rng)[:SEARCHED]]
        found: Tensor = invert.run(model, images.x(index), rng=rng).z
        return found.mean(0, keepdim=True)
    with evaluating(model) as device:
        total = sum(model.encode(images.x(part).to(device)).sum(0) for part in torch.split(index, 500))
    assert isinstance(total, Tensor)
    mean: Tensor = total / len(index)
    return mean[None]
