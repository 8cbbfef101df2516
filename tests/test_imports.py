"""What must come at once comes at once: help and listings load nothing heavy."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

LIGHT = {"imprior", "click"}  # and the standard library
SECONDS = 0.15  # over a bare interpreter's start
SHOW = "import sys; print(' '.join({name.partition('.')[0] for name in sys.modules}))"


def loaded(code: str) -> set[str]:
    """Top-level modules that are there after `code`, beyond the standard library and what a bare interpreter has."""
    program = f"{code}\n{SHOW}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split()) - set(sys.stdlib_module_names)


def command(*args: str) -> str:
    """Code that runs a command."""
    run = f"try:\n    main({list(args)})\nexcept SystemExit as ended:\n    assert not ended.code"
    return f"from imprior.cli import main\n{run}"


CODE = {
    "import imprior": "import imprior",
    "imprior --help": command("--help"),
    "imprior --version": command("--version"),
    "imprior train --help": command("train", "--help"),
    "imprior recipes": command("recipes"),
    "imprior recipes --json": command("recipes", "--json"),
    "imprior models": command("models"),
    "imprior models --json": command("models", "--json"),
}


@pytest.mark.parametrize("name", CODE)
def test_loads_only_what_is_light(name: str) -> None:
    assert loaded(CODE[name]) - loaded("pass") <= LIGHT


def test_the_test_would_see_torch() -> None:
    assert "torch" in loaded("import imprior\nimprior.load\nimport imprior.opening")


def test_dir_offers_the_face() -> None:
    import imprior

    assert {"load", "train", "evaluate", "__version__"} <= set(dir(imprior))
    with pytest.raises(AttributeError, match="no attribute 'evalute'"):
        imprior.evalute  # noqa: B018


def processor_seconds(*args: str) -> float:
    """Least processor time of a few runs: what other work on this machine can't add to."""
    spent = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *args], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(spent)


@pytest.mark.parametrize("args", [("-c", "import imprior"), ("-m", "imprior", "--help"), ("-m", "imprior", "recipes")])
def test_starts_quickly(args: tuple[str, ...]) -> None:
    assert processor_seconds(*args) - processor_seconds("-c", "pass") < SECONDS
