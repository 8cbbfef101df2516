"""Figures for the docs, from what was measured: results of benchmarks/ and cards of embedded models.

No figure of ours is typed into a page. A page names a results file, and the table is made from it when the docs are
built; where the file is missing the page says so. The two README files hold their tables between marks:

    python docs/_ext/tables.py          writes them anew (a test tells when that was forgotten)
"""

from __future__ import annotations

import fnmatch
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"
EMBEDDED = ROOT / "src" / "imprior" / "embedded"
MISSING = {"en": "*Not measured yet.*", "zh": "*尚未测量。*"}
BEGIN, END = "<!-- figures: made by docs/_ext/tables.py -->", "<!-- end of figures -->"
FOLLOWS = ("bits_per_dim", "corrupted_db")
COMPARED = ("nats", "standard_error", "bits_per_dim", "psnr_db", "psnr_standard_error", "denoised_db", "kind")
SHORT = 12  # characters of a hash that a table shows
PICKED = ("title", "about", "note", "command")  # of a results file: shown as text around its tables
# Too much for a page, or typed by hand (published figures stand on the page, with links): left in the file.
LEFT_OUT = ("points", "gradient_norms", "published", "kl_units", "accuracies", "strengths", "versions", "machine")


def load(name: str) -> dict[str, Any] | None:
    """A results file, or None where nothing was measured yet."""
    path = RESULTS / f"{name}.json"
    if not path.is_file():
        return None
    found = json.loads(path.read_text(encoding="utf-8"))
    return found if isinstance(found, dict) else {"rows": found}


def names() -> list[str]:
    """All results files."""
    return sorted(path.stem for path in RESULTS.glob("*.json"))


def result(name: str, part: str = "", *, language: str = "en") -> str:
    """A results file (or all whose names match a pattern), or the part of it under a key, as Markdown."""
    matching = fnmatch.filter(names(), name)
    if "*" in name:
        parts = [f"**{one}**\n\n{markdown(load(one) or {})}" for one in matching]
        return "\n\n".join(parts) or MISSING[language]
    found: Any = load(name)
    if found is not None and part:
        found = found.get(part)
    return MISSING[language] if not found else markdown(found)


def markdown(values: Mapping[str, Any]) -> str:
    """Whatever a results file holds: text, tables, what is left as a list, and the protocol below.

    Tables are made of lists of objects (a row each, a column for each key), of objects of objects (a row each, named by
    the key), and of objects that give their "columns" and "rows" themselves. "markdown" holds a finished table.
    """
    lines = [str(values[key]) for key in ("about",) if values.get(key)]
    lines += [f"Made by `{values['command']}`."] if values.get("command") else []
    lines += [str(values["markdown"])] if values.get("markdown") else []
    left: dict[str, Any] = {}
    compared = values.get("comparison")
    if compared:  # what it shows, a column for each protocol, must not stand in one column below it
        lines += [_side_by_side(compared), _paired(compared)]
    for key, value in values.items():
        if key in (*PICKED, *LEFT_OUT, "markdown", "protocol", "comparison"):
            continue
        if compared and key == "rows" and _is_rows(value):
            spaces = [column for column in compared.get("columns", []) if column["quantity"] == "nats"]
            gone = (*COMPARED, *(("reconstruction", "kl") if len(spaces) > 1 else ()))
            value = [{k: v for k, v in row.items() if k not in gone} for row in value]
        if _is_explicit(value):
            lines.append(table([dict(zip(value["columns"], row, strict=True)) for row in value["rows"]]))
        elif _is_rows(value):
            lines.append(table(value))
        elif isinstance(value, Mapping) and value and all(isinstance(v, Mapping) for v in value.values()):
            lines.append(table([{"": name, **row} for name, row in value.items()]))
        elif isinstance(value, list) and value and all(isinstance(v, Mapping) for v in value):
            lines += [markdown(v) for v in value]
        else:
            left[key] = value
    if _is_explicit(values):
        lines, left = [*lines, table([dict(zip(values["columns"], r, strict=True)) for r in values["rows"]])], {}
    if left:
        lines.append("\n".join(f"* {word(key)}: {cell(value)}" for key, value in flat(left).items()))
    lines += [str(values["note"])] if values.get("note") else []
    if isinstance(values.get("protocol"), Mapping):
        said = "; ".join(f"{word(key)} {cell(value)}" for key, value in flat(values["protocol"]).items())
        lines.append(f"Protocol: {said}.")
    elif values.get("protocol"):
        lines.append(f"Protocol: {values['protocol']}")
    return "\n\n".join(line for line in lines if line) or "*Empty.*"


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as a Markdown table; columns of numbers are aligned right."""
    rows = [flat(row) for row in rows]
    heads = list(dict.fromkeys(key for row in rows for key in row))
    right = [all(isinstance(row.get(key), int | float | None) for row in rows) for key in heads]
    lines = ["| " + " | ".join(word(key) for key in heads) + " |"]
    lines.append("|" + "|".join(" ---: " if r else " --- " for r in right) + "|")
    lines += ["| " + " | ".join(cell(row.get(key)) for key in heads) + " |" for row in rows]
    return "\n".join(lines)


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested objects as one, keys joined by a space; long lists of numbers as their length."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if key in LEFT_OUT:
            continue
        if key == "settings" and isinstance(value, Mapping):
            found[prefix + key] = ", ".join(f"{word(k)} {cell(v)}" for k, v in value.items())
        elif isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key} ")
        elif isinstance(value, list):
            found[prefix + key] = ", ".join(cell(v) for v in value) if len(value) <= 6 else f"{len(value)} values"
        else:
            found[prefix + key] = value
    return found


def word(key: str) -> str:
    """A key as people read it."""
    return key.replace("_", " ").replace("|", r"\|")


def cell(value: Any) -> str:
    """A value as a table shows it: four digits, hashes cut short, an empty cell for what is not there."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        if not math.isfinite(value):
            return "∞" if value > 0 else "–"
        return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.2f}" if abs(value) >= 10 else f"{value:.4g}"
    text = str(value).replace("|", r"\|").replace("\n", " ")
    return f"`{text[:SHORT]}…`" if re.fullmatch(r"[0-9a-f]{32,}", text) else text


