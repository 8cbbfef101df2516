"""What pages of these docs can ask for: measured tables, model cards, pictures, help texts.

    ```{results} likelihood           a table of benchmarks/results/likelihood.json
    ```{results} textbook plain       the part of it under a key
    ```{other-results} a b c          all results but those
    ```{cards}                        the card of each embedded model, a section each
    ```{comparison}                   the figures of all cards, a column for each protocol
    ```{choose}                       the best model of each task, by cards and result files
    ```{choose} drawing               one task's tables
    ```{training-log}                 how each embedded model was made, a section each
    ```{recipes}                      the recipes, with the line that says what each trains
    ```{picture} textbook/plain.png   a picture of _static (results/…: of benchmarks), or a word on its absence
    ```{help-texts}                   the help of each command, a section each

What was not made yet does not break the build: the page says that it is missing.
"""

from __future__ import annotations

import fnmatch
import sys
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective

sys.path.insert(0, str(Path(__file__).parent))
import tables

DOCS = Path(__file__).resolve().parents[1]
LANGUAGES = {"language": lambda given: directives.choice(given, ("en", "zh"))}


class Made(SphinxDirective):
    """A directive whose content is Markdown that is made when the docs are built."""

    optional_arguments = 40
    final_argument_whitespace = False
    option_spec: ClassVar[Any] = LANGUAGES
    headings = False

    @property
    def language(self) -> str:
        return str(self.options.get("language", "en"))

    def text(self) -> str:
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        return self.parse_text_to_nodes(self.text(), allow_section_headings=self.headings)


class Results(Made):
    def text(self) -> str:
        return tables.result(*self.arguments, language=self.language)


class OtherResults(Made):
    headings = True

    def text(self) -> str:
        parts = []
        for name in tables.names():
            if not any(fnmatch.fnmatch(name, shown) for shown in self.arguments):
                found = tables.load(name) or {}
                parts.append(
                    f"## {found.get('title') or name.replace('_', ' ').capitalize()}\n\n{tables.markdown(found)}"
                )
        return "\n\n".join(parts)


class Cards(Made):
    headings = True

    def text(self) -> str:
        from imprior import recipes

        known = recipes.names()
        parts = [f"## {n}\n\n{tables.card(n, c, known.get(c['recipe'], ''))}" for n, c in tables.cards().items()]
        return "\n\n".join(parts) or tables.MISSING[self.language]


class Comparison(Made):
    def text(self) -> str:
        return tables.comparison(tables.cards(), language=self.language)


class Choose(Made):
    def text(self) -> str:
        return tables.choose(*self.arguments)


class TrainingLog(Made):
    headings = True

    def text(self) -> str:
        from imprior import recipes
        from imprior.training.settings import Gradient

        parts = []
        for name, card in tables.cards().items():
            used = recipes.read(_json(tables.EMBEDDED / name / "recipe.json"))
            stepped = isinstance(used.training, Gradient)
            told = tables.training(name, card["recipe"], changes(used), card, stepped=stepped)
            parts.append(f"## {name}\n\n{told}")
        return "\n\n".join(parts) or tables.MISSING[self.language]


class Recipes(Made):
    def text(self) -> str:
        from imprior import recipes

        return tables.table(
            [{"recipe": f"`{name}`", "what it trains": about} for name, about in recipes.names().items()]
        )


class Picture(SphinxDirective):
    """A picture; its content is the caption."""

    required_arguments = 1
    has_content = True
    option_spec: ClassVar[Any] = LANGUAGES

    def run(self) -> list[nodes.Node]:
        name, caption = self.arguments[0], "\n".join(self.content)
        place = f"../benchmarks/{name}" if name.startswith("results/") else f"_static/{name}"
        if (DOCS / place).is_file():
            alt = " ".join(caption.split()).replace("`", "").replace("[", "(").replace("]", ")")
            return self.parse_text_to_nodes(f"![{alt}](/{place})\n\n{caption}")
        missing = {"en": "Picture not made yet", "zh": "图片尚未生成"}[self.options.get("language", "en")]
        return self.parse_text_to_nodes(f"*{missing} (`{name}`): {caption}*")


class HelpTexts(Made):
    headings = True

    def text(self) -> str:
        files = sorted((DOCS / "cli").glob("*.txt"), key=lambda path: (path.stem != "imprior", path.stem))
        parts = []
        for path in files:
            title = "imprior" if path.stem == "imprior" else f"imprior {path.stem}"
            parts.append(f"## {title}\n\n```text\n{path.read_text(encoding='utf-8').rstrip()}\n```")
        return "\n\n".join(parts)


def changes(used: Any) -> list[str]:
    """What differs between the recipe of a run and the recipe of that name, as `imprior train` takes it."""
    from imprior import recipes
    from imprior.settings import flatten

    named = flatten(recipes.find(used.name)) if used.name in recipes.names() else {}
    found = []
    for key, value in flatten(used).items():
        if key in ("model.shape", "name", "version") or named.get(key, value) == value:
            continue
        said = ",".join(map(str, value)) if isinstance(value, tuple) else str(value).lower()
        found.append(f"{key.removeprefix('training.')}={said}")
    return found


def _json(path: Path) -> dict[str, Any]:
    import json

    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def setup(app: Any) -> dict[str, bool]:
    for name, made in {
        "results": Results,
        "other-results": OtherResults,
        "cards": Cards,
        "comparison": Comparison,
        "choose": Choose,
        "training-log": TrainingLog,
        "recipes": Recipes,
        "picture": Picture,
        "help-texts": HelpTexts,
    }.items():
        app.add_directive(name, made)
    app.connect("env-before-read-docs", _always)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _always(app: Any, env: Any, docnames: list[str]) -> None:
    """Read all pages at each build: what they show changes without them."""
    docnames[:] = sorted(env.found_docs)
