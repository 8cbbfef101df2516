"""Plots by matplotlib, as PNG or SVG bytes: training curves, latent maps, rate against distortion, studies.

matplotlib comes with the extra `report` and is imported when the first plot is drawn. No window, no global state: each
function makes its own figure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from torch import Tensor

from imprior.report.canvas import COLOURS, MARKERS, STYLES, Kind, canvas, look

# Of a line of a training's log: what is no part of the loss.
BOOKKEEPING = (
    "images",
    "step",
    "passes",
    "seconds",
    "loss",
    "validation",
    "rate",
    "gradient_norm",
    "images_per_second",
)


@dataclass(frozen=True)
class Series:
    """A line of a plot.

    Attributes:
        name: as the legend says it.
        x, y: its points, in order.
        error: half-length of an error bar for each point, or none.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    error: Sequence[float] = ()


@dataclass(frozen=True)
class RatePoints:
    """What a codec reaches at each of its settings.

    Attributes:
        name: as the legend says it.
        bits_per_pixel: size of the whole file by the number of pixels.
        psnr_db: of what comes back; infinite where it gives back the same pixels: such points are marks at the top.
        quoted: whether others measured it: a thin grey line without marks.
    """

    name: str
    bits_per_pixel: Sequence[float]
    psnr_db: Sequence[float]
    quoted: bool = False


def curves(log: Sequence[Mapping[str, Any]], *, title: str = "", kind: Kind = "png") -> bytes:
    """The curves of a training: loss and validation loss, the parts of the loss, learning rate and gradient norm.

    Args:
        log: lines of a run's log.jsonl; each has "images", what else it has is drawn.
        title: above all panels.
        kind: of the file.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    parts = [k for k in dict.fromkeys(k for line in log for k in line) if k not in BOOKKEEPING and _numeric(log, k)]
    steps = [k for k in parts if k.startswith("kl_step_")]  # of latents that are drawn in steps: as many as a model has
    panels = [("loss", ["loss", "validation"], False)]
    panels += [("parts of the loss", [k for k in parts if k not in steps], False), ("KL of each step", steps, False)]
    panels += [("learning rate", ["rate"], False), ("gradient norm", ["gradient_norm"], True)]
    panels = [(name, [k for k in keys if _numeric(log, k)], logarithmic) for name, keys, logarithmic in panels]
    panels = [panel for panel in panels if panel[1]]
    with canvas(kind, panels=max(1, len(panels)), width=4.6, height=2.9, title=title) as (figure, axes, file):
        for ax, (name, keys, logarithmic) in zip(axes, panels, strict=False):
            for number, key in enumerate(keys):
                at = [(line["images"], line[key]) for line in log if key in line and math.isfinite(line[key])]
                mark = "o" if len(at) == 1 else ""
                faint = 0.55 if key == "loss" and "validation" in keys else 1.0  # the one with the noise of a batch
                line = look(number) | {"alpha": faint}
                ax.plot(*zip(*at, strict=True), label=key.replace("_", " "), marker=mark, markersize=4, **line)
            ax.set(title=name, xlabel="images seen")
            ax.xaxis.set_major_formatter(_short)
            if logarithmic:
                ax.set_yscale("log")
            elif name == "loss":
                _hide_start(ax, [line[k] for k in keys for line in log if k in line])
            if len(keys) > 1:
                ax.legend()
        figure.align_labels()
    return file.getvalue()


def latent_map(
    points: Tensor, labels: Tensor | None = None, *, classes: Sequence[str] = (), title: str = "", kind: Kind = "png"
) -> bytes:
    """Codes as points of a plane, a colour for each class, and short names at the middle of their points.

    Args:
        points: [N, 2].
        labels: int64 [N], or None.
        classes: names by label; numbers where there are none.
        title: above the plot.
        kind: of the file.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    at = points.detach().cpu().double().numpy()
    size = float(np.clip(15000 / max(1, len(at)), 4, 25))
    with canvas(kind, width=6.4, height=5.4, title=title) as (_, (ax,), file):
        of_each: list[int] = [] if labels is None else labels.tolist()
        known = sorted(set(of_each))
        if labels is None:
            ax.scatter(at[:, 0], at[:, 1], s=size, color=COLOURS[0], alpha=0.6, linewidths=0)
        else:
            # One call, in a mixed order: the class that is drawn last must not seem to cover the others.
            order = np.random.default_rng(0).permutation(len(at))
            colours = np.array([COLOURS[known.index(k) % len(COLOURS)] for k in of_each])
            ax.scatter(at[order, 0], at[order, 1], s=size, color=colours[order], alpha=0.6, linewidths=0)
        for number, label in enumerate(known):
            name = classes[label] if label < len(classes) else str(label)
            ax.scatter([], [], s=30, color=COLOURS[number % len(COLOURS)], label=name)
            if len(name) <= 2:  # digits and letters; longer names would cover each other, the legend has them
                middle = np.median(at[np.array([k == label for k in of_each])], axis=0)
                box = {"boxstyle": "round,pad=0.2", "facecolor": "white", "edgecolor": "none", "alpha": 0.75}
                ax.annotate(name, middle, ha="center", va="center", fontweight="bold", bbox=box)
        if known:
            ax.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), handletextpad=0.2)
        ax.set(xlabel="first axis", ylabel="second axis")
        ax.set_aspect("equal", adjustable="datalim")
    return file.getvalue()


