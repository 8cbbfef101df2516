"""How good a model's samples are: distances to real images in a classifier's features, beside those of real images.

    model ──► n samples ──────────┐                          Fréchet and kernel distance, precision, recall,
    real images ──► half A (n) ───┼─► classifier.features ──► density, coverage: of the samples to A, and of
                ──► half B (n) ───┘                          B to A, which is the floor that no model passes
    training images ─► nearest of each sample, and of each image of B ─► memorisation

All distances depend on n, so the floor is taken with the same n, and both are of images that took no part in training.
A model of binary images is judged beside real images that are binarized as its likelihood's are. Samples are rounded
to the 8-bit levels that real images have.

What the figures are: metrics.frechet, metrics.kernel_distance, metrics.manifold and tasks.memory.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from imprior.data.batches import Images
from imprior.errors import DataError
from imprior.metrics.frechet import PER_FEATURE, frechet_distance
from imprior.metrics.kernel_distance import KernelDistance, kernel_distance
from imprior.metrics.manifold import Manifold, manifold
from imprior.promises import Classifies, Decodes, Model, require, space_of
from imprior.tasks import sample
from imprior.tasks.memory import Memory, nearness
from imprior.tasks.protocol import Presentation, evaluating, fits, presentation, same_size

WORST = 16  # pairs that are shown
MOST = 10_000  # images that are measured by default


@runtime_checkable
class Features(Model, Protocol):
    """Makes features of images: `Classifies` without the classes."""

    measure: str

    def features(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, F]."""
        ...


@dataclass(frozen=True)
class Distances:
    """How far a set of images is from the real ones of half A.

    Attributes:
        fd: Fréchet distance.
        kernel: kernel distance.
        manifold: precision, recall, density, coverage.
    """

    fd: float
    kernel: KernelDistance
    manifold: Manifold

    def record(self) -> dict[str, Any]:
        """JSON values."""
        kid = {"kid": self.kernel.mean, "kid_standard_error": self.kernel.standard_error}
        shares = {k: v for k, v in asdict(self.manifold).items() if k != "k"}
        return {"fd": self.fd} | kid | shares


@dataclass(frozen=True)
class Quality:
    """What was found, and by which protocol.

    Attributes:
        measure: name of the Fréchet distance: "FD-mnist-v1".
        n: samples, and real images on either side.
        samples: their distances.
        floor: those of real images.
        accuracy: share of a conditional model's samples that the classifier takes for what they were drawn as; None of
            other models.
        real_accuracy: the classifier's on the real images; None where they have no labels.
        class_divergence: of an unconditional model, KL divergence in nats of the samples' classes (as the classifier
            tells them) from those of the real images; None of conditional ones.
        memory: in pixels and in features; empty without training images.
        worst: samples [W, C, H, W] whose nearest training image stands out most among the next, in pixels.
        copied: their nearest training images.
        seconds_per_image: of sampling.
        protocol: how it was measured.
    """

    measure: str
    n: int
    samples: Distances
    floor: Distances
    accuracy: float | None
    real_accuracy: float | None
    class_divergence: float | None
    memory: tuple[Memory, ...]
    worst: Tensor
    copied: Tensor
    seconds_per_image: float
    protocol: dict[str, Any]

    @property
    def ratio(self) -> float:
        """The Fréchet distance as a multiple of that of real images."""
        return self.samples.fd / self.floor.fd if self.floor.fd else float("inf")

    def record(self) -> dict[str, Any]:
        """JSON values."""
        classes = {"accuracy": self.accuracy, "class_divergence": self.class_divergence}
        return (
            {"measure": self.measure, "n": self.n, "fd_ratio": self.ratio}
            | {"samples": self.samples.record(), "real": self.floor.record() | {"accuracy": self.real_accuracy}}
            | {name: value for name, value in classes.items() if value is not None}
            | {"memory": {m.space: m.record() for m in self.memory}}
            | {"seconds_per_image": self.seconds_per_image, "protocol": self.protocol}
        )


