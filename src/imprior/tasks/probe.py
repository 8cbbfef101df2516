"""What the codes know about classes: a linear classifier on them, with 10, 100 and 1,000 labels a class.

    images ──► encode ──► codes ─┐
           ──► flatten ─► pixels ┼─► centre, one scale ──► logistic regression ──► accuracy on the test images
           ──► PCA ─► as many numbers as the code ─┘

The labels of a run are drawn anew for each seed, the same ones for every representation. A fifth of them is held out
to choose the strength of the regularisation, then the classifier is fitted to all of them; the test images take no
part in any choice. PCA sees the training images without their labels, as the model did.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from imprior.data.batches import Images
from imprior.errors import DataError, MissingExtraError
from imprior.promises import Encodes, require
from imprior.tasks.protocol import evaluating, fits

Matrix = NDArray[np.float32]
Labels = NDArray[np.int64]

# Inverse strengths of the penalty (scikit-learn's C) that are tried on rows of mean squared norm one, weakest last. One
# decade a step is as fine as a fifth of ten labels a class can tell apart.
STRENGTHS = (1.0, 10.0, 100.0, 1000.0)
HELD_OUT = 5  # one label in so many chooses the strength
FEW = 2000  # labels


@dataclass(frozen=True)
class Accuracy:
    """How well one representation did with so many labels a class.

    Attributes:
        representation: "codes", "pixels" or "pca".
        dimensions: numbers per image.
        per_class: labels a class.
        accuracies: fraction of the test images that are classified rightly, a number for each seed.
        strengths: the regularisation chosen for each seed (scikit-learn's C).
    """

    representation: str
    dimensions: int
    per_class: int
    accuracies: tuple[float, ...]
    strengths: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return float(np.mean(self.accuracies))

    @property
    def sd(self) -> float:
        """Standard deviation over the seeds; 0 where there is one."""
        return float(np.std(self.accuracies, ddof=1)) if len(self.accuracies) > 1 else 0.0


@dataclass(frozen=True)
class Probe:
    """Accuracies of all representations, and what they were measured on.

    Attributes:
        rows: representations times labels a class.
        skipped: asked-for labels a class that the training images do not have.
        protocol: numbers of images, seeds, fingerprints of the data.
    """

    rows: tuple[Accuracy, ...]
    skipped: tuple[int, ...]
    protocol: dict[str, Any]

    def of(self, representation: str, per_class: int) -> Accuracy:
        """One row."""
        return next(r for r in self.rows if (r.representation, r.per_class) == (representation, per_class))

    def markdown(self) -> str:
        """A table with a line for each representation and a column for each number of labels."""
        sizes = sorted({r.per_class for r in self.rows})
        lines = ["| representation | numbers | " + " | ".join(f"{k:,} a class" for k in sizes) + " |"]
        lines.append("| --- " * 2 + "| ---: " * len(sizes) + "|")
        for name in dict.fromkeys(r.representation for r in self.rows):
            rows = [self.of(name, k) for k in sizes]
            cells = " | ".join(f"{100 * r.mean:.2f} ± {100 * r.sd:.2f} %" for r in rows)
            lines.append(f"| {name} | {rows[0].dimensions} | {cells} |")
        return "\n".join(lines)

    def record(self) -> dict[str, Any]:
        """JSON values."""
        rows = [
            {"representation": r.representation, "dimensions": r.dimensions, "per_class": r.per_class}
            | {"mean": r.mean, "sd": r.sd, "accuracies": list(r.accuracies), "strengths": list(r.strengths)}
            for r in self.rows
        ]
        return {"rows": rows, "skipped": list(self.skipped), "protocol": self.protocol}


def run(
    model: Encodes,
    train: Images,
    test: Images,
    *,
    per_class: Sequence[int] = (10, 100, 1000),
    seeds: int = 3,
    baselines: bool = True,
) -> Probe:
    """Linear classifiers on the codes, on raw pixels and on PCA with as many components as the code.

    Args:
        model: whose codes are probed.
        train: labelled images that labels are drawn from.
        test: labelled images that accuracies are measured on.
        per_class: labels a class; those that some class has not enough images for are left out and listed.
        seeds: how often labels are drawn.
        baselines: whether pixels and PCA stand beside the codes.

    Raises:
        DataError: images without labels, of another shape than the model's, or with too few labels for any row.
        CapabilityError: the model has no codes.
        MissingExtraError: scikit-learn is not installed.
    """
    model = require(model, Encodes)
    labels, truth = _labels(train, "training"), _labels(test, "test")
    fewest = int(np.bincount(labels)[np.unique(labels)].min())
    sizes = [k for k in per_class if k <= fewest]
    if not sizes or min(sizes) < 2 or len(np.unique(labels)) < 2:
        raise DataError(
            f"a probe wants two classes or more and at least 2 labels a class (asked for: "
            f"{', '.join(map(str, per_class))}); the smallest class of the training images has {fewest:,}"
        )
    inputs = {"codes": (_codes(model, train), _codes(model, test))}
    if baselines:
        inputs["pixels"] = (_pixels(train), _pixels(test))
        inputs["pca"] = _pca(*inputs["pixels"], inputs["codes"][0].shape[1])
    rows = []
    for name, (x, x_test) in inputs.items():
        for size in sizes:
            found = [_classify(x, labels, x_test, truth, _draw(labels, size, seed)) for seed in range(seeds)]
            accuracies, strengths = zip(*found, strict=True)
            rows.append(Accuracy(name, x.shape[1], size, accuracies, strengths))
    protocol = {
        "classifier": "multinomial logistic regression, L2 penalty chosen on a fifth of the labels",
        "seeds": seeds,
        "train": {"n": len(train), "data": train.fingerprint},
        "test": {"n": len(test), "data": test.fingerprint},
    }
    return Probe(tuple(rows), tuple(k for k in per_class if k > fewest), protocol)


def _labels(images: Images, which: str) -> Labels:
    if images.labels is None:
        raise DataError(f"a probe wants labels, but the {which} images have none (class subfolders give them)")
    labels: Labels = images.labels.cpu().numpy().astype(np.int64)
    return labels


def _codes(model: Encodes, images: Images) -> Matrix:
    """[N, D]: codes of all images, grids flattened."""
    fits(model, images)
    with evaluating(model) as device:
        codes = torch.cat([model.encode(x.to(device)).flatten(1).float().cpu() for x in images.chunks()])
    return codes.numpy()


def _pixels(images: Images) -> Matrix:
    return torch.cat([x.flatten(1) for x in images.chunks()]).numpy()


def _pca(train: Matrix, test: Matrix, components: int) -> tuple[Matrix, Matrix]:
    decomposition = _sklearn("sklearn.decomposition")
    most = min(components, *train.shape)
    fitted = decomposition.PCA(most, svd_solver="auto", random_state=0).fit(train)
    return fitted.transform(train).astype(np.float32), fitted.transform(test).astype(np.float32)


def _draw(labels: Labels, per_class: int, seed: int) -> NDArray[np.int64]:
    """Positions of `per_class` images of each class, classes taking turns, drawn by `seed`."""
    order = np.random.default_rng(seed).permutation(len(labels))
    chosen = [order[labels[order] == label][:per_class] for label in np.unique(labels)]
    return np.stack(chosen, axis=1).reshape(-1)


def _classify(
    x: Matrix, labels: Labels, x_test: Matrix, truth: Labels, chosen: NDArray[np.int64]
) -> tuple[float, float]:
    """Test accuracy and chosen strength of a classifier fitted to the `chosen` training images."""
    own, own_labels = x[chosen], labels[chosen]
    # One scale for all numbers: pixels and their PCA stay rotations of each other, and units of a code that hold
    # nothing but noise are not blown up. Rows of norm one give the strengths one meaning for all representations.
    centre = own.mean(0)
    scale = float(np.sqrt(np.square(own - centre).sum(1).mean())) or 1.0
    own, x_test = (own - centre) / scale, (x_test - centre) / scale
    classes = len(np.unique(labels))
    # Whole turns of the classes go to each fifth. One fifth of few labels chooses at random: there all take their turn.
    fifth = np.arange(len(own)) // classes % HELD_OUT
    turns = range(min(HELD_OUT, len(own) // classes)) if len(own) <= FEW else [0]
    right = np.zeros(len(STRENGTHS))
    for turn in turns:
        kept, held = fifth != turn, fifth == turn
        classifiers = _path(own[kept], own_labels[kept], STRENGTHS)
        right += [float(classifier.score(own[held], own_labels[held])) for classifier in classifiers]
    best = STRENGTHS[int(np.argmax(right))]  # the strongest penalty among equals
    (classifier,) = _path(own, own_labels, (best,))
    return float(classifier.score(x_test, truth)), best


def _path(x: Matrix, labels: Labels, strengths: Sequence[float]) -> Iterator[Any]:
    """A classifier of each strength in turn, begun where the one before ended (it is the same object)."""
    classifier = _sklearn("sklearn.linear_model").LogisticRegression(max_iter=5000, warm_start=True)
    for strength in strengths:
        yield classifier.set_params(C=strength).fit(x, labels)


def _sklearn(module: str) -> Any:
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError:
        raise MissingExtraError("probe needs scikit-learn: pip install 'imprior[classical]'") from None
