"""How much of one set of features the other covers, with balls around each point that reach to its k-th neighbour.

    precision   share of the drawn images that lie in a ball of a real one           are they like real ones?
    recall      share of the real images that lie in a ball of a drawn one           is everything drawn?
    density     balls of real images that a drawn one lies in, over k, on average    precision that outliers can't fool
    coverage    share of the balls of real images that hold a drawn one              recall by the real balls alone

References: Kynkäänniemi et al. 2019, Improved precision and recall metric for assessing generative models, eq. 1-2;
Naeem et al. 2020, Reliable fidelity and diversity metrics for generative models, eq. 3 and 5.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from imprior.errors import DataError
from imprior.metrics.nearest import nearest, within


@dataclass(frozen=True)
class Manifold:
    """All four.

    Attributes:
        precision, recall, coverage: in [0, 1].
        density: about 1 for two sets of one distribution; it can be above.
        k: neighbours.
    """

    precision: float
    recall: float
    density: float
    coverage: float
    k: int


def manifold(real: Tensor, drawn: Tensor, *, k: int = 5) -> Manifold:
    """Precision, recall, density and coverage of drawn images.

    Args:
        real: features [N, F].
        drawn: features [N, F]; as many, since balls shrink with their number.
        k: neighbours that a ball reaches to.

    Raises:
        DataError: unequal numbers, or not more than k.
    """
    if len(real) != len(drawn):
        raise DataError(f"precision and recall want equally many images, not {len(real):,} and {len(drawn):,}")
    if len(real) <= k:
        raise DataError(f"{k} neighbours want at least {k + 1} images on either side, there are {len(real)}")
    real_radii, drawn_radii = (nearest(z, z, k=k, own=True)[0][:, -1] for z in (real, drawn))
    like_real, balls, covered = 0, 0, torch.zeros(len(real), dtype=torch.bool, device=real.device)
    for _, inside in within(drawn, real, real_radii):
        like_real += int(inside.any(1).sum())
        balls += int(inside.sum())
        covered |= inside.any(0)
    found = sum(int(inside.any(1).sum()) for _, inside in within(real, drawn, drawn_radii))
    n = len(real)
    return Manifold(like_real / n, found / n, balls / (k * n), float(covered.double().mean()), k)
