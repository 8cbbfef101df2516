"""Models before people: blind pairs to vote on, and what the votes say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imprior.errors import DataError

if TYPE_CHECKING:
    from imprior.opening import Given
    from imprior.tasks.judge import Pair, Tally


def judge(
    models: Sequence[Any],
    *,
    n: int = 50,
    real: Given | None = None,
    seed: int = 0,
    draw: bool = False,
) -> list[Pair]:
    """Blind pairs of every two models' images, or of a model's and real ones; `judging_page` makes a page of them.

    Args:
        models: each keeps `Samples` or `Decodes`; two, or one beside `real`.
        n: pairs of every two.
        real: images that take part as if a model had drawn them; of a source, of its test part where it has one.
        seed: of samples, sides and order.
        draw: as `sample`.

    Raises:
        CapabilityError: a model can't draw.
        DataError: fewer than two sides, too few real images, or images of different shapes.
    """
    import torch

    from imprior import opening, randomness
    from imprior.face.using import sample
    from imprior.tasks import judge as task

    opened = [opening.model(given) for given in models]
    names = [one.name for one in opened] + (["real images"] if real is not None else [])
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"{twice[0]} is named twice: it would meet itself")
    count = task.needed(len(names), n)
    makers = {one.name: sample(one.model, count, seed=seed, draw=draw) for one in opened} if len(names) > 1 else {}
    if real is not None and opened:
        images = opening.images(real, opened[0].data)
        order = torch.randperm(len(images), generator=randomness.generator(seed, "real"))
        makers["real images"] = images.x(order[:count].sort().values)
    return task.run(makers, n, rng=randomness.generator(seed, "judge"))


def judging_page(pairs: Sequence[Pair]) -> str:
    """The HTML page on which a person votes: one file that needs no network.

    Whose image is whose is in the page, unreadable at a glance but no secret.
    """
    from imprior.report import grid, judging
    from imprior.tasks import judge as task

    drawn = [tuple(grid.encoded(grid.picture(image)) for image in (pair.left, pair.right)) for pair in pairs]
    return judging.render([(left, right) for left, right in drawn], task.seal(pairs), form=task.FORMAT)


def tally(votes: Sequence[str | Path]) -> Tally:
    """Which maker's images people preferred, with intervals; the votes of several files add up.

    Args:
        votes: files that a page of `judging_page` saved.

    Raises:
        DataError: a file that isn't there, or holds no votes.
    """
    from imprior.tasks import judge as task

    return task.tally(task.read_votes(_text(Path(path)), str(path)) for path in votes)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: can't be read ({getattr(error, 'strerror', None) or 'not text'})") from None
