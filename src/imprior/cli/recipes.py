"""`imprior recipes`: what can be trained."""

from __future__ import annotations

from imprior.cli._options import as_json, verb
from imprior.cli._output import emit


@verb("recipes", "Look around", "imprior recipes", "imprior train mnist-vae --dry-run")
@as_json()
def command(as_json: bool) -> None:
    """List what can be trained.

    `imprior train RECIPE --dry-run` shows every setting of one.
    """
    from imprior import face

    found = face.list_recipes()
    if as_json:
        emit({"recipes": [{"name": name, "about": about} for name, about in found.items()]})
        return
    width = max((len(name) for name in found), default=0)
    for name, about in found.items():
        print(f"{name:<{width}}  {about}")