def cards() -> dict[str, dict[str, Any]]:
    """The card of each embedded model, by name."""
    return {p.parent.name: json.loads(p.read_text(encoding="utf-8")) for p in sorted(EMBEDDED.glob("*/card.json"))}


def comparison(found: Mapping[str, Mapping[str, Any]], *, language: str = "en", brief: bool = False) -> str:
    """The figures in cards, a table for each set of test images; figures of two protocols never share a column.

    A brief one leaves out what follows from other columns: bits per dimension, and the PSNR before denoising.
    """
    # Figures of what `evaluate` measures name the test images; a classifier's accuracy has no column here.
    judged = {
        name: dict(card["figures"])
        for name, card in found.items()
        if "images_sha256" in card.get("figures", {}).get("protocol", {})
    }
    if brief:
        judged = {name: {k: v for k, v in f.items() if k not in FOLLOWS} for name, f in judged.items()}
    if not judged:
        return MISSING[language]
    from imprior.tasks import compare

    sets: dict[str, dict[str, Mapping[str, Any]]] = {}
    for name, figures in judged.items():
        sets.setdefault(str(figures["protocol"]["images_sha256"]), {})[name] = figures
    tables = [compare.run(group).markdown() for group in sets.values()]
    return "\n\n".join(re.sub(r"^\[", "* [", text, flags=re.MULTILINE) for text in tables)


def choose(topic: str = "") -> str:
    """Which embedded model for which task: the best of each column, or all figures of one topic."""
    from imprior.tasks import choose as task

    sizes = {name: (EMBEDDED / name / "weights.safetensors").stat().st_size for name in cards()}
    found = {name: card | {"bytes": sizes[name]} for name, card in cards().items()}
    sheets = task.run(found, {name: load(name) or {} for name in names()})
    if not topic:
        return table(task.best(sheets))
    asked = [sheet for sheet in sheets if sheet.topic.name == topic]
    parts = [asked[0].topic.about, *(f"**Models of {sheet.models}**\n\n{sheet.markdown()}" for sheet in asked)]
    return re.sub(r"^\[", "* [", "\n\n".join(parts), flags=re.MULTILINE)


