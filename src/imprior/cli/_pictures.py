"""What commands on pictures share: several inputs, one output each, and a failure that doesn't stop the rest."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imprior.cli._output import Update, emit, note, progress
from imprior.errors import DataError, ImpriorError, PartialFailure, RunError

LOSSLESS = (".png", ".npy")


@dataclass(frozen=True)
class Job:
    """A picture to work on.

    Attributes:
        source: where it comes from.
        target: where the result goes.
        name: of the result, with the folders in it that mirror those of the inputs.
        place: among all inputs.
    """

    source: Path
    target: Path
    name: Path
    place: int


Tell = Callable[[int, int], None]
Work = Callable[[Job, Tell], tuple[dict[str, Any], str]]


def plan(
    inputs: tuple[Path, ...],
    out: Path,
    *,
    kept: Collection[str] = LOSSLESS,
    apart: tuple[Path, ...] = (),
    otherwise: str = ".png",
    writes: Collection[str] | None = None,
    find: Callable[[Path], list[Path]] | None = None,
) -> list[Job]:
    """Where each picture comes from and goes to.

    Args:
        inputs: files and folders; a folder stands for all pictures in it and in its folders.
        out: a file for one input file, else a folder, in which results keep the names of their inputs.
        kept: suffixes of inputs that their results keep.
        apart: places besides `out` where results go: what lies there is no input.
        otherwise: the suffix of other results.
        writes: suffixes that `out` may have; None for those of pictures.
        find: gives the names of all inputs below a folder; None finds pictures.

    Raises:
        DataError: nothing to work on, a place that can't be, or two results that would fall on each other.
    """
    if len(inputs) == 1 and not inputs[0].is_dir():
        name = _named(Path(inputs[0].name), kept, otherwise)
        if out.is_dir():
            return [Job(inputs[0], out / name, name, 0)]
        suffixes = _pictures() if writes is None else writes
        if str(out) != "-" and out.suffix.lower() not in suffixes:
            raise DataError(f"{out}: results are written as {', '.join(suffixes)}, not as '{out.suffix}'")
        return [Job(inputs[0], out, name, 0)]
    if out.exists() and not out.is_dir():
        raise DataError(f"{out}: several pictures want a folder, and this is a file")
    jobs: dict[Path, Job] = {}
    for source, given in (pair for path in inputs for pair in _found(path, (out, *apart), find)):
        name = _named(given, kept, otherwise)
        if name in jobs:
            raise DataError(f"{source} and {jobs[name].source} would both be written to {out / name}")
        jobs[name] = Job(source, out / name, name, len(jobs))
    return list(jobs.values())


def keep_inputs(sources: Iterable[Path], targets: Iterable[Path]) -> None:
    """Refuse results that would be written over a picture that they, or others of them, come from.

    Raises:
        DataError: one would.
    """
    inputs = {_identity(path) for path in sources if path.exists()}
    for path in targets:
        if path.exists() and _identity(path) in inputs:
            raise DataError(f"{path} would be written over an input; choose another place, or --force it")


def check_place(path: Path) -> None:
    """Refuse a place where a file can't be written, before any work is done for it.

    Raises:
        RunError: it can't.
    """
    folder = path.absolute().parent
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise RunError(f"can't write {path}: {folder} is not a folder that can be written to")


def left(
    inputs: tuple[Path, ...], everything: Sequence[Job], mine: Sequence[Job], *, force: bool, apart: Sequence[Path] = ()
) -> tuple[list[Job], list[Job]]:
    """Which jobs are to be done, and which of several were finished before, once all places are found to be good.

    Args:
        inputs: as of `plan`; what is there already of a single one is written anew.
        everything: what `plan` gave, whose inputs must not be written over.
        mine: the part of it that is done here.
        force: write over inputs, and do finished jobs again.
        apart: places besides the jobs' targets that are written to.

    Raises:
        DataError: an input would be written over.
        RunError: a place can't be written to.
    """
    if not force:
        keep_inputs((job.source for job in everything), [*(job.target for job in mine), *apart])
    for path in [job.target for job in mine[:1] if str(job.target) != "-"] + list(apart[:1]):
        check_place(path)
    several = len(inputs) > 1 or inputs[0].is_dir()
    finished = [job for job in mine if several and not force and job.target.exists()]
    done = {job.place for job in finished}
    return [job for job in mine if job.place not in done], finished


def each(
    jobs: Sequence[Job],
    work: Work,
    out: Path,
    *,
    label: str,
    as_json: bool,
    workers: int = 1,
    finished: Sequence[Job] | None = None,
    table: Callable[[list[dict[str, Any]]], None] | None = None,
) -> None:
    """Work on every picture; tell how far it is, and at the end what came of it.

    A place that can't be written and a full disk end it all; what is wrong with one input ends that one only.

    Args:
        jobs: what is to be done.
        work: does a job; is given something to tell its own progress, and gives what a record says of it and a few
            words for people.
        out: where results go, for people.
        label: what is being done, for people.
        as_json: whether to say on stdout what was done.
        workers: how many jobs are worked on at a time.
        finished: jobs that were done before, if that is looked at.
        table: is given the records of several pictures that were done, to show them to people.

    Raises:
        ImpriorError: nothing could be done, or the place can't be written.
        PartialFailure: some inputs failed; each was named on stderr.
        KeyboardInterrupt: what was being worked on is left out, what was finished is whole.
    """
    if str(out) == "-" and as_json:
        raise DataError("stdout holds the picture or the JSON object, not both")
    alone = len(jobs) + len(finished or ()) == 1
    record: dict[str, list[dict[str, Any]]] = {"done": [], "failed": []}
    if finished is not None:
        record["finished"] = [_ends(job) for job in finished]
    done, failed, begun = record["done"], record["failed"], time.monotonic()
    with progress(label) as update:

        def report(job: Job, found: tuple[dict[str, Any], str] | ImpriorError) -> None:
            if isinstance(found, ImpriorError):
                if alone or isinstance(found, RunError):
                    raise found
                print(f"imprior: error: {found}", file=sys.stderr)
                failed.append({"input": str(job.source), "error": str(found)})
            else:
                done.append(_ends(job) | found[0])
                if alone and found[1]:
                    note(found[1])
            if not alone:
                words = (job.source.name, "failed" if isinstance(found, ImpriorError) else found[1])
                _update(update, len(done) + len(failed), len(jobs), ", ".join(filter(None, words)), begun)

        _perform(jobs, work, report, workers, update if alone else None)
    if as_json:
        emit(record)
    elif done or finished or not failed:
        if table is not None and done and not alone:
            table(done)
        note(_summary(out, len(done), len(finished or ()), len(failed), time.monotonic() - begun))
    if failed and not done and not finished:
        raise DataError(f"none of {len(jobs):,} pictures could be done")
    if failed:
        raise PartialFailure(f"{len(failed):,} of {len(jobs):,} pictures could not be done")


def _perform(
    jobs: Sequence[Job], work: Work, report: Callable[[Job, Any], None], workers: int, update: Update | None
) -> None:
    """Do the jobs, several at a time, and report each as it ends; whatever interrupts this ends them all."""
    stop = threading.Event()

    def tell(done: int, total: int) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        if update is not None:
            update(done, total)

    def attempt(job: Job) -> tuple[Job, tuple[dict[str, Any], str] | ImpriorError]:
        try:
            return job, work(job, tell)
        except ImpriorError as error:
            return job, error

    if workers == 1:
        for job in jobs:
            report(*attempt(job))
        return
    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(attempt, job) for job in jobs]
        try:
            for future in as_completed(futures):
                report(*future.result())
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise


def _found(
    given: Path, results: tuple[Path, ...], find: Callable[[Path], list[Path]] | None
) -> list[tuple[Path, Path]]:
    """A file, or all inputs of a folder (without what lies where results go), and their names below it."""
    if not given.is_dir():
        return [(given, Path(given.name))]
    whole = given.resolve()
    inside = [place for place in (result.resolve() for result in results) if whole in place.parents]
    names = [name for name in sorted((find or _all_pictures)(given)) if not _lies_in(whole / name, inside)]
    if not names:
        raise DataError(f"{given}: no {'pictures' if find is None else 'such files'} there")
    return [(given / name, name) for name in names]


def _all_pictures(folder: Path) -> list[Path]:
    from imprior.data.files import Folder

    return [Path(name) for name in Folder.of(folder).sizes]


def _pictures() -> tuple[str, ...]:
    from imprior.data.writing import WRITES

    return (*WRITES, ".npy")


def _lies_in(path: Path, folders: list[Path]) -> bool:
    return any(folder in path.parents for folder in folders)


def _named(name: Path, kept: Collection[str], otherwise: str) -> Path:
    return name if name.suffix.lower() in kept else name.with_suffix(otherwise)


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def _ends(job: Job) -> dict[str, Any]:
    return {"input": str(job.source), "output": str(job.target)}


def _update(update: Update, done: int, total: int, text: str, begun: float) -> None:
    """Say how far it is; the time left too where no bar shows it."""
    left = (time.monotonic() - begun) / done * (total - done)
    update(done, total, text if sys.stderr.isatty() or done == total else f"{text}, about {_duration(left)} left")


def _summary(out: Path, done: int, finished: int, failed: int, seconds: float) -> str:
    parts = [f"{done:,} picture{'' if done == 1 else 's'} written"]
    parts += [f"{finished:,} finished before"] if finished else []
    parts += [f"{failed:,} failed"] if failed else []
    parts += [f"in {_duration(seconds)}"] if done > 1 else []
    return f"{out}: {', '.join(parts)}"


def _duration(seconds: float) -> str:
    """Seconds in words: 34 s, 2 min 10 s, 3 h 05 min."""
    minutes, hours = int(seconds) // 60, int(seconds) // 3600
    if hours:
        return f"{hours} h {minutes % 60:02} min"
    return f"{minutes} min {int(seconds) % 60:02} s" if minutes else f"{seconds:.0f} s"
