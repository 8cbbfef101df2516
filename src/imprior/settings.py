"""Frozen dataclasses as settings: to JSON and back, and overridden by path (`objective.beta=4`).

A settings class is any frozen dataclass of plain fields (int, float, bool, str, Literal, None, tuples of these) and
of further settings classes. In JSON a nested one carries its `type`, the place where its class lives
("objectives.elbo.Elbo"), so that reading back needs no registry. Only dataclasses of this package are ever looked up:
a foreign file can be wrong, but it cannot name code to run.
"""

from __future__ import annotations

import dataclasses
import importlib
import types
import typing
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from imprior.errors import RecipeError, nearest

S = TypeVar("S")
PACKAGE = __name__.split(".", 1)[0]


def type_of(settings: Any) -> str:
    """Where the class of `settings` lives, without the package: "training.schedule.Schedule"."""
    cls = type(settings)
    return f"{cls.__module__.removeprefix(PACKAGE + '.')}.{cls.__qualname__}"


def to_json(settings: Any) -> dict[str, Any]:
    """A settings object as plain JSON values, each nested settings class with its `type`."""

    def plain(value: Any) -> Any:
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return {"type": type_of(value)} | {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        if isinstance(value, tuple):
            return [plain(v) for v in value]
        return value

    return plain(settings)  # type: ignore[no-any-return]


def from_json(values: Any, where: str = "recipe") -> Any:
    """The settings object that `to_json` wrote; every field checked against its type.

    Raises:
        RecipeError: an unknown type or field, a missing field, or a value of the wrong type; the message names where.
    """
    if not isinstance(values, dict) or not isinstance(values.get("type"), str):
        raise RecipeError(f"{where}: expected an object with a 'type'")
    cls = _class(values["type"], where)
    hints = get_type_hints(cls)
    given = {k: v for k, v in values.items() if k != "type"}
    known = [f.name for f in dataclasses.fields(cls)]
    for name in given:
        if name not in known:
            raise RecipeError(f"{where}: unknown key '{name}'{nearest(name, known)}")
    parts: dict[str, Any] = {}
    for name, value in given.items():
        path = f"{where}.{name}"
        if isinstance(value, dict):
            value = from_json(value, path)
        parts[name] = _check(value, hints[name], path)
    try:
        return cls(**parts)
    except TypeError as error:
        raise RecipeError(f"{where}: {error}") from None


def override(settings: S, path: str, text: str, *, through: tuple[str, ...] = ()) -> S:
    """A copy of `settings` with the value at `path` replaced by what `text` says.

    Args:
        settings: a settings object.
        path: field names joined by dots.
        text: the new value as typed on a command line: a number, true or false, none, a word, or words or numbers
            joined by commas for a tuple. For a field that holds a settings object: the name of another class that
            may stand there, with its defaults.
        through: fields whose own fields may be named without their prefix (`objective.beta` for
            `training.objective.beta`).

    Raises:
        RecipeError: an unknown key (the nearest is named) or a value of the wrong type.
    """
    return cast(S, _override(settings, path.split("."), text, path, through))


def flatten(settings: Any, prefix: str = "") -> dict[str, Any]:
    """All leaves of a settings object by path, in order; a part without fields of its own is a leaf, by its name."""
    leaves: dict[str, Any] = {}
    for f in dataclasses.fields(settings):
        value = getattr(settings, f.name)
        if dataclasses.is_dataclass(value) and dataclasses.fields(value):
            leaves |= flatten(value, f"{prefix}{f.name}.")
        elif dataclasses.is_dataclass(value):
            leaves[prefix + f.name] = _snake(type(value))
        else:
            leaves[prefix + f.name] = value
    return leaves


def _override(settings: Any, keys: list[str], text: str, path: str, through: tuple[str, ...]) -> Any:
    names = [f.name for f in dataclasses.fields(settings)]
    head, rest = keys[0], keys[1:]
    if head not in names:
        for name in through:
            inner = getattr(settings, name, None)
            if dataclasses.is_dataclass(inner) and head in [f.name for f in dataclasses.fields(inner)]:
                return dataclasses.replace(settings, **{name: _override(inner, keys, text, path, ())})
        raise RecipeError(f"unknown key '{path}'{_nearest_path(settings, keys, path, through)}")
    old = getattr(settings, head)
    hint = get_type_hints(type(settings))[head]
    if rest:
        if not dataclasses.is_dataclass(old):
            raise RecipeError(f"unknown key '{path}': '{head}' has no parts here")
        new = _override(old, rest, text, path, ())
    elif dataclasses.is_dataclass(old) and text in (type(old).__name__, _snake(type(old))):
        new = cast(Any, type(old))()  # also where the field's type is a protocol, which can't list who keeps it
    else:
        new = _check(_parse(text, hint, path), hint, path)
    try:
        return dataclasses.replace(settings, **{head: new})
    except RecipeError as error:
        raise RecipeError(f"{path}={text}: {error}") from None


def _nearest_path(settings: Any, keys: list[str], path: str, through: tuple[str, ...]) -> str:
    """The known path nearest to `path`, of which `keys` is what is left below `settings`."""
    before = path.removesuffix(".".join(keys))
    paths = list(flatten(settings))
    for name in through:  # the short form is the one to name
        paths = [p.removeprefix(name + ".") for p in paths]
    same_end = [before + p for p in paths if p.rsplit(".", 1)[-1] == keys[-1]]
    return nearest(path, same_end) or nearest(path, [before + p for p in paths])


def _class(path: str, where: str) -> Any:
    module, _, name = path.rpartition(".")
    found = None
    if module and all(part.isidentifier() for part in path.split(".")):
        try:
            found = getattr(importlib.import_module(f"{PACKAGE}.{module}"), name, None)
        except ImportError:
            found = None
    ours = isinstance(found, type) and dataclasses.is_dataclass(found) and found.__module__ == f"{PACKAGE}.{module}"
    if not ours:
        raise RecipeError(f"{where}: unknown type '{path}' (written by another version, or not by this program)")
    return found


def _options(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def _parse(text: str, hint: Any, path: str) -> Any:
    options = _options(hint)
    for option in options:
        if dataclasses.is_dataclass(option) and isinstance(option, type) and text in (option.__name__, _snake(option)):
            return option()
    if any(dataclasses.is_dataclass(option) for option in options) and text.lower() != "none":
        names = [_snake(o) for o in options if isinstance(o, type) and dataclasses.is_dataclass(o)]
        raise RecipeError(f"{path}: '{text}' is not one of {', '.join(names)}; or set one of its parts, {path}.…=…")
    if type(None) in options and text.lower() in ("none", "null"):
        return None
    if any(get_origin(option) is tuple for option in options):
        return tuple(_scalar(part) for part in text.split(",") if part != "")
    if hint is str or (any(get_origin(option) is Literal for option in options) and not _is_number(text)):
        return text
    return _scalar(text)


def _snake(cls: Any) -> str:
    return "".join("_" + c.lower() if c.isupper() else c for c in cls.__name__).lstrip("_")


def _is_number(text: str) -> bool:
    return not isinstance(_scalar(text), str)


def _scalar(text: str) -> Any:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    return text


def _check(value: Any, hint: Any, path: str) -> Any:
    """`value` as `hint` wants it (an int may stand for a float, a list for a tuple), or a RecipeError."""
    for option in _options(hint):
        origin = get_origin(option)
        if origin is Literal:
            if value in get_args(option):
                return value
        elif origin is tuple:
            if isinstance(value, list | tuple):
                inner = get_args(option)
                if len(inner) == 2 and inner[1] is Ellipsis:
                    return tuple(_check(v, inner[0], path) for v in value)
                if len(inner) == len(value):
                    return tuple(_check(v, h, path) for v, h in zip(value, inner, strict=True))
        elif option is typing.Any or (option is type(None) and value is None):
            return value
        elif option is float:
            if isinstance(value, int | float) and not isinstance(value, bool):
                return float(value)
        elif isinstance(option, type) and isinstance(value, option) and (option is bool or not isinstance(value, bool)):
            return value
    raise RecipeError(f"{path}: {value!r} is not {_describe(hint)}")


def _describe(hint: Any) -> str:
    said = []
    for option in _options(hint):
        if get_origin(option) is Literal:
            said.append("one of " + ", ".join(map(str, get_args(option))))
        elif get_origin(option) is tuple:
            said.append("a list (words or numbers joined by commas)")
        else:
            named = {int: "a whole number", float: "a number", bool: "true or false", str: "a word", type(None): "none"}
            said.append(named.get(option) or f"a {_snake(option)}")
    return " or ".join(said)
