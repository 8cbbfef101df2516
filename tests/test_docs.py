"""What the documents say holds: floors, commands, snippets, examples, links and tables are tried, not trusted."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import json
import pkgutil
import re
import shlex
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import click
import pytest

import imprior
from imprior import face, recipes, runs
from imprior.cli import group

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.glob("*.md"), *DOCS.glob("*/*.md"), *ROOT.glob("*.md")])
FENCE = re.compile(r"^```(\S*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HAND_OVER = {"SRC", "DIR"}  # what stands for a person's own

sys.path.insert(0, str(DOCS / "_ext"))
import tables  # noqa: E402


def blocks(page: Path, language: str) -> list[str]:
    """The contents of a page's fenced blocks of one language."""
    return [text for name, text in FENCE.findall(page.read_text(encoding="utf-8")) if name == language]


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


# Floors


def test_the_house_on_paper_is_the_house_that_is_enforced() -> None:
    rules = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]["layers"]
    enforced = [[name.strip().removeprefix("imprior.") for name in layer.split("|")] for layer in rules]
    drawn = next(text for text in blocks(DOCS / "architecture.md", "text") if text.startswith("__main__"))
    lines = [re.match(r"\S+( \| \S+)*", line) for line in drawn.splitlines()]
    assert [line.group().split(" | ") for line in lines if line] == enforced


def test_the_drawn_house_has_rooms_that_exist() -> None:
    picture = (DOCS / "_static" / "house.svg").read_text()
    rooms = re.findall(r'font-size="15" font-weight="700" fill="#222">(\w+)<', picture)
    assert len(rooms) > 15
    for room in rooms:
        assert importlib.util.find_spec(f"imprior.{room}") is not None, room


# Commands


def command_lines(page: Path) -> Iterator[str]:
    """Everything on a page that begins with `imprior`, in blocks and in tables."""
    for text in blocks(page, "bash"):
        for line in text.replace("\\\n", " ").splitlines():
            start = re.search(r"(?:^|[ /]|-m )(imprior [a-z].*)", line)
            if start and not line.startswith("#"):
                yield start.group(1).partition(" #")[0]
    for cell in re.findall(r"`(imprior [a-z][^`]*)`", page.read_text(encoding="utf-8")):
        if not re.search(r"VERB|RECIPE|NAME|…|\bSRC\b", cell):
            yield cell


LINES = sorted({(named(page), line) for page in PAGES for line in command_lines(page)})


def test_there_are_commands_to_try() -> None:
    assert len(LINES) > 60


@pytest.mark.parametrize(("page", "line"), LINES)
def test_commands_on_pages_are_understood(page: str, line: str) -> None:
    words = [re.sub(r"\$\{?\w+\}?", "1", word) for word in shlex.split(line)[1:]]
    command = group.get_command(click.Context(group), words[0])
    assert command is not None, f"{page}: no command {words[0]}"
    if all(word.startswith("-") for word in words[1:]):  # a command that is spoken of, not one to type
        spoken = {option for parameter in command.params for option in parameter.opts}
        assert set(words[1:]) <= spoken | {"--help"}
        return
    with command.make_context(words[0], words[1:]) as context:
        given = context.params
    if "recipe" in given:
        recipe = recipes.find(given["recipe"]).with_overrides(given.get("overrides", ()))
        for axis in given.get("grid") or ():
            key, _, values = axis.partition("=")
            for value in values.split(","):
                recipe.with_overrides([f"{key}={value}"])
    known = set(recipes.names()) | {"non-local-means", "total-variation", "wavelets"}
    asked = [given.get("model"), given.get("init"), *(given.get("models") or ())]
    for model in filter(None, asked):
        assert model in known or model.startswith("runs/"), f"{page}: {line}: no model {model}"
    source = given.get("source")
    if isinstance(source, str) and "/" not in source:
        assert source in (*HAND_OVER, "digits", "photos"), f"{page}: {line}: {source}"


