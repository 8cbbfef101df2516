"""What all plots share: matplotlib when it is needed and not before, one style, and the same bytes each time."""

from __future__ import annotations

import importlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from imprior.errors import MissingExtraError

Kind = Literal["png", "svg"]

# Ten colours that stay apart for most colour-blind people too (P. Tol's "bright" and "vibrant" schemes, mixed), so
# that ten digits can share a map; further series go round again with another line style.
COLOURS = ("#4477AA", "#EE6677", "#228833", "#CCBB44", "#66CCEE", "#AA3377", "#EE7733", "#777777", "#000000", "#99DDAA")
STYLES = ("-", "--", ":", "-.")
MARKERS = "osD^vP*X<>"
STYLE = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "axes.axisbelow": True,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "legend.fontsize": 9,
    "font.size": 10,
    "svg.hashsalt": "imprior",
}


@contextmanager
def canvas(
    kind: Kind, *, width: float, height: float, panels: int = 1, title: str = ""
) -> Iterator[tuple[Any, list[Any], io.BytesIO]]:
    """A figure to draw on, as matplotlib's `figure, axes`, and the file that holds it when the block ends.

    Args:
        kind: of the file.
        width, height: of a panel, in inches.
        panels: how many; two stand side by side.
        title: above all of them.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        matplotlib = importlib.import_module("matplotlib")
        importlib.import_module("matplotlib.figure")
    except ImportError:
        raise MissingExtraError("plots need matplotlib: pip install 'imprior[report]'") from None
    file = io.BytesIO()
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # a person's own style must not reach the pictures of the docs
        matplotlib.rcParams.update(STYLE)
        # Figure itself, not pyplot: no global list of figures, no window system, safe in threads.
        across, down = min(2, panels), (panels + 1) // 2
        figure = matplotlib.figure.Figure(figsize=(width * across, height * down), layout="constrained", dpi=120)
        axes = list(figure.subplots(down, across, squeeze=False).flat)
        for unused in axes[panels:]:
            unused.remove()
        if title:
            figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
        yield figure, axes[:panels], file
        metadata = {"Date": None} if kind == "svg" else {"Software": None}  # the same plot is the same bytes
        figure.savefig(file, format=kind, metadata=metadata)


def look(number: int) -> dict[str, Any]:
    """How the line of this number is drawn."""
    style = STYLES[number // len(COLOURS) % len(STYLES)]
    return {"color": COLOURS[number % len(COLOURS)], "linestyle": style, "linewidth": 1.5}
