"""`imprior info MODEL`: all that is known of one model."""

from __future__ import annotations

from imprior.cli._options import as_json, model, verb
from imprior.cli._output import emit, pairs, typed


@verb("info", "Look around", "imprior info mnist-vae", "imprior info runs/vae --json")
@model()
@as_json()
def command(model: str, as_json: bool) -> None:
    """Show all that is known of a model.

    Promises, parameters, data, figures, and every setting of its recipe.
    """
    from imprior import face

    found = face.info(model)
    if as_json:
        emit(found)
    else:
        settings = found.pop("settings")
        print("\n".join([*pairs(found), "", *typed(settings)]))