# Python


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Calls of `imprior.name(…)`."""
    for node in ast.walk(tree):
        of = node.func if isinstance(node, ast.Call) else None
        if isinstance(of, ast.Attribute) and isinstance(of.value, ast.Name) and of.value.id == "imprior":
            assert isinstance(node, ast.Call)
            yield of.attr, node


SNIPPETS = [(named(page), text) for page in PAGES for text in blocks(page, "python")]


@pytest.mark.parametrize(("page", "text"), SNIPPETS, ids=[f"{page}-{i}" for i, (page, _) in enumerate(SNIPPETS)])
def test_snippets_call_what_exists_as_it_wants_to_be_called(page: str, text: str) -> None:
    tree = ast.parse(text)
    for name, call in calls(tree):
        assert name in face.__all__, f"{page}: imprior.{name}"
        keywords = {k.arg: None for k in call.keywords if k.arg}
        inspect.signature(getattr(face, name)).bind(*call.args, **keywords)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("imprior") and node.level == 0:
            if node.module == "imprior.models" and [a.name for a in node.names] == ["flat"]:
                continue  # the model that the page on new models has just written
            module = importlib.import_module(str(node.module))
            for alias in node.names:
                if not hasattr(module, alias.name):
                    importlib.import_module(f"{node.module}.{alias.name}")


def test_the_model_of_the_page_on_new_models_works(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from imprior.promises import kept

    text = blocks(DOCS / "howto" / "add-a-model.md", "python")[0]
    module = ModuleType("flat")
    monkeypatch.setitem(sys.modules, "flat", module)
    exec(compile(text, "add-a-model.md", "exec"), module.__dict__)
    model = module.Config(shape=(1, 6, 5)).build()
    x = torch.rand(4, 1, 6, 5)
    assert {"Decodes", "Encodes", "Codes"} <= set(kept(model))
    assert model.decode(model.encode(x)).shape == x.shape
    assert face.reconstruct(model, x).psnr_db.shape == (4,)


def test_the_task_of_the_page_on_new_tasks_works(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    text = blocks(DOCS / "howto" / "add-a-task.md", "python")[0]
    module = ModuleType("odd")
    monkeypatch.setitem(sys.modules, "odd", module)
    exec(compile(text, "add-a-task.md", "exec"), module.__dict__)
    from imprior.models import pca

    x = torch.rand(50, 1, 4, 4, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 0.1] * 8).view(4, 4)
    model = pca.Config((1, 4, 4), 4).build()
    model.update([x])
    x[17] = 1 - x[17]
    assert int(module.run(model, x, n=3).index[0]) == 17


# Examples


def examples(text: str, where: str) -> None:
    """Run the examples of a text; fail with doctest's own report."""
    test = doctest.DocTestParser().get_doctest(text, {}, where, where, 0)
    told: list[str] = []
    result = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=told.append)
    assert result.failed == 0, "".join(told)


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "pycon")], ids=named)
def test_examples_on_pages_run(page: Path) -> None:
    examples("\n".join(blocks(page, "pycon")), named(page))


MODULES = sorted(m.name for m in pkgutil.walk_packages(imprior.__path__, "imprior.") if m.name != "imprior.__main__")


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_run(name: str) -> None:
    module = importlib.import_module(name)
    for test in doctest.DocTestFinder(exclude_empty=True).find(module, name):
        if test.examples:
            told: list[str] = []
            result = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=told.append)
            assert result.failed == 0, "".join(told)


# Links, languages, tables


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page: Path) -> None:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s#]+)", text):
        made = target in ("docs/_static/demo.png",)
        if "://" not in target and not made:
            assert (page.parent / target).exists(), f"{named(page)}: {target}"


def skeleton(page: Path) -> list[str]:
    """What a translation must not change: levels of headings, commands, directives, examples without comments."""
    text = page.read_text(encoding="utf-8")
    found = []
    for heading, language, inside in re.findall(r"^(#+) |^```(\S+)[^\n]*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        lines = [re.sub(r"\s*#.*", "", line) for line in inside.splitlines() if not line.startswith(":language")]
        found.append(heading or f"{language} {lines if language in ('bash', 'python', 'pycon') else ''}")
    return found


@pytest.mark.parametrize("name", ["README", "docs/textbook"])
def test_the_chinese_page_has_the_parts_of_the_english_one(name: str) -> None:
    assert skeleton(ROOT / f"{name}.zh-CN.md") == skeleton(ROOT / f"{name}.md")


@pytest.mark.parametrize("name", tables.READMES)
def test_tables_of_the_readme_are_those_of_the_cards(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert tables.readme(text, tables.READMES[name]) == text, "run: python docs/_ext/tables.py"


def test_the_textbook_shows_the_pictures_that_its_script_makes() -> None:
    tree = ast.parse((ROOT / "benchmarks" / "textbook_pictures.py").read_text())
    makers = next(n.value for n in tree.body if isinstance(n, ast.AnnAssign) and n.value is not None)
    assert isinstance(makers, ast.Dict)
    made = {key.value for key in makers.keys if isinstance(key, ast.Constant)}
    text = (DOCS / "textbook.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\{picture\} textbook/([\w-]+)\.png", text)) == made


def test_every_embedded_model_has_a_card_that_can_be_shown() -> None:
    for name, card in tables.cards().items():
        assert name in tables.card(name, card, "") or card["family"] in tables.card(name, card, "")
        assert (runs.EMBEDDED / name / "recipe.json").is_file()


def test_tables_keep_protocols_apart_and_say_what_is_missing() -> None:
    assert tables.result("there-is-no-such-result") == tables.MISSING["en"]
    protocol = {"seed": 0, "n": 10, "images_sha256": "b" * 64, "binarization": "dynamic", "dequantisation": "none"}
    cards = {
        name: {"figures": {"n": 10, "nats": nats, "standard_error": 1.0, "kind": "bound", "space": "binary"}
               | {"protocol": protocol | {"samples": samples, "sha256": "a" * 64}}}
        for name, nats, samples in (("one", 80.0, 1), ("two", 81.0, 1000))
    }  # fmt: skip
    shown = tables.comparison(cards)
    assert "| one | ≤ 80.00 ± 1.00 | – |" in shown and "| two | – | ≤ 81.00 ± 1.00 |" in shown


def test_tables_show_rows_and_their_protocol() -> None:
    found = json.loads('{"rows": [{"model": "a|b", "psnr_db": 20.123, "n": 1000}], "protocol": {"sigma": 0.5}}')
    assert tables.markdown(found).splitlines() == [
        "| model | psnr db | n |", "| --- | ---: | ---: |", r"| a\|b | 20.12 | 1,000 |", "", "Protocol: sigma 0.5.",
    ]  # fmt: skip
