"""What the scripts here share: a table for people, the same as JSON for the docs."""

import json
import math
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch

from imprior import runs

RESULTS = Path(__file__).parent / "results"
T = TypeVar("T")


def finish(name: str, protocol: dict[str, Any], rows: Sequence[dict[str, Any]], **more: Any) -> None:
    """Print the rows and write them, with how they were measured and what else there is, to results/NAME.json."""
    print(table(rows))
    protocol = protocol | {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "machine": platform.machine(),
    }
    path = RESULTS / f"{name}.json"
    runs.write_text(
        path, json.dumps({"protocol": protocol, "rows": list(rows)} | more, indent=1, allow_nan=False) + "\n"
    )
    print(f"\nwritten to {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}")


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Aligned columns, numbers to the right."""
    names = list(dict.fromkeys(key for row in rows for key in row))
    cells = [names, *([_text(row.get(name)) for name in names] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(names))]
    right = [all(isinstance(row.get(name), int | float | None) for row in rows) for name in names]
    return "\n".join(
        "  ".join(c.rjust(w) if r else c.ljust(w) for c, w, r in zip(line, widths, right, strict=True)).rstrip()
        for line in cells
    )


def progress_to_stderr(name: str) -> Callable[[int, int], None]:
    """Something to hand in as `progress`: a line on stderr that tells how far `name` is."""

    def tell(done: int, total: int) -> None:
        print(f"\r{name}: {done:,} of {total:,}", end="\n" if done == total else "", file=sys.stderr, flush=True)

    return tell


class Kept(Generic[T]):
    """Measurements (values of JSON) by their names, in a file of lines if there is one.

    What was measured with other versions of packages than `by` is measured again.
    """

    def __init__(self, path: Path | None, by: Mapping[str, str | None] | None = None) -> None:
        self.path = path
        self.by = [f"{package} {version}" for package, version in (by or {}).items()]
        lines = path.read_text().splitlines() if path is not None and path.exists() else []
        self.known: dict[str, T] = dict(json.loads(line) for line in lines)

    def of(self, measure: Callable[[], T], *names: object) -> T:
        """What was measured under these names, or is now."""
        key = " | ".join([*self.by, *map(str, names)])
        if key not in self.known:
            self.known[key] = measure()
            if self.path is not None:
                with self.path.open("a") as file:
                    file.write(json.dumps([key, self.known[key]]) + "\n")
        return self.known[key]


def versions(*packages: str) -> dict[str, str | None]:
    """Versions of what was measured, None of what is not installed."""
    found: dict[str, str | None] = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def standard_error(values: torch.Tensor) -> float | None:
    """Of the mean of per-image figures; None of a single one."""
    return float(values.std() / math.sqrt(len(values))) if len(values) > 1 else None


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.3f}" if abs(value) >= 0.1 or value == 0 else f"{value:.3g}"
    if isinstance(value, dict):
        return " ".join(f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}" for k, v in value.items())
    return str(value)
