"""`imprior data SRC`: what is in a data set."""

from __future__ import annotations

import click

from imprior.cli._options import as_json, verb
from imprior.cli._output import emit, pairs


@verb("data", "Look around", "imprior data digits", "imprior data photos/", "imprior data digits.zip --json")
@click.argument("source", metavar="SRC")
@as_json()
def command(source: str, as_json: bool) -> None:
    """Look through a data set.

    Counts, sizes, channels, broken files, duplicates, balance of classes.
    """
    from imprior import face

    found = face.inspect_data(source)
    if as_json:
        emit(found)
    else:
        print("\n".join(pairs(found)))
