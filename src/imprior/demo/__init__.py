"""The main job, shown on what comes with the package: train a VAE, put trained models to work, make one page of it.

digits ──► train ──► run ─┐
embedded models ──────────┼─► sections ──► report.html (pictures inside, opens offline)
digits, photographs ──────┘
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from imprior import face, opening, runs
from imprior.data.batches import Images
from imprior.data.settings import Data
from imprior.demo.sections import SECTIONS, Stage
from imprior.fit import Watch
from imprior.report.page import render

# The textbook's VAE: small enough that a minute on a laptop gives digits that can be read.
RECIPE = "mnist-vae-standard"
OVERRIDES = (
    "model.network.widths=256,256",
    "model.latent=16",
    "objective.importance=1",
    "training.precision=float32",
    "training.batch=128",
    "training.average=20000",
    "training.check=20000",
)


def train(
    out: Path, *, minutes: float | None = 1.5, overrides: tuple[str, ...] = OVERRIDES, watch: Watch | None = None
) -> runs.Run:
    """Train the VAE into `out`/run; an interrupted training is gone on with, a finished one is taken as it is.

    Raises:
        RunError: `out` can't be written.
        KeyboardInterrupt: after Ctrl-C; called again, it goes on.
    """
    return face.train(RECIPE, "digits", out / "run", overrides=overrides, minutes=minutes, resume=True, watch=watch)


def write(out: Path, run: runs.Run, *, progress: Callable[[int, int], None] | None = None) -> Path:
    """Make all sections and write `out`/report.html.

    Args:
        out: folder of the report.
        run: what `train` left.
        progress: told (sections done, sections in all).

    Returns:
        The report.

    Raises:
        RunError: `out` can't be written.
        MissingExtraError: the extras `report` and `classical` are not installed.
    """
    begun = time.monotonic()
    command = f"imprior train {RECIPE} {' '.join(OVERRIDES)} --data digits --out runs/vae --minutes 1.5"
    digits = opening.images("digits", Data(), split="test")
    stage = Stage(run, command, digits.x(slice(None)), _first(digits), _models(), _photographs())
    sections = []
    for done, make in enumerate(SECTIONS, 1):
        if (section := make(stage)) is not None:
            sections.append(section)
        if progress is not None:
            progress(done, len(SECTIONS))
    seconds = run.read("card.json")["training"]["seconds"] + time.monotonic() - begun
    lead = (
        "Everything on this page was made on this machine, by one command, from images and models that come with the "
        f"package, in {seconds:.0f} seconds. Nothing on it needs a network."
    )
    report = out / "report.html"
    runs.write_text(report, render("imprior: learned image priors at work", sections, lead=lead))
    return report


def _first(digits: Images) -> Tensor:
    """Positions of the first digit of each kind."""
    assert digits.labels is not None
    return torch.stack([(digits.labels == label).nonzero()[0, 0] for label in sorted(set(digits.labels.tolist()))])


def _models() -> dict[str, Any]:
    """Embedded models of digits."""
    return {name: face.load(name) for name in runs.embedded() if name.startswith("mnist-")}


def _photographs() -> dict[str, Tensor]:
    """Embedded photographs [1, 3, H, W], by name."""
    place = runs.EMBEDDED / "data" / "photos"
    files = sorted(path for path in place.iterdir() if path.suffix in (".png", ".jpg", ".webp"))
    return {path.stem: opening.batch(path, Data()) for path in files}
