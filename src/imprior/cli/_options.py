"""What commands share on their way in: the decorator that makes one, and the options that mean the same everywhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

SECTIONS = ("Look around", "Train and judge", "Use a model", "On pictures")
F = TypeVar("F", bound=Callable[..., Any])
Decorator = Callable[[F], F]


class Verb(click.Command):
    """A command that knows under which heading the main help lists it.

    Args:
        section: one of `SECTIONS`.
        examples: command lines that work, shown at the end of the help.
    """

    def __init__(self, name: str, *, section: str, examples: tuple[str, ...], **kwargs: Any):
        lines = "\n".join(f"  {example}" for example in examples)
        super().__init__(name, epilog=f"\b\nExample{'s' if len(examples) > 1 else ''}:\n{lines}", **kwargs)
        self.section = section
        self.examples = examples


def verb(name: str, section: str, *examples: str) -> Callable[[Callable[..., Any]], Verb]:
    """Make a function a command with at least one example."""
    assert section in SECTIONS and examples
    settings = {"help_option_names": ["-h", "--help"]}
    return click.command(name, cls=Verb, section=section, examples=examples, context_settings=settings)


def model(help_name: str = "MODEL") -> Decorator[Any]:
    """The MODEL argument: an embedded name or a run folder."""
    return click.argument("model", metavar=help_name)


def models(*, required: bool = True) -> Decorator[Any]:
    """One MODEL or more."""
    return click.argument("models", metavar="MODEL …" if required else "[MODEL …]", nargs=-1, required=required)


def inputs() -> Decorator[Any]:
    """Picture files, as an alternative to --data."""
    return click.argument("inputs", metavar="[INPUT …]", nargs=-1, type=click.Path(path_type=Path))


def data(*, required: bool = False) -> Decorator[Any]:
    """--data SRC."""
    what = "Images: a folder, tar, zip, IDX, NPY or NPZ, or the folder of the four MNIST files."
    return click.option("--data", "source", metavar="SRC", required=required, help=what)


def given(inputs: tuple[Path, ...], source: str | None) -> str | list[Path]:
    """What INPUT … and --data name together: one of the two."""
    if bool(inputs) == bool(source):
        raise click.UsageError("name picture files or a source with --data, one of the two")
    return source or list(inputs)


def split(default: str | None = None) -> Decorator[Any]:
    """--split; without a default it is the test part where there is one, else everything."""
    said = default or "test, or all where SRC has no parts"
    choices = click.Choice(["train", "validation", "test", "all"])
    return click.option("--split", type=choices, default=default, help=f"Part of SRC.  [default: {said}]")


def seed() -> Decorator[Any]:
    """--seed."""
    return click.option("--seed", type=int, default=0, show_default=True, help="Seed of everything random.")


def temperature() -> Decorator[Any]:
    """--temperature."""
    return click.option(
        "--temperature",
        type=click.FloatRange(min=0, min_open=True),
        default=1.0,
        show_default=True,
        help="Below 1: nearer to the most likely images, for models that know a temperature.",
    )


def count(name: str, default: int, what: str) -> Decorator[Any]:
    """A whole number of at least 1."""
    return click.option(name, type=click.IntRange(min=1), default=default, show_default=True, help=what)


def picture_out(*, required: bool = True, what: str = "Picture to write (.png, .jpg, .webp, …).") -> Decorator[Any]:
    """-o picture.png."""
    return click.option("-o", "--out", metavar="OUT", required=required, type=click.Path(path_type=Path), help=what)


def as_json() -> Decorator[Any]:
    """--json."""
    return click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout instead of text.")


class Listed(click.ParamType[tuple[Any, ...]]):
    """Words or numbers joined by commas.

    Args:
        name: of one of them, for the help.
        read: makes one of its text.
    """

    def __init__(self, name: str, read: Callable[[str], Any] = str):
        self.name, self.read = name, read

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[Any, ...]:
        """The text's parts; a default comes as it is."""
        if not isinstance(value, str):
            return tuple(value)
        parts = [part.strip() for part in value.split(",") if part.strip()]
        try:
            read = tuple(self.read(part) for part in parts)
        except ValueError:
            read = ()
        if not read:
            self.fail(f"'{value}' is not a list of {self.name}s joined by commas", param, ctx)
        return read

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """As the help shows it."""
        return f"{self.name},…"


class Shard(click.ParamType[tuple[int, int]]):
    """I/N: the I-th of N equal parts."""

    name = "shard"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """ "2/4" as (2, 4); a default comes as it is."""
        if not isinstance(value, str):
            return value  # type: ignore[no-any-return]
        part, _, parts = value.partition("/")
        if not (part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts)):
            self.fail(f"'{value}' is not a part like 1/4, 2/4, 3/4 or 4/4", param, ctx)
        return int(part), int(parts)


def shard() -> Decorator[Any]:
    """--shard."""
    return click.option("--shard", metavar="I/N", type=Shard(), default=(1, 1), help="Only the I-th of N parts.")


def max_pixels() -> Decorator[Any]:
    """--max-pixels."""
    what = "Refuse larger pictures.  [default: 2^28, 268 million]"
    return click.option("--max-pixels", type=click.IntRange(min=1), default=1 << 28, help=what)
