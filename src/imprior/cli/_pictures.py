"""What commands on pictures share: several inputs, one output each, and a failure that doesn't stop the rest."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from imprior.cli._output import emit, note, progress
from imprior.errors import DataError, ImpriorError, PartialFailure

if TYPE_CHECKING:
    from imprior.face.pictures import Picture


def each(
    inputs: tuple[Path, ...], out: Path, work: Callable[[Picture, int], Picture], *, label: str, as_json: bool
) -> None:
    """Read every picture, work on it, and write the result.

    Args:
        inputs: files and folders; a folder stands for all pictures in it.
        out: a file for one input file, else a folder, in which results keep the names of their inputs.
        work: picture and its position among the inputs -> picture.
        label: what is being done, for people.
        as_json: whether to say on stdout what was done.

    Raises:
        ImpriorError: nothing could be done.
        PartialFailure: some inputs failed; each was named on stderr.
    """
    from imprior.data.images import read_picture
    from imprior.data.writing import write_picture

    if str(out) == "-" and as_json:
        raise DataError("stdout holds the picture or the JSON object, not both")
    jobs = _jobs(inputs, out)
    done: list[dict[str, str]] = []
    failed: list[dict[str, str]] = []
    with progress(label) as update:
        for position, (source, target) in enumerate(jobs):
            try:
                write_picture(target, work(read_picture(source), position))
                done.append({"input": str(source), "output": str(target)})
            except ImpriorError as error:
                if len(jobs) == 1:
                    raise
                print(f"imprior: error: {error}", file=sys.stderr)
                failed.append({"input": str(source), "error": str(error)})
            update(position + 1, len(jobs), source.name)
    if as_json:
        emit({"done": done, "failed": failed})
    elif done:
        note(f"{out}: {len(done):,} picture{'s' if len(done) > 1 else ''} written")
    if failed and not done:
        raise DataError(f"none of {len(jobs):,} pictures could be done")
    if failed:
        raise PartialFailure(f"{len(failed):,} of {len(jobs):,} pictures could not be done")


def _jobs(inputs: tuple[Path, ...], out: Path) -> list[tuple[Path, Path]]:
    """Where each picture comes from and goes to."""
    from imprior.data.images import PICTURES
    from imprior.data.writing import WRITES

    if len(inputs) == 1 and not inputs[0].is_dir():
        if out.is_dir():
            return [(inputs[0], out / _named(inputs[0].name))]
        if str(out) != "-" and out.suffix.lower() not in (*WRITES, ".npy"):
            raise DataError(f"{out}: pictures are written as {', '.join([*WRITES, '.npy'])}, not as '{out.suffix}'")
        return [(inputs[0], out)]
    if out.exists() and not out.is_dir():
        raise DataError(f"{out}: several pictures want a folder, and this is a file")
    jobs: dict[Path, Path] = {}
    for given in inputs:
        found = [(given, Path(given.name))]
        if given.is_dir():
            paths = [path for path in sorted(given.rglob("*")) if path.suffix.lower() in PICTURES and path.is_file()]
            found = [(path, path.relative_to(given)) for path in paths]
            if not found:
                raise DataError(f"{given}: no pictures there")
        for source, name in found:
            target = out / name.with_name(_named(name.name))
            if target in jobs:
                raise DataError(f"{source} and {jobs[target]} would both be written to {target}")
            jobs[target] = source
    return [(source, target) for target, source in jobs.items()]


def _named(name: str) -> str:
    """The name of a result: as the input's where that format is written without loss, else .png."""
    path = Path(name)
    return name if path.suffix.lower() in (".png", ".npy") else f"{path.stem}.png"
