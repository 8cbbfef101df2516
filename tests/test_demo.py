"""The demonstration makes one page that needs nothing else, of every section."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from conftest import Ended
from imprior import demo, runs
from imprior.coding import classical
from imprior.demo import photographs, sections
from imprior.face import compressing
from imprior.report.page import Table
from test_codec_whole import made
from test_compress import picture

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
    missing = {"photo-vae", "photo-denoiser", "photo-codec"} - set(runs.embedded())  # each has one section of its own
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


def test_a_codec_is_shown_beside_others_at_equal_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    model = made(0.0)
    monkeypatch.setattr(compressing, "codec", lambda _: model)
    monkeypatch.setattr(compressing, "maker", lambda *_: model)
    given = torch.from_numpy(picture(200, 300)).permute(2, 0, 1)[None] / 255
    monkeypatch.setattr(runs, "embedded", dict)
    assert photographs.in_few_bytes({"noisy": given}) is None
    monkeypatch.setattr(runs, "embedded", lambda: {"photo-codec": None})
    section = photographs.in_few_bytes({"noisy": given})
    assert section is not None
    table = next(part for part in section.parts if isinstance(part, Table))
    ours, avif = table.rows[0][1], table.rows[0][3]
    assert isinstance(ours, int) and isinstance(avif, int) and 0 < avif <= ours


def test_files_of_at_most_so_many_bytes_are_the_best_of_these() -> None:
    jpeg, given = classical.codec("jpeg"), picture(100, 100)
    sizes = [len(jpeg.encode(given, quality)) for quality in range(1, 96)]
    for most in (sizes[0], sizes[40] + 1, 10**6):
        assert len(photographs._in_bytes(jpeg, given, most)) == max(size for size in sizes if size <= most)
    assert len(photographs._in_bytes(jpeg, given, 1)) == sizes[0]
