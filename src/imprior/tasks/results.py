"""What cards and result files say of models, as records that can stand in one table (tasks.compare).

Result files are those that the scripts in benchmarks/ write, known by what their names begin with.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def records(
    cards: Mapping[str, Mapping[str, Any]], results: Mapping[str, Mapping[str, Any]]
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(name, figures with their protocol) from everything that is known of these models.

    Args:
        cards: card.json of each model by name, with the size of its weights' file as "bytes" where it is known.
        results: result files by name without suffix; those that say nothing about models are passed by. Methods that
            were measured beside the models, and have no card, are given too.
    """
    for name, card in cards.items():
        yield from ((name, record) for record in _of_card(card))
    for file, result in results.items():
        for start, read in READERS.items():
            if file.startswith(start):
                found = list(read(result))
                if any(name in cards for name, _ in found):
                    allowed = {name for name, record in found if name in cards or record.get("peer")}
                    yield from ((name, record) for name, record in found if name in allowed)


def _of_card(card: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """What `evaluate` measured, and what the model costs."""
    figures = card.get("figures", {})
    if "images_sha256" in figures.get("protocol", {}):
        yield _one_unit(figures)
    training = card["training"]
    seconds, images = float(training["seconds"]), training["images"]
    yield {
        "training_minutes": seconds / 60,
        "training_images_per_second": images / seconds if seconds > 0 else None,
        "parameters": card["parameters"],
        "kilobytes": card["bytes"] / 1000 if "bytes" in card else None,
        "protocol": training,
    }


def _one_unit(figures: Mapping[str, Any]) -> Mapping[str, Any]:
    """Of the two units of a likelihood the one that is usual: nats of bits, bits per dimension of levels."""
    bits = figures.get("space") != "binary" and figures.get("bits_per_dim") is not None
    return {k: v for k, v in figures.items() if k != ("nats" if bits else "bits_per_dim")}


def _likelihoods(result: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for column in result["comparison"]["columns"]:
        protocol = column["protocol"]
        for name, row in column["rows"].items():
            figures = {column["quantity"]: row["mean"], "standard_error": row["standard_error"], "protocol": protocol}
            kind = "bound" if row["bound"] else "exact"
            figures |= {"kind": kind, "space": protocol.get("space"), "n": protocol["n"]}
            if (column["quantity"] == "nats") == (protocol.get("space") == "binary"):
                yield name, figures


def _samples(result: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for row in result["rows"]:
        if row.get("temperature", 1) != 1:  # a trade of variety for likeness, and no figure of the model as it is
            continue
        protocol = result["protocols"][row["model"]]
        classifier = str(protocol["classifier_sha256"])[:8]
        yield row["model"], row | {"fd_ratio": row["ratio"], "protocol": protocol | {"classifier": classifier}}


def _anomalies(result: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for row in result["rows"]:
        score, _, default = row["score"].partition(" ")
        if default:
            told = {"score": score, "against": row.get("against")}
            yield row["model"], row | {"protocol": result["protocol"] | told}


def _cleaned(result: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    protocol = result["protocol"] | {"data": result["protocol"]["fingerprint"]}
    for row in result["rows"]:
        figures = {"cleaned_db": row["psnr_db"], "cleaned_error": row["standard_error"], "n": protocol["n"]}
        yield row["method"], figures | {"protocol": protocol, "peer": True}


def _drawing(result: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for row in result["rows"]:
        yield row["model"], {"images_per_second": row["images_per_second"], "protocol": result["protocol"]}


# Which result files say something about models, by what their names begin with.
READERS = {
    "likelihood": _likelihoods,
    "sample_quality_": _samples,
    "anomaly": _anomalies,
    "denoising_": _cleaned,
    "sampling_speed": _drawing,
}
