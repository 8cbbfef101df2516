"""The demonstration makes one page that needs nothing else, of every section."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import Ended
from imprior import demo, runs
from imprior.demo import sections

TINY = (*demo.OVERRIDES, "model.network.widths=32", "training.images=1280", "training.check=1280")


@pytest.mark.slow
def test_the_report_stands_alone(
    imprior: Callable[..., Ended], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sections, "JUDGED", 100)
    monkeypatch.setattr(sections, "SLOW", 5)
    trained = demo.train(tmp_path, minutes=None, overrides=TINY)
    told: list[tuple[int, int]] = []
    page = demo.write(tmp_path, trained, progress=lambda done, total: told.append((done, total))).read_text()
    assert told[-1] == (len(sections.SECTIONS), len(sections.SECTIONS))
    titles = re.findall(r"<h2>(.*?)</h2>", page)
    missing = {"photo-vae", "photo-denoiser"} - set(runs.embedded())  # each has one section of its own
    assert len(titles) == len(sections.SECTIONS) - len(missing)
    assert page.count("<img") >= 8
    sources = re.findall(r'(?:src|href)="([^"#]*)', page)
    assert all(source.startswith("data:image/") for source in sources if source)
    table = page[page.index("Side by side</h2>") :]
    assert sections.JUST_NOW in table
    classifiers = {name for name, run in runs.embedded().items() if run.read("card.json")["promises"] == ["Classifies"]}
    assert all(name in table for name in set(runs.embedded()) - classifiers if name.startswith("mnist-"))


@pytest.mark.slow
def test_a_second_demo_shows_the_first_ones_training(
    imprior: Callable[..., Ended], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sections, "SECTIONS", (sections.training,))
    monkeypatch.setattr(demo, "SECTIONS", (sections.training,))
    run = demo.train(tmp_path, minutes=None, overrides=TINY)
    before = run.weights_file.read_bytes()
    # the same overrides, as the command has none of its own
    monkeypatch.setattr(demo.train, "__kwdefaults__", demo.train.__kwdefaults__ | {"overrides": ()})
    done = imprior("demo", "-o", tmp_path, "--json")
    assert done.code == 0, done.err
    assert str(tmp_path / "report.html") in done.out
    assert run.weights_file.read_bytes() == before
