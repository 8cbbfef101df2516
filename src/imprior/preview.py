"""What a training shows of itself when it ends: a picture of what the model does, and its curves."""

from __future__ import annotations

from typing import Any

import torch

from imprior import runs
from imprior.data.batches import Batches
from imprior.errors import MissingExtraError
from imprior.promises import Decodes, Denoises, Encodes, Samples
from imprior.randomness import generator
from imprior.report import figures, grid

SHOWN = 10


@torch.no_grad()
def write(run: runs.Run, model: Any, batches: Batches) -> None:
    """Write preview.png and curves.png into a run folder.

    Args:
        run: where to.
        model: what was trained, in evaluation mode; each promise that it keeps gives rows of the picture.
        batches: held-out images, prepared as in training.
    """
    count = min(SHOWN, len(batches.images))
    batch = batches.take(torch.arange(count), generator(0, "preview"))
    rows = {"original": batch.x}
    if batch.corrupted is not None:
        rows["noisy"] = batch.corrupted
        if isinstance(model, Denoises):
            rows["cleaned"] = model.denoise(batch.corrupted)
    elif isinstance(model, Encodes):
        rows["recovered"] = model.decode(model.encode(batch.x))[..., : batch.x.shape[-2], : batch.x.shape[-1]]
    rng = generator(0, "preview samples")
    classes = getattr(model, "classes", None)
    labels = None if classes is None else torch.arange(count) % classes
    if isinstance(model, Decodes):
        rows["sampled"] = model.decode(model.latent(count, rng), labels)
    elif isinstance(model, Samples):
        rows["sampled"] = model.sample(count, rng, labels)
    picture = grid.rows(list(rows.values()), captions=list(rows))
    runs.write_bytes(run.path / "preview.png", grid.encoded(picture))
    log = run.log()
    if log:
        try:
            curves = figures.curves(log, title=run.name)
        except MissingExtraError:
            return  # the numbers are in log.jsonl; a picture of them wants the extra `report`
        runs.write_bytes(run.path / "curves.png", curves)
