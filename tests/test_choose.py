"""The page by task: rows are models that keep the promise, figures come from cards and result files alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from conftest import Ended
from imprior import face, runs
from imprior.errors import DataError
from imprior.tasks import choose

BITS = {"seed": 0, "images_sha256": "b" * 64, "sha256": "a" * 64, "binarization": "dynamic", "dequantisation": "none"}
DRAWN = {
    "measure": "FD-toy-v1",
    "images": "means",
    "binarization": "none",
    "neighbours": 5,
    "classifier_sha256": "c" * 64,
}


def card(*promises: str, data: str = "one", **figures: Any) -> dict[str, Any]:
    training = {"images": 6000, "seconds": 60.0, "processor": "toy", "threads": 1, "processes": 1}
    told = {"recipe": "toy-vae", "promises": promises, "parameters": 7, "bytes": 4000, "data": {"fingerprint": data}}
    return told | {"training": training, "figures": figures}


def nats(value: float, **protocol: Any) -> dict[str, Any]:
    told = BITS | {"samples": None} | protocol
    return {"n": 10, "nats": value, "bits_per_dim": 0.1, "standard_error": 1.0, "kind": "exact", "space": "binary"} | {
        "protocol": told
    }


def samples(**rows: float) -> dict[str, Any]:
    shares = {"precision": 0.5, "recall": 0.5, "coverage": 0.5}
    found = [{"model": name, "n": 5, "fd": fd, "ratio": 2 * fd} | shares for name, fd in rows.items()]
    return {"rows": found, "protocols": dict.fromkeys(rows, DRAWN)}


def sheet(sheets: list[choose.Sheet], topic: str) -> choose.Sheet:
    (found,) = [sheet for sheet in sheets if sheet.topic.name == topic]
    return found


def test_rows_are_the_models_that_keep_the_promise_and_gaps_are_named() -> None:
    cards = {"a": card("Scores", **nats(80.0)), "b": card("Scores"), "gan": card("Decodes", "Samples")}
    sheets = choose.run(cards, {"sample_quality_toy": samples(gan=1.5, stranger=0.1)})
    likelihood, drawing = sheet(sheets, "likelihood"), sheet(sheets, "drawing")
    assert likelihood.names() == ["a", "b"] and "| b | not measured |" in likelihood.markdown()
    assert drawing.names() == ["gan"] and "| gan | 3.00 | 1.500 |" in drawing.markdown()
    assert "not measured: a" not in drawing.markdown()
    cards["vae"] = card("Decodes", "Samples")
    assert (
        "not measured: vae" in sheet(choose.run(cards, {"sample_quality_toy": samples(gan=1.5)}), "drawing").markdown()
    )


def test_a_likelihood_that_is_given_the_label_has_a_column_of_its_own() -> None:
    cards = {"plain": card("Scores", **nats(80.0)), "told": card("Scores", **nats(79.0, conditional=True))}
    (table,) = sheet(choose.run(cards, {}), "likelihood").tables
    assert len(table.columns) == 2 and "class-conditional" in table.columns[1].title()
    assert not choose.best(choose.run(cards, {}))


def test_the_best_is_named_among_figures_of_one_protocol() -> None:
    cards = {name: card("Scores", "Samples", **nats(value)) for name, value in (("a", 80.0), ("b", 79.5))}
    rows = choose.best(choose.run(cards, {"sample_quality_toy": samples(a=1.0, b=2.0)}))
    assert [(row["best"], row["figure"]) for row in rows] == [("b", "79.50 ± 1.00"), ("a", "2.00")]


def test_models_of_different_images_stand_on_different_sheets() -> None:
    cards = {"a": card("Scores", **nats(80.0)), "b": card("Scores", data="two", **nats(81.0))}
    assert [s.names() for s in choose.run(cards, {}) if s.topic.name == "likelihood"] == [["a"], ["b"]]


def test_methods_that_learned_nothing_stand_beside_the_models_that_they_were_measured_with() -> None:
    rows = [{"method": name, "psnr_db": 20.0, "standard_error": 0.1} for name in ("a", "BM3D")]
    result = {"protocol": {"sigma": 0.5, "seed": 0, "fingerprint": "f", "n": 9}, "rows": rows}
    cards = {"a": card("Denoises"), "b": card("Denoises", data="two")}
    found = [s for s in choose.run(cards, {"denoising_toy": result}) if s.topic.name == "denoising"]
    assert [s.names() for s in found] == [["a", "BM3D"], ["b"]]


def test_every_model_has_its_cost() -> None:
    (table,) = sheet(choose.run({"a": card("Classifies")}, {}), "cost").tables
    found = {column.quantity: table.cells[0, i].mean for i, column in enumerate(table.columns)}
    assert found == {"training_minutes": 1, "training_images_per_second": 100, "parameters": 7, "kilobytes": 4}


def test_an_anomaly_figure_says_against_what() -> None:
    row = {"model": "a", "score": "joint (default)", "auroc": 0.9, "standard_error": 0.1, "detected": 0.5}
    result = {"protocol": {"split": "test", "false_alarms_asked": 0.01}, "rows": [row]}
    with pytest.raises(DataError, match="against"):
        choose.run({"a": card("Scores")}, {"anomaly": result})
    row["against"] = "clothes"
    assert "against clothes" in sheet(choose.run({"a": card("Scores")}, {"anomaly": result}), "anomaly").markdown()


def test_the_published_result_files_can_be_read() -> None:
    sheets = face.choose(results=Path(__file__).parents[1] / "benchmarks" / "results")
    measured = {s.topic.name for s in sheets if s.tables}
    assert measured == {topic.name for topic in choose.TOPICS}
    shown = {name for s in sheets if s.topic.name == "cost" for name in s.names()}
    assert shown == set(runs.embedded())


def test_the_page_by_task(imprior: Any, tmp_path: Path) -> None:
    (tmp_path / "sample_quality_toy.json").write_text(json.dumps(samples(**{"mnist-vae": 1.0})))
    page = tmp_path / "page.html"
    done: Ended = imprior("compare", "mnist-vae", "mnist-pca", "--results", tmp_path, "--html", page, "--json")
    assert done.code == 0, done.err
    (drawing,) = [s for s in json.loads(done.out)["sheets"] if s["topic"] == "drawing"]
    assert drawing["missing"] == ["mnist-pca"]
    text = page.read_text()
    assert "not measured: mnist-pca" in text and text.count("data:image/webp") == 1
    assert "http" not in text.replace("http-equiv", "")


def test_what_the_page_by_task_refuses(imprior: Any, tmp_path: Path) -> None:
    assert "no result files" in imprior("compare", "--all", "--results", tmp_path).line
    (tmp_path / "a.json").write_text("{")
    assert "a.json" in imprior("compare", "--all", "--results", tmp_path).line
    assert imprior("compare").code == 2
    assert imprior("compare", "--all", "--data", "digits").code == 2
