"""Where expectation-maximisation begins: images that lie far from each other (the start of k-means++).

Reference: D. Arthur, S. Vassilvitskii, "k-means++: the advantages of careful seeding", 2007.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from imprior.distributions.draws import categorical
from imprior.errors import DataError

SEEN = 20_000  # points that seeds are chosen among; more of them would only be slower


def gathered(batches: Iterable[Tensor], like: Tensor) -> Tensor:
    """The first images of a pass, at most `SEEN`, flattened: float64 [N, D] on the device of `like`.

    Raises:
        DataError: there are none.
    """
    found: list[Tensor] = []
    for x in batches:
        found.append(x[: SEEN - sum(map(len, found))].flatten(1).to(like.device, torch.float64))
        if sum(map(len, found)) >= SEEN:
            break
    if not found:
        raise DataError("no images to fit a model to")
    return torch.cat(found)


def spread(points: Tensor, count: int, rng: torch.Generator) -> Tensor:
    """Draw `count` of the points [N, D], each with its squared distance to those drawn before as weight: [count, D].

    Raises:
        DataError: there are fewer different points.
    """
    squares = points.square().sum(1)
    distance = torch.full_like(squares, torch.inf)
    chosen: list[int] = []
    for _ in range(count):
        weight = torch.ones_like(distance) if not chosen else distance
        if not bool((weight > 0).any()):
            raise DataError(f"{len(chosen)} different images are too few for {count} components")
        chosen.append(int(categorical(weight.log()[None], rng)))
        last = points[chosen[-1]]
        apart = (squares - 2 * points @ last + last.square().sum()).clamp_min(0)
        # Equal points come out as a rounding error apart; they are the same.
        distance = torch.minimum(distance, torch.where(apart > 1e-12 * squares.max(), apart, 0.0))
    return points[chosen]
