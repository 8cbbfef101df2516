"""`imprior models`: what comes with the package."""

from __future__ import annotations

from imprior.cli._options import as_json, verb
from imprior.cli._output import emit, table

# Figures that say something without their protocol.
SHOWN = ("nats", "bits_per_dim", "psnr_db", "denoised_db", "accuracy")


@verb("models", "Look around", "imprior models", "imprior models --json")
@as_json()
def command(as_json: bool) -> None:
    """List the trained models that come with imprior.

    What they are, what they can do, and the figures in their cards.
    """
    from imprior import face

    found = face.list_models()
    if as_json:
        emit({"models": found})
        return
    rows = [
        {
            "model": card["name"],
            "family": card["family"],
            "images": card["data"]["images"],
            "promises": ", ".join(card["promises"]),
            "figures": ", ".join(f"{name} {card['figures'][name]:.4g}" for name in SHOWN if name in card["figures"]),
        }
        for card in found
    ]
    print("\n".join(table(rows)))
