"""Images that a model has not learned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from imprior.data.batches import Images
    from imprior.data.prepare import Split
    from imprior.data.settings import Data
    from imprior.opening import Given
    from imprior.tasks.anomaly import Detector, Separation


@dataclass(frozen=True)
class Anomalies:
    """What was found.

    Attributes:
        detector: the score and its threshold; call it with prepared images for more scores.
        data: how the model's images are prepared.
        images: that were judged, or None.
        scores: [N] float64 of them, higher for what is stranger.
        flags: bool [N], which are above the threshold.
        separation: of normal images from others, where others were given.
        reference: [C, H, W], the mean normal image.
    """

    detector: Detector
    data: Data
    images: Images | None
    scores: Tensor | None
    flags: Tensor | None
    separation: Separation | None
    reference: Tensor

    def judge(self, given: Given, *, split: Split | None = None, limit: int | None = None) -> Anomalies:
        """The same for other images.

        Raises:
            DataError: images that can't be used.
            RunError: the model gives an image no finite number.
        """
        from dataclasses import replace

        from imprior import opening

        images = opening.images(given, self.data, split=split, limit=limit)
        scores = self.detector(images)
        return replace(self, images=images, scores=scores, flags=self.detector.flags(scores))

    def heat(self) -> tuple[Tensor, str]:
        """Maps [N, H, W] of where the judged images are strange, and what they show.

        Raises:
            DataError: no images were judged.
        """
        from imprior.errors import DataError
        from imprior.tasks import heat

        if self.images is None:
            raise DataError("no images were judged: name some")
        return heat.run(self.detector.model, self.images, reference=self.reference, seed=self.detector.seed)

    def record(self) -> dict[str, Any]:
        """JSON values."""
        values = self.detector.record()
        if self.scores is not None and self.flags is not None:
            values |= {"scores": self.scores.tolist(), "flags": self.flags.tolist()}
        return values | ({} if self.separation is None else {"separation": self.separation.record()})


def anomaly(
    model: Any,
    normal: Given,
    inputs: Given | None = None,
    *,
    against: Given | None = None,
    score: str | None = None,
    background: Any = None,
    false_alarms: float = 0.01,
    samples: int = 1,
    seed: int = 0,
    limit: int | None = None,
    split: Split = "test",
    progress: Callable[[int, int], None] | None = None,
) -> Anomalies:
    """Score images by how strange they are to a model, with a threshold from normal images.

    Args:
        model: keeps `Scores` or `Encodes`.
        normal: images of the kind that the model knows. Of a source with parts, the threshold comes from the
            validation images, which training holds out; else from all of them (they should be new to the model).
        inputs: images to judge.
        against: images that are not normal, to tell how well both are separated.
        score: "joint", "ratio", "typicality", "nats" or "reconstruction", see `tasks.anomaly`; None takes "joint".
        background: of "joint" and "ratio": the name of a lossless classical codec ("png") or a model; None is PNG.
        false_alarms: the fraction of normal images that may be flagged.
        samples: draws for each image where a likelihood is a bound by sampling.
        seed: of all draws.
        limit: at most so many images of each set.
        split: which part of `normal` and `against` is separated, where they have parts.
        progress: told (images done, images in all) of each set.

    Raises:
        CapabilityError: the model does not keep what the score wants.
        DataError: too few normal images for the rate; images that can't be used; no such score.
        RunError: the model gives an image no finite number.
    """
    from imprior import opening
    from imprior.coding.classical import CODECS
    from imprior.tasks import anomaly as task

    opened = opening.model(model)
    name = None
    if background is not None and not (isinstance(background, str) and background in CODECS):
        behind = opening.model(background)
        background, name = behind.model, behind.name
    held_out = opening.images(normal, opened.data, split=_part(normal, "validation"), limit=limit)
    detector = task.fit(
        opened.model,
        held_out,
        score=score,
        false_alarms=false_alarms,
        background=background,
        background_name=name,
        samples=samples,
        seed=seed,
        name=opened.name,
        progress=progress,
    )
    reference = held_out.x(slice(None)).mean(0)
    separation = None
    if against is not None:
        both = (opening.images(one, opened.data, split=_part(one, split), limit=limit) for one in (normal, against))
        separation = task.separation(detector, *both, progress=progress)
    found = Anomalies(detector, opened.data, None, None, None, separation, reference)
    return found if inputs is None else found.judge(inputs)


def _part(given: Given, wanted: Split) -> Split | None:
    """The part of a source to take: all of one without parts (None leaves files and batches as they are)."""
    from imprior.data import prepare

    if not isinstance(given, str | Path):
        return None
    parts = prepare.splits(given)
    if parts == ("whole",):
        return "all"
    return wanted
