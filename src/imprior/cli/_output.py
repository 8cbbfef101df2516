"""What commands share on their way out: figures to stdout, everything else to stderr, files whole or not at all."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from imprior.errors import ImpriorError

if TYPE_CHECKING:
    from torch import Tensor

    from imprior.report.canvas import Kind

# Without a terminal a progress line comes at most this often: logs stay readable, and a person still sees life.
SECONDS_BETWEEN_LINES = 15.0
LONGEST = 20  # entries of a list that text shows


def note(text: str) -> None:
    """A line for people, on stderr."""
    print(text, file=sys.stderr, flush=True)


def emit(values: Mapping[str, Any]) -> None:
    """One JSON object on stdout; numbers that JSON does not know (infinite, undefined) become null."""
    print(json.dumps(_plain(values), indent=1, allow_nan=False, ensure_ascii=False))


def pairs(values: Mapping[str, Any], indent: str = "") -> list[str]:
    """A mapping as aligned lines "name  value", nested ones indented below their name."""
    width = max((len(key) for key in values), default=0)
    lines: list[str] = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            lines += [f"{indent}{key}", *pairs(value, indent + "  ")]
        elif isinstance(value, list) and any(isinstance(entry, Mapping | list) for entry in value):
            entries = [list(entry.values()) if isinstance(entry, Mapping) else entry for entry in value]
            lines += [f"{indent}{key}", *(f"{indent}  {_text(entry)}" for entry in entries)]
        else:
            lines.append(f"{indent}{key:<{width}}  {_text(value)}".rstrip())
    return lines


def typed(settings: Mapping[str, Any]) -> list[str]:
    """Settings as `imprior train` takes them: "key=value"."""
    return [f"{key}={_typed(value)}" for key, value in settings.items()]


def table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Rows with the same keys as aligned text, numbers to the right."""
    if not rows:
        return []
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [[_text(row.get(name)) for name in names] for row in rows]
    widths = [max(len(name), *(len(line[i]) for line in cells)) for i, name in enumerate(names)]
    right = [all(isinstance(row.get(name), int | float | None) for row in rows) for name in names]
    lines = [names, *cells]
    return [
        "  ".join(c.rjust(w) if r else c.ljust(w) for c, w, r in zip(line, widths, right, strict=True)).rstrip()
        for line in lines
    ]


def picture_name(out: Path) -> Path:
    """`out`, once its suffix is known to name a picture format.

    Raises:
        ImpriorError: it doesn't; said before the work, not after it.
    """
    from PIL import Image

    Image.init()
    if Image.registered_extensions().get(out.suffix.lower()) not in Image.SAVE:
        raise ImpriorError(f"{out}: '{out.suffix}' is no picture format that can be written; try .png")
    return out


def plot_kind(out: Path) -> Kind:
    """ "png" or "svg", by the suffix of `out`.

    Raises:
        ImpriorError: another suffix; said before the work, not after it.
    """
    kinds: dict[str, Kind] = {".png": "png", ".svg": "svg"}
    if out.suffix.lower() not in kinds:
        raise ImpriorError(f"{out}: plots are written as .png or .svg, not '{out.suffix}'")
    return kinds[out.suffix.lower()]


def save_rows(
    out: Path,
    rows: Sequence[Tensor],
    captions: Sequence[str] = (),
    *,
    columns: Sequence[str] = (),
    wrap: bool = False,
) -> None:
    """Write batches [n, C, H, W] as rows of one picture, with headings above them; with `wrap`, one batch a block."""
    from imprior.report import grid
    from imprior.runs import write_bytes

    drawn = grid.wrapped(rows[0]) if wrap else grid.rows(rows, captions=captions, columns=columns)
    write_bytes(out, grid.encoded(drawn, out))


class Update(Protocol):
    """How work tells how far it is."""

    def __call__(self, done: int, total: int, /, text: str = "") -> None:
        """`done` of `total` units, with a few words on how it goes; without them the last ones stay."""
        ...


@contextmanager
def progress(label: str) -> Iterator[Update]:
    """A bar on stderr if that is a terminal, else a line now and then."""
    if sys.stderr.isatty():
        with _bar(label) as update:
            yield update
    else:
        yield _Lines(label)


class _Lines:
    def __init__(self, label: str):
        self.label, self.last, self.text = label, time.monotonic(), ""

    def __call__(self, done: int, total: int, /, text: str = "") -> None:
        now, self.text = time.monotonic(), text or self.text
        if now - self.last >= SECONDS_BETWEEN_LINES:
            self.last = now
            note(f"{self.label}: {done:,} of {total:,}{'  ' + self.text if self.text else ''}")


@contextmanager
def _bar(label: str) -> Iterator[Update]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    words = (TextColumn("{task.description}"), TextColumn("{task.fields[text]}"))
    columns = (words[0], BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), words[1])
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(label, total=None, text="")

        def update(done: int, total: int, /, text: str = "") -> None:
            bar.update(task, completed=done, total=total)
            if text:
                bar.update(task, text=text)

        yield update


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Path):
        return str(value)
    return value


def _typed(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ",".join(_typed(v) for v in value)
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return str(value).removesuffix(".0")


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list | tuple):
        return ", ".join(_text(v) for v in value) if len(value) <= LONGEST else f"{len(value):,} numbers (see --json)"
    return str(value)