def rate_distortion(codecs: Sequence[RatePoints], *, title: str = "", kind: Kind = "png") -> bytes:
    """PSNR against bits per pixel; lossless points are marks on a line of their own above the others.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    finite = [v for codec in codecs for v in codec.psnr_db if math.isfinite(v)]
    bottom, top = min(finite, default=20.0), max(finite, default=50.0)
    shelf = top + 0.12 * max(top - bottom, 5.0)
    with canvas(kind, width=7.6, height=4.6, title=title) as (_, (ax,), file):
        for number, codec in enumerate(codecs):
            points = sorted(zip(codec.bits_per_pixel, codec.psnr_db, strict=True))
            lossy = [p for p in points if math.isfinite(p[1])]
            exact = [bits for bits, psnr in points if math.isinf(psnr)]
            drawn: dict[str, Any] = {"color": COLOURS[number % len(COLOURS)], "marker": MARKERS[number % len(MARKERS)]}
            if codec.quoted:
                style = STYLES[number % len(STYLES)]
                ax.plot(*zip(*lossy, strict=True), color="#777777", linewidth=1.0, linestyle=style, label=codec.name)
                continue
            if lossy:
                ax.plot(*zip(*lossy, strict=True), markersize=5, linewidth=1.6, label=codec.name, **drawn)
            if exact:
                name = codec.name + (" lossless" if lossy else " (lossless)")
                ax.plot(exact, [shelf] * len(exact), linestyle="", markersize=9, zorder=3, label=name, **drawn)
                ax.vlines(exact, bottom, shelf, color=drawn["color"], linewidth=0.7, alpha=0.5)
        if len(finite) < sum(len(codec.psnr_db) for codec in codecs):
            ax.axhline(shelf, color="#999999", linewidth=0.8, linestyle=":", zorder=0)
            at: dict[str, Any] = {"xy": (0.01, shelf), "xycoords": ("axes fraction", "data")}
            ax.annotate("lossless", **at, xytext=(0, 3), textcoords="offset points", color="#666666")
        ax.set(xlabel="bits per pixel", ylabel="PSNR [dB]")
        ax.set_xlim(left=0)
        ax.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    return file.getvalue()


def lines(
    series: Sequence[Series],
    *,
    x: str,
    y: str,
    title: str = "",
    logarithmic: Literal["", "x", "y", "xy"] = "",
    kind: Kind = "png",
) -> bytes:
    """Lines with points (and error bars): how something depends on something.

    Args:
        series: the lines.
        x, y: what the axes show, with unit.
        title: above the plot.
        logarithmic: which axes are.
        kind: of the file.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    with canvas(kind, width=6.4, height=4.2, title=title) as (_, (ax,), file):
        for number, one in enumerate(series):
            bars = one.error or None
            mark = MARKERS[number % len(MARKERS)]
            ax.errorbar(one.x, one.y, yerr=bars, label=one.name, marker=mark, markersize=5, capsize=3, **look(number))
        ax.set(xlabel=x, ylabel=y)
        if "x" in logarithmic:
            ax.set_xscale("log", base=2 if _doubling(series) else 10)
            ticks = sorted({v for one in series for v in one.x})
            if len(ticks) <= 12:
                ax.set_xticks(ticks, [f"{v:g}" for v in ticks])
                ax.minorticks_off()
        if "y" in logarithmic:
            ax.set_yscale("log")
        if len(series) > 1:
            ax.legend(**({"loc": "center left", "bbox_to_anchor": (1.01, 0.5)} if len(series) > 5 else {}))
    return file.getvalue()


def bars(
    groups: Sequence[str],
    values: Mapping[str, Sequence[float]],
    *,
    y: str,
    title: str = "",
    errors: Mapping[str, Sequence[float]] | None = None,
    kind: Kind = "png",
) -> bytes:
    """Bars side by side: for each group one of each series, with its value above it.

    Args:
        groups: names along the axis.
        values: for each series a number for each group (NaN leaves the place empty).
        y: what the bars show, with unit.
        title: above the plot.
        errors: half-lengths of error bars, as `values`.
        kind: of the file.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    assert all(len(v) == len(groups) for v in values.values()), "a value for each group"
    width = 0.8 / max(1, len(values))
    inches = min(14.0, max(5.0, 1.2 + 0.5 * len(groups) * len(values)))
    with canvas(kind, width=inches, height=4.0, title=title) as (_, (ax,), file):
        for number, (name, numbers) in enumerate(values.items()):
            at = np.arange(len(groups)) + (number - (len(values) - 1) / 2) * width
            spread = None if errors is None or name not in errors else errors[name]
            drawn = ax.bar(at, numbers, width * 0.92, yerr=spread, capsize=3, label=name, color=COLOURS[number % 10])
            texts = ["" if math.isnan(v) else f"{v:.3g}" for v in numbers]
            ax.bar_label(drawn, texts, padding=2, fontsize=8)
        ax.set_xticks(range(len(groups)), groups)
        ax.set_ylabel(y)
        ax.grid(axis="x", visible=False)
        ax.margins(y=0.12)
        if len(values) > 1:
            ax.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=min(5, len(values)))
    return file.getvalue()


def _numeric(log: Sequence[Mapping[str, Any]], key: str) -> bool:
    values = [line[key] for line in log if key in line]
    return any(isinstance(v, int | float) and math.isfinite(v) for v in values)


def _short(value: float, _: object = None) -> str:
    """1,500,000 as "1.5M": images seen are counted in thousands and millions."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def _hide_start(ax: Any, values: Sequence[float]) -> None:
    """Cut off the steep start of a loss, which would press all the rest flat."""
    finite = np.array([v for v in values if math.isfinite(v)])
    if len(finite) < 20:
        return
    low, most, high = finite.min(), np.quantile(finite, 0.9), finite.max()
    if high - low > 2 * (most - low) > 0:
        ax.set_ylim(low - 0.08 * (most - low), most + 0.3 * (most - low))


def _doubling(series: Sequence[Series]) -> bool:
    return all(math.log2(v).is_integer() for one in series for v in one.x if v > 0)
