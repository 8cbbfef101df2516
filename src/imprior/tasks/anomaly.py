"""Which images a model has not learned: a score for each, a threshold from normal images, and how well it separates.

    joint            how far two numbers together are from those of normal images (Mahalanobis distance): the model's
                     nats, or the logarithm of the squared error of its reconstruction, and the nats of a background
    ratio            nats - the nats of the background
    typicality       |nats - mean nats of normal images|: too likely is as strange as too unlikely
    nats             -log p(x). Known to mislead: simple images can be likelier than any the model was trained on
    reconstruction   squared error of the decoded code, summed over pixels

A background knows what any image costs and nothing of the model's images: the file of a classical codec (PNG by
default), or a second model. `ratio` wants likelihoods good enough to be compared with it; `joint` learns from normal
images how both go together, so it is the default, for every model. It was chosen on validation images before any test
set was looked at. Every score is higher for what is stranger.

References: Nalisnick et al., 2019, Detecting out-of-distribution inputs to deep generative models using typicality;
Ren et al., 2019, Likelihood ratios for out-of-distribution detection; Serrà et al., 2020, Input complexity and
out-of-distribution detection with likelihood-based generative models; Morningstar et al., 2021, Density of states
estimation for out-of-distribution detection (several statistics together).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from imprior.coding.classical import codec
from imprior.data.batches import Images
from imprior.errors import DataError, nearest
from imprior.metrics.auroc import Auroc, auroc
from imprior.promises import Encodes, Model, Scores, require
from imprior.tasks.costs import Progress, codec_nats, nats, reconstruction

Kind = Literal["joint", "ratio", "typicality", "nats", "reconstruction"]
KINDS: tuple[Kind, ...] = get_args(Kind)
BACKGROUND = "png"


@dataclass(frozen=True)
class Detector:
    """A score of a model, and where it is too high; call it with images for their scores.

    Attributes:
        model: keeps `Scores` or `Encodes`, as the score wants.
        score: which.
        threshold: scores above it are flagged.
        false_alarms: the rate of normal images that are flagged, at most (in expectation over sets of normal images).
        normal: how many held-out images the threshold comes from.
        centre: [S], of "typicality" and "joint" the mean of what is measured (S numbers an image) over them.
        precision: [S, S], of "joint" the inverse of its covariance.
        background: of "ratio" and "joint", a codec's name or a model that keeps `Scores`; else None.
        background_name: for people.
        samples: draws where a likelihood is a bound by sampling.
        seed: of all draws.
    """

    model: object
    score: Kind
    threshold: float
    false_alarms: float
    normal: int
    centre: Tensor | None
    precision: Tensor | None
    background: object | None
    background_name: str | None
    samples: int
    seed: int

    def __call__(self, images: Images, *, progress: Progress | None = None) -> Tensor:
        """The score of each image, [N] float64.

        Raises:
            DataError: images of another shape or space than the model's.
            RunError: the model gives an image no finite number.
        """
        measured = _measured(self.model, images, self.score, self.background, self.samples, self.seed, progress)
        return _distance(measured, self.centre, self.precision)

    def flags(self, scores: Tensor) -> Tensor:
        """Which scores are too high: bool [N]."""
        return scores > self.threshold

    def record(self) -> dict[str, Any]:
        """JSON values."""
        values: dict[str, Any] = {"score": self.score, "threshold": self.threshold, "false_alarms": self.false_alarms}
        values |= {"normal_images": self.normal, "background": self.background_name}
        return values | {"samples": self.samples, "seed": self.seed}


@dataclass(frozen=True)
class Separation:
    """How a detector tells normal images from others.

    Attributes:
        normal: [n] float64, scores of normal images.
        other: [m] float64, of the others.
        auroc: which does not depend on the threshold.
        false_alarms: the fraction of the normal ones above the threshold.
        detected: the fraction of the others above it.
    """

    normal: Tensor
    other: Tensor
    auroc: Auroc
    false_alarms: float
    detected: float

    def record(self) -> dict[str, Any]:
        """JSON values."""
        values = {"auroc": self.auroc.value, "standard_error": self.auroc.standard_error}
        values |= {"false_alarms": self.false_alarms, "detected": self.detected}
        return values | {"normal_images": len(self.normal), "other_images": len(self.other)}


def fit(
    model: object,
    normal: Images,
    *,
    score: str | None = None,
    false_alarms: float = 0.01,
    background: object | None = None,
    background_name: str | None = None,
    samples: int = 1,
    seed: int = 0,
    name: str = "this model",
    progress: Progress | None = None,
) -> Detector:
    """A detector whose threshold lets through all but a fraction of normal images.

    The threshold is the ceil((n + 1)(1 - rate))-th smallest of the n scores: a further normal image is above it with a
    probability of at most `rate`, whatever the scores' distribution.

    Args:
        model: keeps `Scores`; or `Encodes`, for "joint" and "reconstruction".
        normal: images of the kind that the model was trained on, which it has not seen.
        score: "joint", "ratio", "typicality", "nats" or "reconstruction"; None takes "joint".
        false_alarms: the rate, above 0 and below 1.
        background: of "ratio" and "joint": a model, or the name of a lossless classical codec; None is PNG.
        background_name: for people.
        samples: draws for each image where a likelihood is a bound by sampling.
        seed: of all draws.
        name: of the model, for people.
        progress: told (images done, images in all).

    Raises:
        CapabilityError: the model does not keep what the score wants.
        DataError: too few images for the rate (with how many it takes), images that the model can't take, no such
            score or codec, or a background that is over other images than the model.
        RunError: the model gives an image no finite number.
    """
    chosen = "joint" if score is None else _asked(score)
    if not (chosen == "joint" and isinstance(model, Scores | Encodes)):
        require(model, Encodes if chosen == "reconstruction" else Scores, name=name)
    if background is not None and chosen not in ("ratio", "joint"):
        raise DataError(f"a background goes with the scores ratio and joint, not with {chosen}")
    if chosen in ("ratio", "joint"):
        background = BACKGROUND if background is None else background
        background_name = background if isinstance(background, str) else background_name or type(background).__name__
        _check_background(model, background)
    rank = _rank(len(normal), false_alarms, least=3 if chosen == "joint" else 1)
    measured = _measured(model, normal, chosen, background, samples, seed, progress)
    centre = measured.mean(0) if chosen in ("typicality", "joint") else None
    precision = torch.linalg.pinv(measured.T.cov(), hermitian=True) if chosen == "joint" else None
    threshold = float(_distance(measured, centre, precision).sort().values[rank - 1])
    return Detector(
        model=model,
        score=chosen,
        threshold=threshold,
        false_alarms=false_alarms,
        normal=len(normal),
        centre=centre,
        precision=precision,
        background=background,
        background_name=background_name,
        samples=samples,
        seed=seed,
    )


def separation(
    detector: Detector, normal: Images | Tensor, other: Images | Tensor, *, progress: Progress | None = None
) -> Separation:
    """Scores of normal and other images (or those scores, [n] and [m]), and how far they are apart."""
    low, high = (
        given if isinstance(given, Tensor) else detector(given, progress=progress) for given in (normal, other)
    )
    if not len(low) or not len(high):
        raise DataError("images of both kinds are needed to tell how well they are separated")
    rates = (float(detector.flags(scores).double().mean()) for scores in (low, high))
    return Separation(low, high, auroc(low, high), *rates)


def _measured(
    model: object,
    images: Images,
    score: Kind,
    background: object | None,
    samples: int,
    seed: int,
    progress: Progress | None,
) -> Tensor:
    """What a score is made of: [N, 1], or [N, 2] of "joint", float64."""
    if len(images) == 0:
        raise DataError("no images to score")
    if score == "reconstruction":
        return reconstruction(require(model, Encodes), images, progress=progress)[:, None]
    if isinstance(model, Scores):
        own = nats(model, images, samples=samples, seed=seed, progress=progress)
    else:
        error = reconstruction(require(model, Encodes), images, progress=progress)
        own = error.clamp_min(torch.finfo(error.dtype).tiny).log()
    if score in ("nats", "typicality"):
        return own[:, None]
    if isinstance(background, str):
        behind = codec_nats(background, require(model, Model), images, seed=seed)
    else:
        behind = nats(require(background, Scores), images, samples=samples, seed=seed, progress=progress)
    return (own - behind)[:, None] if score == "ratio" else torch.stack([own, behind], 1)


def _distance(measured: Tensor, centre: Tensor | None, precision: Tensor | None) -> Tensor:
    """Scores [N] of what was measured [N, S]."""
    if centre is None:
        return measured[:, 0]
    off = measured - centre
    return off[:, 0].abs() if precision is None else ((off @ precision) * off).sum(1).clamp_min(0).sqrt()


def _rank(n: int, false_alarms: float, least: int) -> int:
    """Which of n rising scores is the threshold (counted from 1)."""
    if not 0 < false_alarms < 1:
        raise DataError(f"the rate of false alarms is a fraction between 0 and 1, not {false_alarms}")
    needed = max(least, math.ceil(1 / false_alarms - 1e-9) - 1)
    if n < needed:
        raise DataError(
            f"a false-alarm rate of {false_alarms:g} wants at least {needed:,} normal images, and there "
            f"{'is 1' if n == 1 else f'are {n:,}'}"
        )
    return math.ceil((n + 1) * (1 - false_alarms) - 1e-9)


def _check_background(model: object, background: object) -> None:
    if isinstance(background, str):
        codec(background)
        return
    both = require(model, Model), require(background, Scores, name="the background")
    # A density on dequantised levels bounds their probability, so it may stand beside a model of levels.
    if (both[0].levels == 2) != (both[1].levels == 2):
        raise DataError("the model and its background must both be over binary images, or neither")


def _asked(score: str) -> Kind:
    for kind in KINDS:
        if kind == score:
            return kind
    raise DataError(f"no score '{score}'{nearest(score, KINDS)}; there are {', '.join(KINDS)}")
