"""Models side by side, each figure only beside figures that were measured in the same way.

A column is a quantity and a protocol: figures on other bits, with another number of samples or another corruption
stand in another column, so that a reader can't rank what is not comparable. Where per-image figures of the same images
are at hand, differences are paired: images differ by tens of nats, models on one image by a few, so the error of a
paired difference is many times smaller than that of either mean.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from imprior.errors import DataError
from imprior.tasks.evaluate import Evaluation

# Quantity: unit, whether lower is better, its standard error's key, and what of the protocol it depends on.
_BITS = ("space", "binarization", "dequantisation", "samples", "n", "sha256")
QUANTITIES: dict[str, tuple[str, bool, str | None, tuple[str, ...]]] = {
    "nats": ("nats per image", True, "standard_error", _BITS),
    "bits_per_dim": ("bits per dimension", True, None, _BITS),
    "psnr_db": ("dB", False, "psnr_standard_error", ("n", "images_sha256")),
    "corrupted_db": ("dB", False, "corrupted_standard_error", ("corruption", "seed", "n", "images_sha256")),
    "denoised_db": ("dB", False, "denoised_standard_error", ("corruption", "seed", "n", "images_sha256")),
}


@dataclass(frozen=True)
class Column:
    """A quantity under one protocol.

    Attributes:
        quantity: its key in the records.
        unit: for people.
        lower_is_better: which way to read it.
        protocol: what all its figures have in common.
    """

    quantity: str
    unit: str
    lower_is_better: bool
    protocol: dict[str, Any]

    def title(self) -> str:
        """One line for people: "nats, binary, dynamic binarization, 1000 samples, 10,000 images, bits 1a2b3c4d"."""
        said = [self.quantity]
        p = self.protocol
        if "space" in p:
            said.append(str(p["space"]))
            said += [f"{p[key]} {key}" for key in ("binarization", "dequantisation") if p[key] != "none"]
            said.append("exact" if p["samples"] is None else f"{p['samples']:,} sample{'s' * (p['samples'] != 1)}")
        if "corruption" in p:
            low, high = p["corruption"]["low"], p["corruption"]["high"]
            said.append(f"{p['corruption']['kind']} {low:g}" + (f" to {high:g}" if high != low else ""))
        said.append(f"{p['n']:,} image{'s' * (p['n'] != 1)}")
        return ", ".join(said) + f" ({p['sha256' if 'sha256' in p else 'images_sha256'][:8]})"


@dataclass(frozen=True)
class Cell:
    """A mean, its standard error (None where unknown) and whether the model's true value is at most the mean."""

    mean: float
    standard_error: float | None
    bound: bool

    def text(self, digits: int) -> str:
        """≤ 82.91 ± 0.23."""
        error = "" if self.standard_error is None else f" ± {self.standard_error:.{digits}f}"
        return f"{'≤ ' * self.bound}{self.mean:.{digits}f}{error}"


@dataclass(frozen=True)
class Difference:
    """How far `model` is from the column's best, image by image.

    Attributes:
        column: position of the column in the table.
        model, best: names.
        mean: of model - best over the images.
        standard_error: of that mean, from the paired differences; None for one image.
    """

    column: int
    model: str
    best: str
    mean: float
    standard_error: float | None


@dataclass(frozen=True)
class Table:
    """Models by columns.

    Attributes:
        names: a row for each model, in the order given.
        columns: of the quantities that any of them has.
        cells: by (row, column); missing where the model has no figure of that protocol.
        differences: paired, where per-image figures were there.
    """

    names: tuple[str, ...]
    columns: tuple[Column, ...]
    cells: Mapping[tuple[int, int], Cell]
    differences: tuple[Difference, ...]

    def best(self, column: int) -> str | None:
        """Name of the model with the best figure of a column; None where there are not two to compare."""
        found = [(cell.mean, self.names[row]) for (row, col), cell in self.cells.items() if col == column]
        if len(found) < 2:
            return None
        return (min if self.columns[column].lower_is_better else max)(found, key=lambda pair: pair[0])[1]

    def markdown(self) -> str:
        """The table; below it the protocol of each column, and the paired differences."""
        heads = [f"{c.quantity} [{i + 1}]" for i, c in enumerate(self.columns)]
        lines = ["| model | " + " | ".join(heads) + " |", "| --- |" + " ---: |" * len(heads)]
        for row, name in enumerate(self.names):
            cells = [self.cells.get((row, col)) for col in range(len(self.columns))]
            texts = [
                "–" if cell is None else cell.text(_digits(column.quantity))
                for cell, column in zip(cells, self.columns, strict=True)
            ]
            lines.append(f"| {name} | " + " | ".join(texts) + " |")
        lines += [""] + [f"[{i + 1}] {c.title()}; {_direction(c)} is better" for i, c in enumerate(self.columns)]
        if self.differences:
            lines += ["", "| paired difference | column | mean | standard error |", "| --- | --- | ---: | ---: |"]
        for d in self.differences:
            digits = _digits(self.columns[d.column].quantity) + 1
            error = "–" if d.standard_error is None else f"{d.standard_error:.{digits}f}"
            lines.append(f"| {d.model} - {d.best} | [{d.column + 1}] | {d.mean:+.{digits}f} | {error} |")
        return "\n".join(lines)

    def record(self) -> dict[str, Any]:
        """JSON values."""
        columns = []
        for i, column in enumerate(self.columns):
            rows = {self.names[row]: cell for (row, col), cell in self.cells.items() if col == i}
            columns.append(
                {"quantity": column.quantity, "unit": column.unit, "lower_is_better": column.lower_is_better}
                | {"protocol": column.protocol, "best": self.best(i)}
                | {"rows": {name: vars(cell) for name, cell in rows.items()}}
                | {"paired": [{k: v for k, v in vars(d).items() if k != "column"} for d in self.of(i)]}
            )
        return {"models": list(self.names), "columns": columns}

    def of(self, column: int) -> list[Difference]:
        """The paired differences of a column."""
        return [d for d in self.differences if d.column == column]


