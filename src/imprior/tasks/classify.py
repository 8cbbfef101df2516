"""Which class an image is of: by Bayes' rule from a class-conditional likelihood, or by a classifier.

    log p(label | x) = log p(x | label) + log p(label) - log Σ over labels,      log p(x | label) = minus nats

A model that knows what images of each class look like is a classifier without having been trained as one. Its answers
are as good as its likelihood, but far too sure of themselves: nats of 784 pixels add up as if each were news of its
own. So the log-loss and the calibration error stand beside the accuracy. Bounds in the place of log p(x | label) rank
labels well where they are about equally loose.

References: Ng & Jordan 2001, On discriminative vs. generative classifiers; Guo et al. 2017, On calibration of modern
neural networks (expected calibration error).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from imprior.data.batches import Images
from imprior.errors import CapabilityError, DataError, RunError
from imprior.promises import Classifies, Scores
from imprior.randomness import generator
from imprior.tasks.protocol import evaluating, fits, plain, presentation, same_size

BATCH = 200
BINS = 15  # of confidence, equally wide, as in the reference


@dataclass(frozen=True)
class Classification:
    """What a model says of the class of each image.

    Attributes:
        log_p: [N, K] float64, log p(label | x).
        labels: int64 [N], the truth, or None.
        classes: names by label; empty where nobody knows them.
        protocol: how the answers came about.
    """

    log_p: Tensor
    labels: Tensor | None
    classes: tuple[str, ...]
    protocol: dict[str, Any]

    @property
    def predicted(self) -> Tensor:
        """[N] int64, the most probable label of each image."""
        return self.log_p.argmax(1)

    def name(self, label: int) -> str:
        """What a label is called."""
        return self.classes[label] if label < len(self.classes) else str(label)

    def record(self) -> dict[str, Any]:
        """JSON values: predictions counted by class; accuracy, log-loss and calibration where the truth is known."""
        counts = self.predicted.bincount(minlength=self.log_p.shape[1]).tolist()
        values: dict[str, Any] = {"n": len(self.log_p), "predicted": {self.name(k): c for k, c in enumerate(counts)}}
        if self.labels is not None:
            values = {"n": len(self.log_p)} | figures(self.log_p, self.labels) | values
        return values | {"protocol": self.protocol}


def run(
    model: Any,
    images: Images,
    *,
    samples: int = 1,
    seed: int = 0,
    prior: Tensor | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Classification:
    """Classify images.

    Args:
        model: keeps `Classifies`; or keeps `Scores` and knows classes: then every image is scored under every label,
            with the same draws where scores are drawn.
        images: of the model's shape; with labels, if answers are to be judged.
        samples: draws per image and label of a bound by sampling.
        seed: of all draws (binarization, dequantisation, bounds).
        prior: [K] probabilities of the labels for Bayes' rule; None takes them as equally likely.
        progress: told (images done, images in all).

    Raises:
        CapabilityError: the model does neither.
        DataError: no images, images of another shape, space or number of classes than the model's, or a prior that is
            none.
        RunError: no label gives an image a finite score.
    """
    if len(images) == 0:
        raise DataError("no images to classify")
    parts, protocol = [], {"n": len(images), "data": images.fingerprint}
    with evaluating(model) as device:
        if isinstance(model, Classifies):
            fits(model, images)
            protocol |= {"by": f"classifier ({model.measure})"}
            for x in images.chunks(BATCH):
                parts.append(model.classify(x.to(device)).double().cpu())
                _tell(progress, parts, len(images))
        elif isinstance(model, Scores) and model.classes is not None:
            fits(model, images)
            shown, log_prior = presentation(model, images, seed=seed), _log_prior(prior, model.classes)
            for pixels in torch.split(same_size(images), BATCH):
                log_p = _joint(model, shown.x(pixels).to(device), samples, seed) + log_prior
                parts.append(log_p.log_softmax(1))
                _tell(progress, parts, len(images))
            protocol |= plain(shown) | {"by": "Bayes' rule", "samples": samples, "prior": log_prior.exp().tolist()}
        else:
            raise CapabilityError(
                "this model tells no classes: that takes a classifier, or a likelihood that knows classes "
                "(train one with model.classes=…)"
            )
    log_p = torch.cat(parts)
    if not bool(log_p.isfinite().any(1).all()):
        raise RunError("the model gives an image no finite score under any label")
    labels = images.labels
    if labels is not None and int(labels.max()) >= log_p.shape[1]:
        raise DataError(f"the images have labels up to {int(labels.max())}, the model knows 0 to {log_p.shape[1] - 1}")
    return Classification(log_p, None if labels is None else labels.cpu(), images.classes, protocol)


def figures(log_p: Tensor, labels: Tensor) -> dict[str, Any]:
    """Accuracy, log-loss and calibration error, as JSON values.

    Args:
        log_p: [N, K], log-probabilities of the labels.
        labels: int64 [N].

    Returns:
        accuracy and its standard_error √(p (1-p) / N); log_loss in nats (null if a true label has probability 0) and
        its log_loss_standard_error; calibration_error, see `calibration_error`.
    """
    right = (log_p.argmax(1) == labels).double()
    accuracy, n = float(right.mean()), len(labels)
    losses = -log_p.double().gather(1, labels[:, None])[:, 0]
    finite = bool(losses.isfinite().all())
    return {
        "accuracy": accuracy,
        "standard_error": math.sqrt(accuracy * (1 - accuracy) / n),
        "log_loss": float(losses.mean()) if finite else None,
        "log_loss_standard_error": float(losses.std() / math.sqrt(n)) if finite and n > 1 else None,
        "calibration_error": calibration_error(log_p, labels),
    }


def calibration_error(log_p: Tensor, labels: Tensor, bins: int = BINS) -> float:
    """Expected calibration error: |confidence - accuracy| by bins of confidence, weighted by the images in each.

    0 where of all images that are classified with probability p a fraction p is right.

    Args:
        log_p: [N, K].
        labels: int64 [N].
        bins: equally wide, of (0, 1].

    Reference:
        Guo et al. 2017, On calibration of modern neural networks, eq. 3.

    >>> half = torch.full((4, 2), 0.5).log()
    >>> [round(calibration_error(half, torch.tensor(truth)), 6) for truth in ([0, 0, 1, 1], [0, 0, 0, 0])]
    [0.0, 0.5]
    """
    confidence, predicted = log_p.double().exp().max(1)
    right = (predicted == labels).double()
    place = (confidence * bins).ceil().long().clamp(1, bins) - 1
    gaps = torch.zeros(bins, dtype=torch.float64).index_add_(0, place, confidence - right)
    return float(gaps.abs().sum() / len(labels))


def _joint(model: Scores, x: Tensor, samples: int, seed: int) -> Tensor:
    """log p(x | label) of each label: [N, K] float64."""
    assert model.classes is not None
    columns = []
    for label in range(model.classes):
        given = torch.full((len(x),), label, device=x.device)
        # The same draws for every label: their difference is what counts.
        rng = generator(seed, "score", device=x.device)
        columns.append(-model.score(x, given, samples=samples, rng=rng).nats.double().cpu())
    return torch.stack(columns, 1)


def _log_prior(prior: Tensor | None, classes: int) -> Tensor:
    if prior is None:
        return torch.full((classes,), -math.log(classes), dtype=torch.float64)
    given = prior.double()
    if given.shape != (classes,) or bool((given < 0).any()) or abs(float(given.sum()) - 1) > 1e-6:
        raise DataError(f"a prior is {classes} probabilities that sum to 1, not {prior.tolist()}")
    return given.log()


def _tell(progress: Callable[[int, int], None] | None, parts: list[Tensor], total: int) -> None:
    if progress is not None:
        progress(sum(map(len, parts)), total)
