"""Which model for which task."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imprior.tasks.choose import Sheet


def choose(models: Sequence[str | Path] | None = None, results: str | Path | None = None) -> list[Sheet]:
    """What was measured of some models, by task: likelihood, drawing, reconstruction, and so on.

    Nothing is measured here; `imprior.tasks.choose.best` names the best of each column.

    Args:
        models: embedded names and run folders; None takes all embedded models.
        results: folder of result files, as the scripts in benchmarks/ write them; None takes the figures in the
            models' cards alone.

    Returns:
        A sheet for each task and each set of training images.

    Raises:
        RunError: no such model.
        DataError: no such folder, a file that is no JSON, or a figure without its protocol.
    """
    from imprior import runs
    from imprior.tasks import choose as task

    cards = {}
    for name in runs.embedded() if models is None else models:
        run = runs.find(name)
        cards[str(name)] = run.read("card.json") | {"bytes": run.weights_file.stat().st_size}
    return task.run(cards, {} if results is None else _results(Path(results)))


def _results(folder: Path) -> dict[str, Any]:
    import json

    from imprior.errors import DataError

    files = sorted(folder.glob("*.json"))
    if not files:
        raise DataError(f"{folder}: no result files (*.json) there")
    found = {}
    for file in files:
        try:
            found[file.stem] = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(f"{file}: can't be read as JSON ({error})") from None
    return found