def run(evaluations: Mapping[str, Evaluation | Mapping[str, Any]]) -> Table:
    """Put evaluations side by side.

    Args:
        evaluations: by the models' names; an `Evaluation`, or the record of one (which has no figures by image, so it
            takes no part in paired differences).

    Raises:
        DataError: a record without its protocol, which nothing can be compared with.
    """
    records = {name: e.record() if isinstance(e, Evaluation) else e for name, e in evaluations.items()}
    per_image = {name: e.per_image() if isinstance(e, Evaluation) else {} for name, e in evaluations.items()}
    columns: list[Column] = []
    cells: dict[tuple[int, int], Cell] = {}
    entries = [(row, quantity) for quantity in QUANTITIES for row in range(len(records))]
    names = tuple(records)
    # Bounds first: an exact score is also the value of its bound at any number of samples, so it joins their columns.
    exact: list[tuple[int, Column, Cell]] = []
    for row, quantity in entries:
        record = records[names[row]]
        if record.get(quantity) is None:
            continue
        column, cell = _column(names[row], record, quantity), _cell(record, quantity)
        if quantity in ("nats", "bits_per_dim") and not cell.bound:
            exact.append((row, column, cell))
        else:
            cells[row, _place(columns, column)] = cell
    for row, column, cell in exact:
        hosts = [i for i, other in enumerate(columns) if _key(other, but="samples") == _key(column, but="samples")]
        for i in hosts or [_place(columns, column)]:
            cells[row, i] = cell
    table = Table(names, tuple(columns), cells, ())
    return Table(names, tuple(columns), cells, tuple(_differences(table, per_image)))


def _column(name: str, record: Mapping[str, Any], quantity: str) -> Column:
    unit, lower, _, keys = QUANTITIES[quantity]
    protocol = dict(record.get("protocol") or {}) | {"space": record.get("space"), "n": record.get("n")}
    missing = [key for key in keys if key not in protocol or (protocol[key] is None and key != "samples")]
    if missing:
        raise DataError(f"{name}: its {quantity} has no full protocol ({', '.join(missing)} missing); evaluate it anew")
    return Column(quantity, unit, lower, {key: protocol[key] for key in keys})


def _cell(record: Mapping[str, Any], quantity: str) -> Cell:
    error = QUANTITIES[quantity][2]
    bound = quantity in ("nats", "bits_per_dim") and record["kind"] == "bound"
    return Cell(float(record[quantity]), None if error is None else record.get(error), bound)


def _key(column: Column, but: str = "") -> str:
    return json.dumps([column.quantity, {k: v for k, v in column.protocol.items() if k != but}], sort_keys=True)


def _place(columns: list[Column], column: Column) -> int:
    """Position of the column of that quantity and protocol, which is added if there is none."""
    for i, other in enumerate(columns):
        if _key(other) == _key(column):
            return i
    columns.append(column)
    return len(columns) - 1


def _differences(table: Table, per_image: Mapping[str, Mapping[str, Tensor]]) -> list[Difference]:
    """Against the best of each column, where both have figures by image (of the same images: the column says so)."""
    found = []
    for i, column in enumerate(table.columns):
        best = table.best(i)
        for row, name in enumerate(table.names):
            a = per_image[name].get(column.quantity)
            b = per_image[best].get(column.quantity) if best is not None else None
            if best is None or name == best or (row, i) not in table.cells or a is None or b is None:
                continue
            gap = a - b
            error = float(gap.std() / math.sqrt(len(gap))) if len(gap) > 1 else None
            found.append(Difference(i, name, best, float(gap.mean()), error))
    return found


def _digits(quantity: str) -> int:
    return {"bits_per_dim": 4}.get(quantity, 2)


def _direction(column: Column) -> str:
    return "lower" if column.lower_is_better else "higher"