def run(
    model: Any,
    classifier: Classifies | Features,
    real: Images,
    training: Images | None = None,
    *,
    n: int | None = None,
    rng: torch.Generator,
    draw: bool = False,
    temperature: float = 1.0,
    k: int = 5,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Quality:
    """Draw samples and measure them.

    Args:
        model: keeps `Samples` or `Decodes`.
        classifier: in whose features distances are taken; what only makes features tells no classes.
        real: images that neither the model nor the classifier was trained on; two halves of n are drawn from them.
            A conditional model draws for the labels of half A, so that its classes are as frequent.
        training: what the model was trained on, for the report on memorisation; None for no such report.
        n: samples; None takes half as many as there are real images, 10,000 at most.
        rng: of the samples, the halves and the subsets of the kernel distance.
        draw: whether pixels are drawn too, instead of judging the mean image of each latent.
        temperature: of the samples; 1 is the model's own distribution.
        k: neighbours that precision and recall are taken with.
        seed: of the binarization of real images, beside a model of binary ones.
        progress: told (samples drawn, samples in all).

    Raises:
        CapabilityError: the model can't draw.
        DataError: too few real images (the message says how many are wanted), or images of another shape than the
            model's or the classifier's; a conditional model and real images without labels.
    """
    if not isinstance(classifier, Features):
        classifier = require(classifier, Classifies, name="the classifier")
    for part in (real, training):
        if part is not None:
            fits(model, part)
            fits(classifier, part)
    means = isinstance(model, Decodes) and not draw
    shown = _presentation(model, real, means, seed)
    (labels_a, a), (labels_b, b), n = _halves(real, shown, n, classifier, k, rng)
    conditional = getattr(model, "classes", None) is not None
    if conditional and labels_a is None:
        raise DataError("this model is conditional: it draws for the labels of the real images, and they have none")
    asked = labels_a if conditional else None
    drawn, seconds = _drawn(model, n, rng, asked, draw, temperature, progress)
    (f_drawn, p_drawn), (f_a, p_a), (f_b, p_b) = (_seen(classifier, x) for x in (drawn, a, b))
    samples, floor = _distances(f_a, f_drawn, k, rng), _distances(f_a, f_b, k, rng)
    truth = None if labels_a is None or labels_b is None else torch.cat((labels_a, labels_b))
    seen = None if p_a is None or p_b is None else torch.cat((p_a, p_b))
    memory: tuple[Memory, ...] = ()
    worst = copied = drawn[:0]
    if training is not None:
        trained = torch.cat([shown.x(part) for part in torch.split(same_size(training), sample.BATCH)])
        pixels = nearness("pixels", drawn.flatten(1), b.flatten(1), trained.flatten(1))
        features = nearness("features", f_drawn, f_b, _seen(classifier, trained)[0])
        order = pixels.relative.argsort(stable=True)[:WORST]
        memory, worst, copied = (pixels, features), drawn[order], trained[pixels.position[order]]
    return Quality(
        measure=classifier.measure,
        n=n,
        samples=samples,
        floor=floor,
        accuracy=None if asked is None or p_drawn is None else float(p_drawn.eq(asked).double().mean()),
        real_accuracy=None if truth is None or seen is None else float(seen.eq(truth).double().mean()),
        class_divergence=None
        if asked is not None or p_drawn is None or seen is None
        else class_divergence(p_drawn, seen),
        memory=memory,
        worst=worst,
        copied=copied,
        seconds_per_image=seconds,
        protocol={
            "images": "means" if means else "drawn",
            "temperature": temperature,
            "binarization": shown.binarization,
            "neighbours": k,
            "kernel_subsets": samples.kernel.subsets,
            "kernel_subset_size": samples.kernel.size,
            "classifier_sha256": fingerprint(classifier),
            "real": {"n": len(real), "data": real.fingerprint},
            "training": None if training is None else {"n": len(training), "data": training.fingerprint},
        },
    )


def class_divergence(drawn: Tensor, real: Tensor) -> float:
    """KL divergence, in nats, of the classes of drawn images from those of real ones.

    Args:
        drawn: classes, int64 [N].
        real: classes, int64 [M]; one that is drawn and is not here makes the divergence infinite.

    >>> class_divergence(torch.tensor([0, 0]), torch.tensor([0, 1]))
    0.6931471805599453
    """
    classes = 1 + int(max(drawn.max(), real.max()))
    p, q = (c.bincount(minlength=classes).double() / len(c) for c in (drawn, real))
    return float((torch.special.xlogy(p, p) - torch.special.xlogy(p, q)).sum())


def fingerprint(classifier: Classifies | Features) -> str | None:
    """SHA-256 over the names and numbers (float32, little-endian) of its weights; None of one that has none.

    Of one that states a `sha256`, that of its file, it is that.
    """
    if stated := getattr(classifier, "sha256", None):
        return str(stated)
    if not isinstance(classifier, nn.Module):
        return None
    digest = hashlib.sha256()
    for name, tensor in sorted(classifier.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} ".encode())
        digest.update(np.ascontiguousarray(tensor.cpu().float().numpy()).astype("<f4").tobytes())
    return digest.hexdigest()


def _presentation(model: Any, real: Images, means: bool, seed: int) -> Presentation:
    """How real images stand beside the model's: binarized beside drawn binary ones, else as they are."""
    if not means and space_of(model) == "binary":
        return presentation(model, real, seed=seed)
    return Presentation("8-bit", "none", "none", seed)


def _halves(
    real: Images, shown: Presentation, n: int | None, classifier: Classifies | Features, k: int, rng: torch.Generator
) -> tuple[tuple[Tensor | None, Tensor], tuple[Tensor | None, Tensor], int]:
    """Two disjoint sets of n real images, each with its labels; and n."""
    pixels = same_size(real)
    features = _seen(classifier, shown.x(pixels[:1]))[0].shape[1] if len(real) else 0
    fewest = max(PER_FEATURE * features, 20, k + 1)
    n = min(len(real) // 2, MOST) if n is None else n
    if n < fewest or 2 * n > len(real):
        n = max(n, fewest)
        raise DataError(
            f"sample quality in {features} features wants n of {fewest:,} or more, and 2 n real images "
            f"(at least {2 * n:,}; there are {len(real):,})"
        )
    order = torch.randperm(len(real), generator=rng)
    one, two = order[:n], order[n : 2 * n]
    (a, b) = ((None if real.labels is None else real.labels[index], shown.x(pixels[index])) for index in (one, two))
    return a, b, n


def _drawn(
    model: Any,
    n: int,
    rng: torch.Generator,
    labels: Tensor | None,
    draw: bool,
    temperature: float,
    progress: Callable[[int, int], None] | None,
) -> tuple[Tensor, float]:
    """n samples on 8-bit levels, and the seconds that each took."""
    parts, started = [], time.perf_counter()
    for start in range(0, n, sample.BATCH):
        stop = min(start + sample.BATCH, n)
        given = None if labels is None else labels[start:stop]
        part = sample.run(model, stop - start, rng=rng, labels=given, draw=draw, temperature=temperature)
        parts.append(part.cpu())
        if progress is not None:
            progress(stop, n)
    seconds = (time.perf_counter() - started) / n
    return (torch.cat(parts).float().clamp(0, 1) * 255).round() / 255, seconds


def _seen(classifier: Classifies | Features, x: Tensor) -> tuple[Tensor, Tensor | None]:
    """Features [n, F] and classes [n] of images; no classes from what only makes features."""
    features, classes = [], []
    with evaluating(classifier) as device:
        for part in torch.split(x, sample.BATCH):
            features.append(classifier.features(part.to(device)).cpu())
            if isinstance(classifier, Classifies):
                classes.append(classifier.classify(part.to(device)).argmax(1).cpu())
    return torch.cat(features), torch.cat(classes) if classes else None


def _distances(real: Tensor, features: Tensor, k: int, rng: torch.Generator) -> Distances:
    return Distances(
        frechet_distance(real, features),
        kernel_distance(real, features, rng),
        manifold(real, features, k=k),
    )
