"""`imprior denoise INPUT …`: pictures without their noise."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from imprior.cli._options import Shard, as_json, count, verb
from imprior.cli._pictures import Job, Tell, each, left, plan
from imprior.errors import DataError

if TYPE_CHECKING:
    from imprior.tasks.denoise import Denoised


@verb(
    "denoise",
    "On pictures",
    "imprior denoise photo.jpg -o clean.png",
    "imprior denoise photos/ -o cleaned/ --jobs 2",
    "imprior denoise noisy.png -o clean.png --sigma 25 --compare look.png",
    "imprior denoise noisy.png -o clean.png --model wavelets",
)
@click.argument("inputs", metavar="INPUT …", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--out",
    metavar="OUT",
    required=True,
    type=click.Path(path_type=Path),
    help="Picture, or a folder. JPEG is written with quality 95 and full colour resolution, all else without loss.",
)
@click.option(
    "--sigma",
    type=float,
    help="Standard deviation of the noise, 8-bit scale.  [default: estimated, region by region]",
)
@click.option(
    "--strength", type=float, default=1.0, show_default=True, help="From 0 (as it is) to 1 (cleaned), in between a mix."
)
@click.option(
    "--model",
    metavar="MODEL",
    help="What cleans: a model that keeps Denoises, or non-local-means, total-variation, wavelets.  [default: the "
    "photo denoiser, for grey or colour]",
)
@click.option(
    "--clamp", is_flag=True, help="A --sigma beyond the model's range becomes its largest; else it's refused."
)
@click.option(
    "--compare",
    metavar="PLACE",
    type=click.Path(path_type=Path),
    help="Also write before and after, their middles side by side: a picture, of several INPUTs a folder of them.",
)
@click.option("--force", is_flag=True, help="Write over inputs, and do finished pictures again.")
@count("--jobs", 1, "Pictures that are worked on at a time; they share the processor's threads.")
@click.option("--shard", metavar="I/N", type=Shard(), default=(1, 1), help="Only the I-th of N parts of the INPUTs.")
@as_json()
def command(
    inputs: tuple[Path, ...],
    out: Path,
    sigma: float | None,
    strength: float,
    model: str | None,
    clamp: bool,
    compare: Path | None,
    force: bool,
    jobs: int,
    shard: tuple[int, int],
    as_json: bool,
) -> None:
    """Remove noise from pictures.

    Several INPUTs or a folder give a folder of results with the same names; what is there already is not done again.
    EXIF, colour profile, transparency and 16 bits are kept. "-" is standard input, and standard output (as PNG).
    """
    import torch

    from imprior import opening
    from imprior.data.images import read_whole
    from imprior.data.writing import WRITES, check, write_picture
    from imprior.face.pictures import default_denoiser
    from imprior.promises import Denoises
    from imprior.tasks import denoise as task

    task.check_amounts(sigma, strength)
    everything = plan(inputs, out, kept=(*WRITES, ".npy"), apart=(compare,) if compare else ())
    several = len(inputs) > 1 or inputs[0].is_dir()
    mine = everything[shard[0] - 1 :: shard[1]]
    looks = _looks(compare, mine, several)
    jobs_left, finished = left(inputs, everything, mine, force=force, apart=list(looks.values()))
    opened = cache(lambda name: opening.model(name, Denoises).model)
    if model is not None:
        opened(model)

    def work(job: Job, tell: Tell) -> tuple[dict[str, Any], str]:
        picture, extras = read_whole(job.source)
        check(job.target, picture, extras)
        denoiser = opened(model or default_denoiser(picture))
        try:
            found = task.denoise_picture(denoiser, picture, sigma=sigma, strength=strength, clamp=clamp, tell=tell)
        except DataError as error:
            raise DataError(f"{job.source}: {error}") from None
        if job in looks:
            write_picture(looks[job], task.before_and_after(picture, found.picture))
        del picture
        write_picture(job.target, found.picture, extras=extras)
        return found.record(), _told(found)

    torch.set_num_threads(max(1, torch.get_num_threads() // jobs))
    each(
        jobs_left,
        work,
        out,
        label="denoising",
        as_json=as_json,
        workers=jobs,
        finished=finished,
    )


def _looks(compare: Path | None, jobs: list[Job], several: bool) -> dict[Job, Path]:
    """Where each job's picture of before and after goes."""
    from imprior.data.writing import WRITES

    if compare is None:
        return {}
    if several or compare.is_dir():
        return {job: compare / (job.name if job.name.suffix == ".png" else f"{job.name}.png") for job in jobs}
    if compare.suffix.lower() not in WRITES:
        raise DataError(f"{compare}: pictures are written as {', '.join(WRITES)}, not as '{compare.suffix}'")
    if any(job.target == compare for job in jobs):
        raise DataError(f"{compare}: --out and --compare are the same place")
    return dict.fromkeys(jobs, compare)


def _told(found: Denoised) -> str:
    """The noise level for people, where it was estimated."""
    if found.sigma is None or not found.estimated:
        return ""
    low, high = found.sigma
    return f"sigma estimated: {low:.1f}" + (f" to {high:.1f}, different by region" if low < high else "")
