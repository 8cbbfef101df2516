"""A classifier: what samples of other models are measured with, and what a likelihood's classes stand beside.

    x ──► network ──► h ──► activation ──► linear ──► log softmax           [N,C,H,W] → [N,features] → [N,classes]
                      └──► (h - mean) / deviation ──► features              [N,features]

Distances between sets of images (Fréchet, kernel, precision and recall) are taken in its features. They are the
numbers before the last activation, nearer to a Gaussian than those after it; mean and deviation of each over the
training images are fixed once the weights are (`calibrate`), so no unit's scale decides a distance.

Reference: Heusel et al. 2017, GANs trained by a two time-scale update rule (the distance, there in features of
Inception); Bińkowski et al. 2018, Demystifying MMD GANs, section 5 (in features of a digit classifier).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imprior.errors import RecipeError
from imprior.nn.convolutional import Convolutional
from imprior.nn.dense import GAINS, Dense, linear
from imprior.promises import Shape, check_shape


@dataclass(frozen=True)
class Config:
    """Settings of a classifier.

    Attributes:
        shape: (channels, height, width) of the images; zeros are filled in from the data.
        network: from images to features.
        width: features.
        classes: labels, 2 or more.
        measure: what the Fréchet distance in its features is called; versions tell weights apart.
    """

    shape: tuple[int, int, int] = (0, 0, 0)
    network: Dense | Convolutional = field(default_factory=lambda: Convolutional((32, 64), blocks=1, width=0))
    width: int = 64
    classes: int = 10
    measure: str = "FD"

    def __post_init__(self) -> None:
        if self.width < 1 or self.classes < 2:
            raise RecipeError(f"a classifier has at least 1 feature and 2 classes, not {self.width} and {self.classes}")
        if self.network.spatial:
            raise RecipeError("a classifier's features are a vector: set spatial=false")

    def build(self) -> Classifier:
        """The model, with fresh weights."""
        return Classifier(self)


class Classifier(nn.Module):
    """Keeps Classifies and Calibrates."""

    levels: int | None = 256
    mean: Tensor
    deviation: Tensor

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.shape: Shape = config.shape
        self.classes: int | None = config.classes
        self.measure = config.measure
        self.network = config.network.encoder(config.shape, config.width)
        self.output = linear(config.width, config.classes, GAINS["silu"])
        self.register_buffer("mean", torch.zeros(config.width))
        self.register_buffer("deviation", torch.ones(config.width))

    def features(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, width], of mean 0 and variance 1 over the training images.

        Raises:
            DataError: images of another shape than the model's.
        """
        return (self._raw(x) - self.mean) / self.deviation

    def classify(self, x: Tensor) -> Tensor:
        """Log-probabilities of the classes: [N, C, H, W] -> [N, classes].

        Raises:
            DataError: images of another shape than the model's.
        """
        h = F.silu(self._raw(x))
        return self.output(h).to(x.dtype).log_softmax(1)  # type: ignore[no-any-return]

    @torch.no_grad()
    def calibrate(self, batches: Sequence[Tensor]) -> None:
        """Take mean and deviation of each feature, in float64, over training images [N, C, H, W]."""
        count, total, squares = 0, self.mean.double() * 0, self.mean.double() * 0
        for x in batches:
            h = self._raw(x.to(self.mean)).double()
            count, total, squares = count + len(h), total + h.sum(0), squares + h.square().sum(0)
        mean = total / count
        self.mean.copy_(mean)
        # A feature that never changes stays 0 rather than becoming noise of any size.
        deviation = (squares / count - mean.square()).clamp_min(0).sqrt()
        self.deviation.copy_(torch.where(deviation > 1e-6, deviation, 1.0))

    def _raw(self, x: Tensor) -> Tensor:
        check_shape(x, self.shape)
        return self.network(x).to(x.dtype)  # type: ignore[no-any-return]
