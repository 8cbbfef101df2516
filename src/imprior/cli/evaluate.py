"""`imprior evaluate MODEL`: figures, with the protocol that they were measured by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from imprior.cli._options import as_json, count, data, model, seed, split, verb
from imprior.cli._output import emit, pairs, progress
from imprior.errors import RunError

if TYPE_CHECKING:
    from imprior.data.prepare import Split


@verb(
    "evaluate",
    "Train and judge",
    "imprior evaluate mnist-vae --data DIR --samples 1000 --json",
    "imprior evaluate runs/vae --data DIR --samples 100 --record",
    "imprior evaluate non-local-means --data DIR --sigma 25 --limit 10",
)
@model()
@data(required=True)
@split("test")
@count("--samples", 1, "Draws a likelihood bound takes for each image (1: the ELBO).")
@click.option("--limit", type=click.IntRange(min=1), help="Only the first so many images.")
@click.option(
    "--sigma",
    type=click.FloatRange(min=0, min_open=True),
    help="Noise that denoising is judged at: standard deviation, 8-bit scale.  [default: what MODEL was trained with]",
)
@seed()
@click.option("--record", is_flag=True, help="Also write the figures into the run's card, where `compare` finds them.")
@as_json()
def command(
    model: str,
    source: str,
    split: Split,
    samples: int,
    limit: int | None,
    sigma: float | None,
    seed: int,
    record: bool,
    as_json: bool,
) -> None:
    """Measure a model on a test set.

    Likelihood, reconstruction, denoising: whatever its promises allow, with the protocol of each figure.
    """
    from imprior import face

    with progress("evaluating") as update:
        found = face.evaluate(
            model, source, samples=samples, limit=limit, seed=seed, split=split, sigma=sigma, progress=update
        ).record()
    if record:
        _record(model, found)
    if as_json:
        emit(found)
    else:
        print("\n".join(pairs(found)))


def _record(model: str, figures: dict[str, Any]) -> None:
    """Add figures to the card of a run."""
    from imprior import runs

    if model in runs.embedded():
        raise RunError(f"{model} came with the package; --record is for your own runs")
    run = runs.find(model)
    card = run.read("card.json")
    run.write("card.json", card | {"figures": card.get("figures", {}) | figures})
