"""A report as one HTML file: text, pictures, tables and nothing that needs a network, a script or a second file.

Section(title, parts) …  ──► render ──► one page; pictures are data URIs, all text is escaped, light or dark as the
                                        reader's machine prefers
"""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from imprior.errors import ImpriorError

Cell = str | int | float | bool | None

# What a picture file begins with. Names can lie, bytes can't.
SIGNATURES = (
    (b"\x89PNG", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"<?xml", "image/svg+xml"),
    (b"<svg", "image/svg+xml"),
)


@dataclass(frozen=True)
class Picture:
    """A picture with a caption.

    Attributes:
        data: bytes of a PNG, JPEG, WebP, GIF or SVG file.
        caption: below it; also what is read to people who can't see it, unless `alt` says more.
        alt: see `caption`.
    """

    data: bytes
    caption: str = ""
    alt: str = ""


@dataclass(frozen=True)
class Table:
    """A table; columns of numbers are aligned right, None is an empty cell.

    Attributes:
        columns: their titles, with units.
        rows: a cell for each column; floats are shown with four digits, so round what needs fewer.
        caption: above it.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""


@dataclass(frozen=True)
class Code:
    """Text that is shown as it was typed: a command, a snippet."""

    text: str


@dataclass(frozen=True)
class Details:
    """Parts that stay folded until somebody wants them.

    Attributes:
        summary: what stands there meanwhile.
        parts: what unfolds.
    """

    summary: str
    parts: Sequence[Part]


@dataclass(frozen=True)
class Section:
    """A title and what comes below it; a string is text, an empty line in it begins a new paragraph."""

    title: str
    parts: Sequence[Part]


Part = str | Picture | Table | Code | Details

STYLE = """
:root { color-scheme: light dark; --ink: #1d2329; --soft: #5a646e; --paper: #fff; --line: #d9dee3; --shade: #f4f6f8;
  --link: #1f5fa8; }
@media (prefers-color-scheme: dark) { :root { --ink: #e3e7eb; --soft: #9aa4ae; --paper: #15191d; --line: #343b42;
  --shade: #1f252b; --link: #7db4f0; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: 1.5rem 1.25rem 4rem; color: var(--ink); background: var(--paper);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Noto Sans CJK SC", sans-serif; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: .5rem 0 1rem; }
h2 { font-size: 1.3rem; margin: 2.6rem 0 .6rem; padding-top: .7rem; border-top: 1px solid var(--line); }
p { max-width: 46rem; margin: .6rem 0; }
nav ol { columns: 2 18rem; padding-left: 1.4rem; color: var(--soft); }
a { color: var(--link); }
figure { margin: 1rem 0; }
img { max-width: 100%; height: auto; background: #fff; border: 1px solid var(--line); border-radius: 6px;
  padding: 6px; }
figcaption, caption { color: var(--soft); font-size: .9rem; text-align: left; padding: .3rem 0; }
.wide { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: .95rem; }
th, td { padding: .35rem .8rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
th { border-bottom: 2px solid var(--soft); white-space: nowrap; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
pre { background: var(--shade); border: 1px solid var(--line); border-radius: 6px; padding: .7rem .9rem;
  overflow-x: auto; font: .88rem/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
details { margin: 1rem 0; border: 1px solid var(--line); border-radius: 6px; padding: .5rem .9rem; }
summary { cursor: pointer; font-weight: 600; }
""".strip()

# The page forbids itself to load anything, so that a picture of a stranger's folder can't call home either.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def render(title: str, sections: Sequence[Section], *, lead: str = "", language: str = "en") -> str:
    """The page as HTML.

    Args:
        title: of page and window.
        sections: in order; three and more get a table of contents.
        lead: text below the title.
        language: of the text, for readers and hyphenation ("en", "zh-CN").

    Raises:
        ImpriorError: a picture is in none of the formats that browsers show.

    Example:
        >>> "&lt;b&gt;" in render("A <b> page", [Section("One", ["Text."])])
        True
    """
    contents = "".join(f'<li><a href="#s{n}">{escape(s.title)}</a></li>' for n, s in enumerate(sections, 1))
    body = [f"<h1>{escape(title)}</h1>", _paragraphs(lead)]
    body += [f"<nav><ol>{contents}</ol></nav>"] if len(sections) > 2 else []
    for number, section in enumerate(sections, 1):
        inner = "\n".join(_part(part) for part in section.parts)
        body.append(f'<section id="s{number}">\n<h2>{escape(section.title)}</h2>\n{inner}\n</section>')
    return document(title, [text for text in body if text], language=language)


def document(title: str, body: Sequence[str], *, style: str = STYLE, policy: str = POLICY, language: str = "en") -> str:
    """HTML around a page's body: its head, with all style and what the page may do.

    Args:
        title: of the window.
        body: HTML, escaped already.
        style: CSS.
        policy: what the page may load and run.
        language: of the text.
    """
    head = [
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title>",
        f"<style>\n{style}\n</style>",
    ]
    lines = ["<!DOCTYPE html>", f'<html lang="{escape(language)}">', "<head>", *head, "</head>", "<body>"]
    return "\n".join([*lines, *body, "</body>", "</html>", ""])


def data_uri(data: bytes) -> str:
    """A picture file's bytes as a link that holds them.

    Raises:
        ImpriorError: a picture in none of the formats that browsers show.
    """
    return f"data:{_mime(data)};base64,{base64.b64encode(data).decode('ascii')}"


def _part(part: Part) -> str:
    if isinstance(part, str):
        return _paragraphs(part)
    if isinstance(part, Picture):
        caption = f"<figcaption>{escape(part.caption)}</figcaption>" if part.caption else ""
        alt = escape(part.alt or part.caption)
        return f'<figure><img src="{data_uri(part.data)}" alt="{alt}">{caption}</figure>'
    if isinstance(part, Table):
        return _table(part)
    if isinstance(part, Code):
        return f"<pre><code>{escape(part.text)}</code></pre>"
    inner = "\n".join(_part(p) for p in part.parts)
    return f"<details><summary>{escape(part.summary)}</summary>\n{inner}\n</details>"


def _paragraphs(text: str) -> str:
    return "\n".join(f"<p>{escape(p.strip())}</p>" for p in text.split("\n\n") if p.strip())


def _table(table: Table) -> str:
    assert all(len(row) == len(table.columns) for row in table.rows), "a cell for each column"
    numeric = [
        all(row[i] is None or (isinstance(row[i], int | float) and not isinstance(row[i], bool)) for row in table.rows)
        for i in range(len(table.columns))
    ]
    mark = [' class="number"' if n else "" for n in numeric]
    caption = f"<caption>{escape(table.caption)}</caption>" if table.caption else ""
    titles = "".join(f'<th scope="col"{m}>{escape(c)}</th>' for c, m in zip(table.columns, mark, strict=True))
    rows = "\n".join(
        "<tr>" + "".join(f"<td{m}>{escape(_cell(c))}</td>" for c, m in zip(row, mark, strict=True)) + "</tr>"
        for row in table.rows
    )
    return (
        f'<div class="wide"><table>{caption}\n<thead><tr>{titles}</tr></thead>\n<tbody>\n{rows}\n</tbody></table></div>'
    )


def _cell(value: Cell) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        if not math.isfinite(value):
            return str(value).replace("inf", "∞")
        return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"
    return value


def _mime(data: bytes) -> str:
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    for start, mime in SIGNATURES:
        if data.lstrip()[: len(start)] == start:
            return mime
    raise ImpriorError("a picture for a page is PNG, JPEG, WebP, GIF or SVG")