def card(name: str, values: Mapping[str, Any], about: str) -> str:
    """A model's card as Markdown."""
    training, data = values["training"], values["data"]
    lines = [f"{about}." if about else ""]
    preview = EMBEDDED / name / "preview.png"
    if preview.is_file():
        lines.append(
            f"![{name}: originals and what the model makes of them](../src/imprior/embedded/{name}/preview.png)"
        )
    shape = " x ".join("any" if n in (None, 0) else str(n) for n in values["shape"])
    facts = {
        "Family": values["family"],
        "Promises": ", ".join(values["promises"]),
        "Images": f"{shape} (channels x height x width)",
        "Parameters": cell(values["parameters"]),
        "Trained on": values.get("source") or f"{cell(data['images'])} images, fingerprint `{data['fingerprint']}`",
        "Training": f"{cell(training['images'])} images seen in {cell(round(training['seconds']))} s, "
        f"{count(training['threads'], 'thread')} of {training['processor']}, torch {training['torch']}",
    }
    facts |= {word(key).capitalize(): values[key] for key in ("limits", "licence") if values.get(key)}
    lines.append("\n".join(f"* {key}: {value}" for key, value in facts.items()))
    figures = dict(values.get("figures", {}))
    protocol = figures.pop("protocol", None)
    if figures:
        shown = {key: value for key, value in flat(figures).items() if value is not None}
        lines.append(table([{"figure": word(key), "value": cell(value)} for key, value in shown.items()]))
    if protocol:
        lines.append("Protocol: " + "; ".join(f"{word(k)} {cell(v)}" for k, v in flat(protocol).items()) + ".")
    return "\n\n".join(line for line in lines if line)


def training(name: str, recipe: str, changes: Iterable[str], values: Mapping[str, Any], *, stepped: bool) -> str:
    """How an embedded model was made, and the command that goes on from it (where it was not fitted in closed form)."""
    told = values["training"]
    made = f"imprior train {' '.join([recipe, *changes])} --data DIR --out runs/{name}"
    more = f"imprior train {recipe} --init {name} --data DIR --out runs/{name}-more"
    lines = [
        f"{cell(told['images'])} images seen in {cell(round(told['seconds']))} s by "
        f"{count(told['processes'], 'process')} with {count(told['threads'], 'thread')} of {told['processor']}, "
        f"torch {told['torch']}.",
        f"To make it again:\n\n```bash\n{made}\n```",
        f"To go on from its weights:\n\n```bash\n{more}\n```" if stepped else "",
    ]
    return "\n\n".join(line for line in lines if line)


def count(number: int, what: str) -> str:
    """ "1 process", "2 processes"."""
    return f"{number} {what}{'' if number == 1 else 'es' if what.endswith('s') else 's'}"


def readme(text: str, language: str) -> str:
    """A README with its tables written anew."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    assert rest and after, f"no marks {BEGIN} … {END} in the README"
    return f"{before}{BEGIN}\n\n{comparison(cards(), language=language, brief=True)}\n\n{END}{after}"


def _side_by_side(compared: Mapping[str, Any]) -> str:
    """The table of a comparison (imprior.tasks.compare), with what its columns mean below it."""
    rows, notes = [], []
    columns = [c for c in compared.get("columns", []) if c["quantity"] not in FOLLOWS]
    for name in compared.get("models", []):
        row: dict[str, Any] = {"model": name}
        for number, column in enumerate(columns, 1):
            found = column["rows"].get(name)
            error = found and found.get("standard_error")
            text = (
                f"{'≤ ' * bool(found['bound'])}{found['mean']:.2f}{f' ± {error:.2f}' if error else ''}"
                if found
                else "–"
            )
            row[f"{column['quantity']} [{number}]"] = text
        rows.append(row)
    for number, column in enumerate(columns, 1):
        kept = {k: v for k, v in flat(column["protocol"]).items() if v not in (None, "none")}
        notes.append(
            f"[{number}] {column['unit']}: " + ", ".join(f"{word(k)} {cell(v)}" for k, v in kept.items()) + "."
        )
    return table(rows) + "\n\n" + "\n".join(notes) if rows else ""


def _paired(compared: Mapping[str, Any]) -> str:
    """The paired differences of a comparison (imprior.tasks.compare), or nothing."""
    rows = [
        {"paired difference": f"{d['model']} - {d['best']}", "of": column["quantity"], "mean": d["mean"]}
        | {"standard error": d["standard_error"]}
        for column in compared.get("columns", [])
        if column["quantity"] not in FOLLOWS
        for d in column["paired"]
    ]
    return table(rows) if rows else ""


def _is_explicit(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and isinstance(value.get("columns"), list)
        and isinstance(value.get("rows"), list)
        and all(isinstance(column, str) for column in value["columns"])
    )


def _is_rows(value: Any) -> bool:
    rows = isinstance(value, list) and bool(value) and all(isinstance(row, Mapping) for row in value)
    return rows and not any(_is_rows(v) or _is_explicit(v) for row in value for v in row.values())


READMES = {"README.md": "en", "README.zh-CN.md": "zh"}

if __name__ == "__main__":
    for file, spoken in READMES.items():
        path = ROOT / file
        path.write_text(readme(path.read_text(encoding="utf-8"), spoken), encoding="utf-8")
        print(f"{file}: tables written")
