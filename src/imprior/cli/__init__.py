"""The command line: `imprior VERB …`, a module of this folder per command.

Two grammars and no more: on a model `imprior VERB MODEL [INPUT …] [--data SRC] [-o OUT]`, on pictures
`imprior VERB INPUT … -o OUT [--model MODEL]`. A new command is a new module here with a `command` in it; modules whose
names begin with an underscore are parts that commands share. What is heavy (torch, NumPy, matplotlib) is imported
inside functions, so that help and listings come at once.

Exit codes: 0 done, 2 refused, 3 some inputs of several failed, 130 interrupted.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
import warnings
from collections.abc import Sequence
from typing import NoReturn, TextIO

import click

from imprior import __version__
from imprior.cli._options import SECTIONS
from imprior.errors import ImpriorError, nearest

EPILOG = """\b
Examples:
  imprior train mnist-vae --data DIR --out runs/vae
  imprior evaluate runs/vae --data DIR --samples 1000

Exit codes: 0 done, 2 refused, 3 some inputs of several failed, 130 interrupted.
"""


class Commands(click.Group):
    """Finds a command by the name of its module, and loads no other."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All commands, by name."""
        return sorted(m.name.replace("_", "-") for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, or None."""
        if cmd_name not in self.list_commands(ctx):
            return None
        command: click.Command = importlib.import_module(f"imprior.cli.{cmd_name.replace('-', '_')}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, but a wrong name hears the nearest right one."""
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            raise click.UsageError(f"unknown command '{args[0]}'{nearest(args[0], self.list_commands(ctx))}", ctx)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        """As click does, but Ctrl-C leaves no blank line before ours."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise click.Abort() from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Commands under the headings that they name themselves."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for name in self.list_commands(ctx):
            command = self.get_command(ctx, name)
            if command is not None:
                sections.setdefault(getattr(command, "section", SECTIONS[-1]), []).append(
                    (name, command.get_short_help_str(75))
                )
        for heading in sorted(sections, key=SECTIONS.index):
            with formatter.section(heading):
                formatter.write_dl(sections[heading])


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=EPILOG,
    invoke_without_command=True,
)
@click.version_option(__version__, prog_name="imprior", message="%(prog)s %(version)s")
@click.pass_context
def group(context: click.Context) -> None:
    """Learned image priors: train them, judge them, put them to work.

    MODEL is the name of a model that comes with imprior (see `imprior models`) or the folder of a run. SRC is a folder,
    tar or zip of images, the folder of the four MNIST files, an IDX, NPY or NPZ file.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run one command and exit with its code; whatever a person can cause is one line on stderr."""
    sys.exit(_run(args))


def _run(args: Sequence[str] | None) -> int:
    with warnings.catch_warnings():
        warnings.showwarning = _warn
        warnings.filterwarnings("always", category=UserWarning, module="imprior")  # what we say ourselves is meant
        return _code(args)


def _code(args: Sequence[str] | None) -> int:
    try:
        code = group.main(args=list(args) if args is not None else None, prog_name="imprior", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.Abort:
        return _refuse("interrupted", 130)
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else "imprior"
        return _refuse(f"{error.format_message().rstrip('.')}; see '{where} --help'", 2)
    except click.ClickException as error:
        return _refuse(error.format_message(), 2)
    except ImpriorError as error:
        return _refuse(str(error), error.exit_code)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        return _refuse(f"{place}{error.strerror or error}", 2)


def _warn(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """A warning as one line; where it was raised means nothing to a person at a command line."""
    print(f"imprior: warning: {' '.join(str(message).split())}", file=sys.stderr)


def _refuse(message: str, code: int) -> int:
    print(f"imprior: error: {' '.join(message.split())}", file=sys.stderr)
    return code
