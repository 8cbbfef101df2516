"""Average precision of detections by their centres.

Reference: Everingham et al. 2010, The Pascal visual object classes challenge, section 4.2; precision is interpolated at
all recalls, as from VOC 2010 on. There boxes overlap; here centres are near.
"""

from __future__ import annotations

import torch
from torch import Tensor


def match(found: Tensor, scores: Tensor, truth: Tensor, tolerance: float) -> Tensor:
    """Which detections of one image and class are right: each takes the nearest object that is still free.

    Args:
        found: [M, 2] centres.
        scores: [M]; the surer ones choose first.
        truth: [P, 2] centres of the objects that are there.
        tolerance: distance at most, in the centres' unit.

    Returns:
        bool [M].

    >>> found = torch.tensor([[0.0, 0.0], [0.0, 1.0], [9.0, 9.0]])
    >>> match(found, torch.tensor([0.5, 0.9, 0.8]), torch.tensor([[0.0, 0.0]]), 2.0).tolist()
    [False, True, False]
    """
    right = torch.zeros(len(found), dtype=torch.bool)
    if len(truth) == 0:
        return right
    distances = torch.cdist(found.double(), truth.double())
    for number in scores.argsort(descending=True, stable=True).tolist():
        nearest = int(distances[number].argmin())
        if distances[number, nearest] <= tolerance:
            right[number] = True
            distances[:, nearest] = torch.inf
    return right


def average_precision(scores: Tensor, right: Tensor, objects: int) -> float:
    """Area under precision against recall, precision made falling; 1 where all objects come before any mistake.

    Args:
        scores: [M] of all detections of a class, over all images.
        right: bool [M].
        objects: how many there are to be found, 1 or more.

    >>> average_precision(torch.tensor([0.9, 0.8, 0.7]), torch.tensor([True, False, True]), 2)
    0.8333333333333333
    """
    assert objects >= 1
    hits = right[scores.argsort(descending=True, stable=True)].double()
    precision = hits.cumsum(0) / torch.arange(1, len(hits) + 1)
    falling = precision.flip(0).cummax(0).values.flip(0) if len(hits) else precision
    return float((falling * hits).sum() / objects)
