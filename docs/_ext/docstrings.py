"""Docstrings are plain text that people read in the source; here they become reStructuredText.

Three habits of the source mean something else to Sphinx: `code` in single backticks, bare * | and trailing _ in shapes
and names, and drawings or formulas that are merely indented. Examples (>>>) stay as they are.
"""

from __future__ import annotations

import re
from typing import Any

CODE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
SPECIAL = re.compile(r"([*|\\]|(?<=\w)_(?!\w))")
SECTION = re.compile(r"^(Args|Attributes|Returns|Raises|Example|Examples|Reference|References|Yields):$")
DRAWING = re.compile(r" {4}|\||.*(──►|◄──)")


def escaped(line: str) -> str:
    """A line of prose with code marked as Sphinx wants it, and nothing else that could mean anything."""
    bullet = re.match(r"\s*[*-] |", line)
    start = bullet.group() if bullet else ""
    parts = CODE.split(line.removeprefix(start))  # prose, code, prose, …
    return start + "".join(f"``{p}``" if i % 2 else SPECIAL.sub(r"\\\1", p) for i, p in enumerate(parts))


def converted(lines: list[str]) -> list[str]:
    """The lines of one docstring (already without the indentation of its quotes)."""
    made: list[str] = []
    section = literal = False
    example = False
    for number, line in enumerate(lines):
        blank = not line.strip()
        indent = len(line) - len(line.lstrip())
        if blank:
            example = False
            made.append("")
            continue
        if line.lstrip().startswith(">>>"):
            example, literal = True, False
        if example:
            made.append(line)
            continue
        if SECTION.match(line):
            section, literal = True, False
            made.append(line)
            continue
        if indent == 0:
            section = False
        starts = number == 0 or not lines[number - 1].strip()
        drawn = not section and starts and DRAWING.match(line) is not None
        if drawn and not literal:
            made += ["::", ""]
            literal = True
        elif starts and not drawn:
            literal = False
        if literal:
            made.append("    " + line)
        else:
            made.append(escaped(line))
    return made


def process(app: Any, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    lines[:] = converted(lines)


def setup(app: Any) -> dict[str, bool]:
    app.connect("autodoc-process-docstring", process, priority=100)  # before napoleon, which reads the sections
    return {"parallel_read_safe": True, "parallel_write_safe": True}
