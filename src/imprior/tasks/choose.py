"""Which model for which task: what was measured of some models, a topic each, from cards and result files alone.

    cards ────────────────────────┐     a sheet for each topic and each set of training images:
    benchmarks/results/*.json ────┴──►  rows are the models that keep the topic's promise, columns quantity and protocol

Nothing is measured here. A figure that nobody measured is said to be missing, and figures of different protocols
never share a column (tasks.compare).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from imprior.tasks import compare
from imprior.tasks.compare import QUANTITIES, Quantity, Table
from imprior.tasks.results import records

NOT_MEASURED = "not measured"
_SAMPLES = ("measure", "images", "binarization", "neighbours", "classifier", "n")
_OTHERS = ("score", "against", "split")
_NOISE = ("sigma", "seed", "data", "n")
_DRAWING = ("batch", "precision", "threads", "machine")
_TRAINING = ("processor", "threads", "processes")


@dataclass(frozen=True)
class Topic:
    """Something that models are chosen for.

    Attributes:
        name: one word.
        title: the question.
        about: how to read the figures.
        promises: a model that keeps one of them has a row; empty for all models.
        quantities: what is looked at.
        headline: those by which the best model is named; empty where there is no best.
        apart: whether each protocol has a table of its own, because there are many quantities.
    """

    name: str
    title: str
    about: str
    promises: tuple[str, ...]
    quantities: Mapping[str, Quantity]
    headline: tuple[str, ...]
    apart: bool = False


TOPICS = (
    Topic(
        "likelihood",
        "Which model explains images best?",
        "Minus log-likelihood. Probabilities of binarized images, probabilities of 8-bit levels and densities are "
        "different things and stand in different columns, as do numbers of samples and likelihoods given the label. "
        "≤ marks a bound: the true value is at most the figure.",
        ("Scores",),
        {key: QUANTITIES[key] for key in ("nats", "bits_per_dim")},
        ("nats", "bits_per_dim"),
    ),
    Topic(
        "drawing",
        "Which model draws best?",
        "Distances between drawn and real images in the features of a classifier of our own (never FID). The Fréchet "
        "distance is given as a multiple of what as many real images reach; precision falls with odd images, recall "
        "and coverage with missing ones. Judge by eye too: the pictures are part of the answer.",
        ("Samples", "Decodes"),
        {
            "fd_ratio": Quantity("times real images'", True, _SAMPLES),
            "fd": Quantity("", True, _SAMPLES, digits=3),
            "precision": Quantity("", False, _SAMPLES, digits=3),
            "recall": Quantity("", False, _SAMPLES, digits=3),
            "coverage": Quantity("", False, _SAMPLES, digits=3),
        },
        ("fd_ratio",),
        apart=True,
    ),
    Topic(
        "reconstruction",
        "Which model gives images back?",
        "PSNR of what is left after coding and decoding. It rises with the size of the code, and a flow loses nothing "
        "at all: compare models whose codes are of one size.",
        ("Encodes",),
        {"psnr_db": QUANTITIES["psnr_db"]},
        ("psnr_db",),
    ),
    Topic(
        "anomaly",
        "Which model finds images of another kind?",
        "Area under the ROC curve of the default score, which was named before the test images were looked at: 0.5 is "
        "guessing, 1 is perfect.",
        ("Scores", "Encodes"),
        {
            "auroc": Quantity("", False, _OTHERS, "standard_error", 4),
            "detected": Quantity("share at the stated false alarms", False, (*_OTHERS, "false_alarms_asked"), digits=3),
        },
        ("auroc",),
    ),
    Topic(
        "denoising",
        "Which model removes noise?",
        "PSNR after cleaning, beside methods that learned nothing. Each column is one strength of noise on one set of "
        "images.",
        ("Denoises",),
        {"denoised_db": QUANTITIES["denoised_db"], "cleaned_db": Quantity("dB", False, _NOISE, "cleaned_error")},
        ("denoised_db", "cleaned_db"),
    ),
    Topic(
        "speed",
        "Which model draws fastest?",
        "Images a second, in batches. Models with a code decode it in one go; autoregressive models draw position "
        "after position.",
        ("Samples", "Decodes"),
        {"images_per_second": Quantity("", False, _DRAWING, digits=0)},
        ("images_per_second",),
    ),
    Topic(
        "cost",
        "What does a model cost?",
        "Time of training where it was trained (on a machine that did other work beside), parameters that gradients "
        "trained, and size of the weights' file; what was fitted in another way counts no parameters.",
        (),
        {
            "training_minutes": Quantity("", True, _TRAINING, digits=1),
            "training_images_per_second": Quantity("", False, _TRAINING, digits=0),
            "parameters": Quantity("", True, (), digits=0),
            "kilobytes": Quantity("of weights", True, (), digits=0),
        },
        (),
    ),
)


@dataclass(frozen=True)
class Sheet:
    """One topic's figures of the models of one set of images.

    Attributes:
        topic: what is asked.
        models: what the models have in common: "mnist".
        tables: one, or one for each protocol; none where nothing was measured.
        missing: models that keep the promise and of which nothing was measured.
    """

    topic: Topic
    models: str
    tables: tuple[Table, ...]
    missing: tuple[str, ...]

    def best(self) -> Iterator[tuple[str, str, str]]:
        """(column's title, best model, its figure) of each column of the topic's headline."""
        for table in self.tables:
            for position, column in enumerate(table.columns):
                name = table.best(position)
                if name is not None and column.quantity in self.topic.headline:
                    yield column.title(), name, table.cells[table.names.index(name), position].text(column.digits)

    def names(self) -> list[str]:
        """All models of the sheet, measured or not."""
        return list(dict.fromkeys([*(name for table in self.tables for name in table.names), *self.missing]))

    def notes(self) -> list[str]:
        """What is missing, in words."""
        return [f"{NOT_MEASURED}: {', '.join(self.missing)}."] if self.missing else []

    def markdown(self) -> str:
        """Tables and notes."""
        return "\n\n".join([*(table.markdown(NOT_MEASURED) for table in self.tables), *self.notes()])

    def record(self) -> dict[str, Any]:
        """JSON values."""
        tables = [table.record() for table in self.tables]
        return {"topic": self.topic.name, "models": self.models, "tables": tables, "missing": list(self.missing)}


def run(cards: Mapping[str, Mapping[str, Any]], results: Mapping[str, Mapping[str, Any]]) -> list[Sheet]:
    """All sheets, topic by topic.

    Args:
        cards: card.json of each model by name, with the size of its weights' file as "bytes" where it is known.
        results: result files by name without suffix; those of benchmarks that say nothing about models are passed by.

    Raises:
        DataError: a figure without its full protocol.
    """
    sets: dict[str, list[str]] = {}
    for name, card in cards.items():
        sets.setdefault(str(card["data"]["fingerprint"]), []).append(name)
    sheets = []
    for topic in TOPICS:
        for names in sets.values():
            found = _sheet(topic, {name: cards[name] for name in names}, results)
            if found.tables or found.missing:
                sheets.append(found)
    return sheets


def best(sheets: Sequence[Sheet]) -> list[dict[str, str]]:
    """The best model of each column that a topic is decided by, as far as it was measured; a row each."""
    return [
        {"task": sheet.topic.title, "models of": sheet.models, "best": name, "figure": figure, "measured as": title}
        for sheet in sheets
        for title, name, figure in sheet.best()
    ]


def _sheet(topic: Topic, cards: Mapping[str, Mapping[str, Any]], results: Mapping[str, Mapping[str, Any]]) -> Sheet:
    rows = [name for name, card in cards.items() if not topic.promises or set(topic.promises) & set(card["promises"])]
    known = [
        (name, record)
        for name, record in records(cards, results)
        if any(record.get(key) is not None for key in topic.quantities) and (name in rows or name not in cards)
    ]
    measured = {name for name, _ in known}
    rows += [name for name in dict.fromkeys(name for name, _ in known) if name not in rows]  # methods without a card
    groups: dict[str, list[tuple[str, Mapping[str, Any]]]] = {}
    for name, record in known:
        page = str([record["protocol"].get(key) for key in _SAMPLES]) if topic.apart else ""
        groups.setdefault(page, []).append((name, record))
    tables = []
    for group in groups.values():
        among = {name for name, _ in group} if topic.apart else set(rows)
        tables.append(compare.tabulate([name for name in rows if name in among], group, topic.quantities))
    kinds = dict.fromkeys(str(card["recipe"]).partition("-")[0] for card in cards.values())
    missing = tuple(name for name in rows if name not in measured) if topic.apart or not tables else ()
    return Sheet(topic, ", ".join(kinds), tuple(tables), missing)
