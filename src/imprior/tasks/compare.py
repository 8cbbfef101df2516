"""Models side by side, each figure only beside figures that were measured in the same way.

A column is a quantity and a protocol: figures on other bits, with another number of samples or another corruption
stand in another column, so that a reader can't rank what is not comparable. Where per-image figures of the same images
are at hand, differences are paired: images differ by tens of nats, models on one image by a few, so the error of a
paired difference is many times smaller than that of either mean.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from imprior.errors import DataError
from imprior.tasks.evaluate import Evaluation


@dataclass(frozen=True)
class Quantity:
    """A figure that records hold.

    Attributes:
        unit: for people; empty where the name says it.
        lower_is_better: which way to read it.
        protocol: what of the protocol it depends on.
        error: key of its standard error.
        digits: after the point.
    """

    unit: str
    lower_is_better: bool
    protocol: tuple[str, ...]
    error: str | None = None
    digits: int = 2


_BITS = ("space", "binarization", "dequantisation", "conditional", "samples", "n", "sha256")
_IMAGES = ("n", "images_sha256")
_CORRUPTED = ("corruption", "seed", *_IMAGES)
QUANTITIES: dict[str, Quantity] = {
    "nats": Quantity("nats per image", True, _BITS, "standard_error"),
    "bits_per_dim": Quantity("bits per dimension", True, _BITS, digits=4),
    "psnr_db": Quantity("dB", False, _IMAGES, "psnr_standard_error"),
    "corrupted_db": Quantity("dB", False, _CORRUPTED, "corrupted_standard_error"),
    "denoised_db": Quantity("dB", False, _CORRUPTED, "denoised_standard_error"),
}


@dataclass(frozen=True)
class Column:
    """A quantity under one protocol.

    Attributes:
        quantity: its key in the records.
        unit: for people.
        lower_is_better: which way to read it.
        protocol: what all its figures have in common.
        digits: after the point.
    """

    quantity: str
    unit: str
    lower_is_better: bool
    protocol: dict[str, Any]
    digits: int = 2

    def title(self) -> str:
        """One line for people: "nats, binary, dynamic binarization, 1000 samples, 10,000 images, bits 1a2b3c4d"."""
        said = [self.quantity]
        p = dict(self.protocol)
        sha = str(p.pop("sha256", p.pop("images_sha256", "")))[:8]
        n = p.pop("n", None)
        if "space" in p:
            said.append(str(p.pop("space")))
            said += ["class-conditional"] if p.pop("conditional") else []
            said += [f"{kind} {key}" for key in ("binarization", "dequantisation") if (kind := p.pop(key)) != "none"]
            samples = p.pop("samples")
            said.append("exact" if samples is None else f"{samples:,} sample{'s' * (samples != 1)}")
        if "corruption" in p:
            corruption, _ = p.pop("corruption"), p.pop("seed")
            low, high = corruption["low"], corruption["high"]
            said.append(f"{corruption['kind']} {low:g}" + (f" to {high:g}" if high != low else ""))
        said += [f"{key.replace('_', ' ')} {value}" for key, value in p.items() if value not in (None, "none")]
        said += [] if n is None else [f"{n:,} image{'s' * (n != 1)}"]
        return ", ".join(said) + f" ({sha})" * bool(sha)


@dataclass(frozen=True)
class Cell:
    """A mean, its standard error (None where unknown) and whether the model's true value is at most the mean."""

    mean: float
    standard_error: float | None
    bound: bool

    def text(self, digits: int) -> str:
        """≤ 82.91 ± 0.23."""
        error = "" if self.standard_error is None else f" ± {self.standard_error:,.{digits}f}"
        return f"{'≤ ' * self.bound}{self.mean:,.{digits}f}{error}"


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

    def heads(self) -> list[str]:
        """Titles of the table: "model", then each quantity with the number of its column."""
        return ["model", *(f"{c.quantity} [{i}]" for i, c in enumerate(self.columns, 1))]

    def texts(self, missing: str = "–") -> list[list[str]]:
        """The rows as text, names first.

        Args:
            missing: stands in the row of a model without any figure; where it has others, a dash.
        """
        found = []
        for row, name in enumerate(self.names):
            none = missing if all(r != row for r, _ in self.cells) else "–"
            cells = [(column, self.cells.get((row, col))) for col, column in enumerate(self.columns)]
            texts = [none if cell is None else cell.text(c.digits) for c, cell in cells]
            found.append([name, *texts])
        return found

    def protocols(self) -> list[str]:
        """What the columns mean, a line each."""
        directions = ["lower" if c.lower_is_better else "higher" for c in self.columns]
        return [
            f"[{i}] {c.title()}; {way} is better"
            for i, (c, way) in enumerate(zip(self.columns, directions, strict=True), 1)
        ]

    def markdown(self, missing: str = "–") -> str:
        """The table; below it the protocol of each column, and the paired differences. `missing`: as `texts`."""
        heads, *rows = ("| " + " | ".join(texts) + " |" for texts in (self.heads(), *self.texts(missing)))
        lines = [heads, "| --- |" + " ---: |" * len(self.columns), *rows, "", *self.protocols()]
        if self.differences:
            lines += ["", "| paired difference | column | mean | standard error |", "| --- | --- | ---: | ---: |"]
        for d in self.differences:
            digits = self.columns[d.column].digits + 1
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
    table = tabulate(tuple(records), records.items())
    return replace(table, differences=tuple(_differences(table, per_image)))


def tabulate(
    names: Sequence[str],
    records: Iterable[tuple[str, Mapping[str, Any]]],
    quantities: Mapping[str, Quantity] = QUANTITIES,
) -> Table:
    """Figures in a row for each name and a column for each quantity and protocol.

    Args:
        names: of the rows.
        records: (name, figures with their `protocol`), any number of each name.
        quantities: what to take from them.

    Raises:
        DataError: as `run`.
    """
    columns: list[Column] = []
    cells: dict[tuple[int, int], Cell] = {}
    found = [(names.index(name), name, record) for name, record in records]
    # Bounds first: an exact score is also the value of its bound at any number of samples, so it joins their columns.
    exact: list[tuple[int, Column, Cell]] = []
    for key, quantity in quantities.items():
        for row, name, record in found:
            if record.get(key) is None:
                continue
            column, cell = _column(name, record, key, quantity), _cell(record, key, quantity)
            if "samples" in column.protocol and not cell.bound:
                exact.append((row, column, cell))
            else:
                cells[row, _place(columns, column)] = cell
    for row, column, cell in exact:
        hosts = [i for i, other in enumerate(columns) if _key(other, but="samples") == _key(column, but="samples")]
        for i in hosts or [_place(columns, column)]:
            cells[row, i] = cell
    return Table(tuple(names), tuple(columns), cells, ())


def _column(name: str, record: Mapping[str, Any], key: str, quantity: Quantity) -> Column:
    known = {"conditional": False, "space": record.get("space")} | dict(record.get("protocol") or {})
    protocol = known | {"n": record.get("n")}
    missing = [k for k in quantity.protocol if k not in protocol or (protocol[k] is None and k != "samples")]
    if missing:
        raise DataError(f"{name}: its {key} has no full protocol ({', '.join(missing)} missing); evaluate it anew")
    kept = {k: protocol[k] for k in quantity.protocol}
    return Column(key, quantity.unit, quantity.lower_is_better, kept, quantity.digits)


def _cell(record: Mapping[str, Any], key: str, quantity: Quantity) -> Cell:
    bound = "samples" in quantity.protocol and record["kind"] == "bound"
    return Cell(float(record[key]), None if quantity.error is None else record.get(quantity.error), bound)


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
