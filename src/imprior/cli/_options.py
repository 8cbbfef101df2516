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

    def __init__(self, *args: Any, section: str, examples: tuple[str, ...], **kwargs: Any):
        lines = "\n".join(f"  {example}" for example in examples)
        super().__init__(*args, epilog=f"\b\nExample{'s' if len(examples) > 1 else ''}:\n{lines}", **kwargs)
        self.section = section
        self.examples = examples


def verb(name: str, section: str, *examples: str) -> Callable[[Callable[..., Any]], Verb]:
    """Make a function a command with at least one example."""
    assert section in SECTIONS and examples
    return click.command(name, cls=Verb, section=section, examples=examples)


def model(help_name: str = "MODEL") -> Decorator[Any]:
    """The MODEL argument: an embedded name or a run folder."""
    return click.argument("model", metavar=help_name)


def models() -> Decorator[Any]:
    """One MODEL or more."""
    return click.argument("models", metavar="MODEL …", nargs=-1, required=True)


def inputs() -> Decorator[Any]:
    """Picture files, as an alternative to --data."""
    return click.argument("inputs", metavar="[INPUT …]", nargs=-1, type=click.Path(path_type=Path))


def data(*, required: bool = False) -> Decorator[Any]:
    """--data SRC."""
    what = "Images: a folder, tar, zip, IDX, NPY or NPZ, or the folder of the four MNIST files."
    return click.option("--data", "source", metavar="SRC", required=required, help=what)


def split(default: str = "test") -> Decorator[Any]:
    """--split."""
    return click.option(
        "--split",
        type=click.Choice(["train", "validation", "test", "all"]),
        default=default,
        show_default=True,
        help="Part of SRC.",
    )


def seed() -> Decorator[Any]:
    """--seed."""
    return click.option("--seed", type=int, default=0, show_default=True, help="Seed of everything random.")


def count(name: str, default: int, what: str) -> Decorator[Any]:
    """A whole number of at least 1."""
    return click.option(name, type=click.IntRange(min=1), default=default, show_default=True, help=what)


def picture_out(*, required: bool = True, what: str = "Picture to write (.png, .jpg, .webp, …).") -> Decorator[Any]:
    """-o picture.png."""
    return click.option("-o", "--out", metavar="OUT", required=required, type=click.Path(path_type=Path), help=what)


def as_json() -> Decorator[Any]:
    """--json."""
    return click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout instead of text.")
