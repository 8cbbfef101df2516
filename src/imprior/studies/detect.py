"""The same question for detection: where on a cluttered canvas is which digit?

    images ──► scene: one to three of them on a canvas, among pieces of others ──► detector ──► heat map ──► peaks
    [M,C,h,w]         [N,C,64,64]                                                  [N,K,16,16]

The detector gives each class a heat map of centres; peaks are detections. It is judged by mean average precision: a
detection is right where its centre is within the tolerance of an object of its class that no surer one has taken.

Reference: Zhou, Wang & Krähenbühl 2019, Objects as points (heat map, loss and peaks; here without box sizes).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import fmean

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imprior.data.batches import Batches, Images
from imprior.data.settings import Data
from imprior.data.warp import Warp
from imprior.errors import DataError
from imprior.metrics.detection import average_precision, match
from imprior.nn.convolutional import Convolutional
from imprior.parts import Batch, Parts
from imprior.randomness import generator
from imprior.studies.augment import TrainingSet, mixture, trained

NOTHING = -1  # in the place of a label where a scene has fewer objects than it could have
RARE = 4.0  # logits begin this far below zero: most places of a heat map are empty


@dataclass(frozen=True)
class Scenes:
    """Canvases, and what is on them.

    Attributes:
        x: [N, C, side, side].
        centres: [N, most, 2] pixels, down and right.
        labels: int64 [N, most]; `NOTHING` where there is no object.
    """

    x: Tensor
    centres: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Canvas:
    """How scenes are made: call it.

    Attributes:
        side: of the canvas in pixels, at least twice that of an image.
        most: objects on it at the most, up to 4; each lies in another quarter, and may stick out of it a little.
        clutter: pieces of other images.
        piece: their side in pixels.
    """

    side: int = 64
    most: int = 3
    clutter: int = 12
    piece: int = 8

    def __call__(self, objects: Tensor, labels: Tensor, others: Tensor, rng: torch.Generator) -> Scenes:
        """Scenes with one to `most` objects each, and pieces of `others`; where things overlap the brighter one shows.

        Args:
            objects: [N·most, C, h, w], those of a scene in a row; a random number of each row is used.
            labels: int64 [N·most].
            others: [M, C, h, w], whatever is cut to pieces.
            rng: of everything random.

        Raises:
            DataError: images too large for the canvas.
        """
        n, (channels, height, width) = len(objects) // self.most, objects.shape[1:]
        if 2 * max(height, width) > self.side or self.piece > min(height, width) or not 1 <= self.most <= 4:
            raise DataError(f"images of {height}x{width} don't fit on a canvas of {self.side}x{self.side}")
        count = torch.randint(1, self.most + 1, (n, 1), generator=rng)
        quarter = torch.rand(n, 4, generator=rng).argsort(1)[:, : self.most]
        corner = torch.stack([quarter // 2, quarter % 2], 2) * (self.side // 2)  # [n, most, 2]
        corner = corner + torch.randint(-6, 11, corner.shape, generator=rng)
        corner = corner.clamp_min(0).minimum(torch.tensor([self.side - height, self.side - width]))
        there = torch.arange(self.most) < count
        x = torch.zeros(n, channels, self.side, self.side)
        source = torch.randint(len(others), (n, self.clutter), generator=rng)
        cut = (
            torch.rand(n, self.clutter, 2, generator=rng)
            * torch.tensor([height - self.piece + 1.0, width - self.piece + 1.0])
        ).long()
        put = torch.randint(self.side - self.piece + 1, (n, self.clutter, 2), generator=rng)
        for i in range(n):
            for j, (top, left), (down, right) in zip(source[i].tolist(), cut[i].tolist(), put[i].tolist(), strict=True):
                _brighter(x[i], others[j, :, top : top + self.piece, left : left + self.piece], down, right)
            for j, (down, right) in enumerate(corner[i, : int(count[i])].tolist()):
                _brighter(x[i], objects[i * self.most + j], down, right)
        centres = corner + torch.tensor([height / 2, width / 2])
        return Scenes(x, centres, torch.where(there, labels.view(n, self.most), NOTHING))


def _brighter(canvas: Tensor, picture: Tensor, down: int, right: int) -> None:
    place = canvas[:, down : down + picture.shape[1], right : right + picture.shape[2]]
    torch.maximum(place, picture, out=place)


@dataclass(frozen=True)
class Config:
    """Settings of a detector.

    Attributes:
        shape: (channels, height, width) of the canvas.
        network: spatial, from a canvas to a grid.
        classes: labels.
    """

    shape: tuple[int, int, int]
    network: Convolutional
    classes: int

    def build(self) -> Detector:
        """The model, with fresh weights."""
        return Detector(self)


class Detector(nn.Module):
    """A heat map of centres for each class: [N, C, H, W] -> logits [N, K, H / stride, W / stride]."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.network = config.network.encoder(config.shape, config.classes)

    def forward(self, x: Tensor) -> Tensor:
        """As the class says."""
        return self.network(x) - RARE  # type: ignore[no-any-return]

    @torch.no_grad()
    def detect(self, x: Tensor, most: int = 20) -> tuple[Tensor, Tensor, Tensor]:
        """The surest peaks of each canvas: centres [N, most, 2] in pixels, labels and probabilities [N, most]."""
        heat = self(x).sigmoid()
        peaks = torch.where(heat == F.max_pool2d(heat, 3, 1, 1), heat, 0)
        scores, place = peaks.flatten(1).topk(most)
        cells, width = heat.shape[2] * heat.shape[3], heat.shape[3]
        cell = place % cells
        centres = (torch.stack([cell // width, cell % width], 2) + 0.5) * self.config.network.stride
        return centres, place // cells, scores


@dataclass(frozen=True)
class SceneBatch(Batch):
    """Canvases on their way to the objective; `heat` is what the detector should say, [N, K, h, w] in [0, 1]."""

    heat: Tensor


@dataclass(frozen=True)
class Focal:
    """The objective: a cross-entropy in which places that are easy, or near a centre, count less.

    -1/objects Σ  (1 - p)² log p  at centres,   (1 - heat)⁴ p² log(1 - p)  elsewhere

    Reference: Zhou, Wang & Krähenbühl 2019, eq. 1.
    """

    def __call__(
        self, model: nn.Module, batch: Batch, *, rng: torch.Generator, progress: float, player: str | None = None
    ) -> Parts:
        """The loss of a batch, per object."""
        assert isinstance(batch, SceneBatch)
        logits, heat = model(batch.x), batch.heat
        p = logits.sigmoid()
        here = heat == 1
        gained = torch.where(here, (1 - p) ** 2 * F.logsigmoid(logits), (1 - heat) ** 4 * p**2 * F.logsigmoid(-logits))
        return Parts(-gained.sum() / here.sum().clamp_min(1), {})


def heat_map(scenes: Scenes, classes: int, stride: int) -> Tensor:
    """[N, K, h, w]: 1 in the cell of an object's centre, falling like a Gaussian of one cell's width around it."""
    n, side = len(scenes.x), -(-scenes.x.shape[-1] // stride)
    cells = (scenes.centres / stride).floor()
    axis = torch.arange(side)
    fall = torch.exp(-0.5 * (axis - cells[..., None]).square())  # [N, most, 2, side]
    bumps = fall[:, :, 0, :, None] * fall[:, :, 1, None, :]  # [N, most, h, w]
    heat = torch.zeros(n, classes, side, side)
    for j in range(scenes.labels.shape[1]):
        own = (scenes.labels[:, j] != NOTHING).nonzero()[:, 0]
        label = scenes.labels[own, j]
        heat[own, label] = torch.maximum(heat[own, label], bumps[own, j])
    return heat


class SceneBatches(Batches):
    """Fresh scenes at each step, their objects drawn from the sources as `augment.Mixed` draws images.

    Args:
        parts: sources, labelled, and how many scenes of a batch have objects of each.
        canvas: makes the scenes.
        warp: classical augmentation, of the objects.
        classes, stride: of the detector.
        seed: of everything random.
    """

    def __init__(
        self,
        parts: list[tuple[Images, int]],
        canvas: Canvas,
        *,
        warp: Warp | None,
        classes: int,
        stride: int,
        seed: int,
    ) -> None:
        super().__init__(parts[0][0], Data(), batch=0, seed=seed)
        self.parts, self.canvas, self.warp, self.classes, self.stride = parts, canvas, warp, classes, stride
        self.batch = sum(count for _, count in parts)

    def at(self, step: int) -> SceneBatch:
        """The scenes of a step, a function of seed and step."""
        rng = generator(self.seed, "scenes", step)
        made = [scenes_of(images, count, self.canvas, rng, warp=self.warp) for images, count in self.parts]
        scenes = Scenes(*(torch.cat([getattr(one, key) for one in made]) for key in ("x", "centres", "labels")))
        heat = heat_map(scenes, self.classes, self.stride)
        return SceneBatch(scenes.x, scenes.labels, None, None, torch.arange(self.batch), heat)


def scenes_of(images: Images, n: int, canvas: Canvas, rng: torch.Generator, *, warp: Warp | None = None) -> Scenes:
    """n scenes whose objects and clutter are drawn from `images`, with replacement."""
    assert images.labels is not None
    index = torch.randint(len(images), (n * canvas.most,), generator=rng)
    others = images.x(torch.randint(len(images), (200,), generator=rng))
    objects = images.x(index)
    return canvas(objects if warp is None else warp(objects, rng), images.labels[index], others, rng)


@dataclass(frozen=True)
class Detecting:
    """A small network that finds and names digits, as a trial of `augment.run`.

    Attributes:
        steps: of each training.
        batch: scenes a step.
        share: of a batch whose objects are generated, where both kinds are in it.
        scenes: to be judged on, made of test images.
        tolerance: of a centre, in pixels.
        canvas: makes scenes.
        warp: what classical augmentation does.
        network: spatial.
    """

    steps: int = 300
    batch: int = 32
    share: float = 0.5
    scenes: int = 300
    tolerance: float = 6.0
    canvas: Canvas = field(default_factory=Canvas)
    warp: Warp = field(default_factory=Warp)
    network: Convolutional = field(default_factory=lambda: Convolutional((16, 32), blocks=2, spatial=True))

    @property
    def measure(self) -> str:
        """As `augment.Trial` says."""
        return "mean average precision"

    def __call__(self, kind: TrainingSet, real: Images, generated: Images | None, test: Images, seed: int) -> float:
        """As `augment.Trial` says."""
        assert real.labels is not None
        channels, side, classes = real.shape[0], self.canvas.side, int(real.labels.max()) + 1
        assert channels is not None
        batches = SceneBatches(
            mixture(kind, real, generated, self.batch, self.share),
            self.canvas,
            warp=self.warp if kind.classical else None,
            classes=classes,
            stride=self.network.stride,
            seed=seed,
        )
        model = trained(
            Config((channels, side, side), self.network, classes), Focal(), batches, steps=self.steps, seed=seed
        )
        assert isinstance(model, Detector)
        # The same test scenes for all training sets and seeds.
        scenes = scenes_of(test, self.scenes, self.canvas, generator(0, "test scenes"))
        return mean_average_precision(model, scenes, tolerance=self.tolerance)


def mean_average_precision(model: Detector, scenes: Scenes, *, tolerance: float) -> float:
    """Average precision of each class, averaged over the classes that the scenes have."""
    found = [model.detect(part) for part in torch.split(scenes.x, 100)]
    centres, labels, scores = (torch.cat([one[k] for one in found]) for k in range(3))
    each = []
    for label in sorted(set(scenes.labels.flatten().tolist()) - {NOTHING}):
        right, sure, objects = [], [], 0
        for i in range(len(scenes.x)):
            own, there = labels[i] == label, scenes.labels[i] == label
            right.append(match(centres[i, own], scores[i, own], scenes.centres[i, there], tolerance))
            sure.append(scores[i, own])
            objects += int(there.sum())
        each.append(average_precision(torch.cat(sure), torch.cat(right), objects))
    return fmean(each)
