"""`imprior probe MODEL`: how much a linear classifier can read from the codes."""

from __future__ import annotations

import click

from imprior.cli._options import Listed, as_json, data, model, verb
from imprior.cli._output import emit, table


@verb(
    "probe",
    "Train and judge",
    "imprior probe mnist-vae --data DIR",
    "imprior probe runs/vae --data DIR --per-class 10,100 --json",
)
@model()
@data(required=True)
@click.option(
    "--per-class", type=Listed("number", int), default="10,100,1000", show_default=True, help="Labels a class."
)
@as_json()
def command(model: str, source: str, per_class: tuple[int, ...], as_json: bool) -> None:
    """Classify by the codes.

    A linear classifier on the codes, on raw pixels and on as many principal components, for several numbers of labels.
    """
    from imprior import face

    found = face.probe(model, source, per_class=per_class).record()
    if as_json:
        emit(found)
    else:
        print("\n".join(table(found["rows"])))
