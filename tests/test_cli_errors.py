"""What a person can do wrong at the command line: one clear line, the right exit code, nothing lost or half-written."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import SHORT, Ended, shapes
from imprior import runs
from imprior.errors import RunError

Command = Callable[..., Ended]


def refused(ended: Ended, *words: str, code: int = 2) -> None:
    """One line on stderr with all these words, nothing on stdout."""
    assert ended.code == code
    assert ended.out == ""
    for word in words:
        assert word in ended.line, ended.line


def broken(run: Path, place: Path) -> Path:
    """A copy of a run to be damaged."""
    return Path(shutil.copytree(run, place / "damaged"))


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["trian"], ["'trian'", "did you mean 'train'?"]),
        (["train"], ["RECIPE", "imprior train --help"]),
        (["train", "mnist-ae", "--dat", "x"], ["--dat"]),
        (["train", "mnist-ae"], ["--data", "--out"]),
        (["train", "mnist-ae", "--data", "x", "--out", "y", "--minutes", "0"], ["--minutes"]),
        (["train", "mnist-vea", "--dry-run"], ["'mnist-vea'", "mnist-vae"]),
        (["train", "mnist-vae", "objective.bta=4", "--dry-run"], ["objective.bta", "objective.beta"]),
        (["train", "mnist-vae", "mdel.latent=4", "--dry-run"], ["mdel.latent", "model.latent"]),
        (["train", "mnist-vae", "objective.beta=high", "--dry-run"], ["objective.beta", "'high'", "a number"]),
        (["train", "mnist-vae", "model.latent=1.5", "--dry-run"], ["model.latent", "1.5", "whole number"]),
        (["train", "mnist-vae", "model.latent=0", "--dry-run"], ["model.latent=0", "at least 1"]),
        (["train", "mnist-vae", "optimiser.name=adagard", "--dry-run"], ["optimiser.name", "adagrad"]),
        (["train", "mnist-vae", "model.prior=flo", "--dry-run"], ["model.prior", "flow"]),
        (["train", "mnist-vae", "latent", "--dry-run"], ["'latent'", "key=value"]),
        (["info", "mnist-vea"], ["mnist-vea"]),
        (["evaluate", "mnist-vae"], ["--data"]),
        (["tune", "mnist-ae", "--data", "x", "--out", "y", "--grid", "model.latent"], ["--grid model.latent"]),
        (["probe", "x", "--data", "y", "--per-class", "ten"], ["'ten'"]),
        (["rd-curve", "x"], ["--models", "--codecs"]),
        (["denoise", "x.png"], ["--out"]),
        (["corrupt", "x.png", "-o", "y.png", "--kind", "gausian"], ["gausian", "gaussian"]),
        (["sample", "x", "-o", "y.docx"], ["y.docx", ".png"]),
        (["embed", "x", "--data", "y", "-o", "codes.txt"], ["codes.txt", ".npz"]),
        (["reconstruct", "x", "-o", "y.png"], ["--data"]),
        (["compare", "x", "--plot", "y.jpg"], ["y.jpg", ".svg"]),
    ],
    ids=lambda value: " ".join(value) if value and value[0].isalpha() else "",
)
def test_wrong_words_are_refused_in_one_line(args: list[str], words: list[str], imprior: Command) -> None:
    refused(imprior(*args), *words)


def test_missing_and_empty_sources(imprior: Command, trained: dict[str, Path], tmp_path: Path) -> None:
    missing, empty = tmp_path / "missing", tmp_path / "empty"
    empty.mkdir()
    for source in (missing, empty):
        refused(imprior("train", "mnist-ae", "--data", source, "--out", tmp_path / "run"), str(source))
        refused(imprior("evaluate", trained["ae"], "--data", source), str(source))
        refused(imprior("data", source), str(source))
    assert not (tmp_path / "run").exists()


def test_pictures_that_are_none(imprior: Command, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number, image in enumerate(shapes(20, 0)[0]):
        Image.fromarray(image).save(folder / f"{number}.jpg")
    text, cut = folder / "text.png", folder / "cut.jpg"
    text.write_text("hello")
    refused(imprior("train", "mnist-ae", *SHORT, "--data", folder, "--out", tmp_path / "run"), str(text))
    text.unlink()
    cut.write_bytes((folder / "0.jpg").read_bytes()[:-200])
    refused(imprior("train", "mnist-ae", *SHORT, "--data", folder, "--out", tmp_path / "run"), str(cut))
    assert not (tmp_path / "run").exists()
    done = imprior("train", "mnist-ae", *SHORT, "--data", folder, "--out", tmp_path / "run", "--on-broken", "skip")
    assert done.code == 0 and "imprior: warning: " in done.err and str(cut) in done.err
    listed = json.loads(imprior("data", folder, "--json").out)["broken"]
    assert [entry["image"] for entry in listed] == [str(cut)]
    refused(imprior("corrupt", cut, "-o", tmp_path / "out.png"), str(cut))
    assert not (tmp_path / "out.png").exists()


def test_arrays_that_are_no_images(imprior: Command, tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    np.save(path, np.full((20, 8, 8), np.nan, np.float32))
    refused(imprior("train", "mnist-ae", "--data", path, "--out", tmp_path / "run"), str(path), "NaN")
    np.savez(tmp_path / "y.npz", x=np.zeros((20, 8, 8), np.uint8), y=np.zeros(19, np.int64))
    refused(imprior("train", "mnist-ae", "--data", tmp_path / "y.npz", "--out", tmp_path / "run"), "20", "19")


def test_images_of_another_size(imprior: Command, trained: dict[str, Path], tmp_path: Path) -> None:
    source, picture = tmp_path / "other.npz", tmp_path / "other.png"
    np.savez(source, x_test=np.zeros((20, 16, 20), np.uint8))
    Image.fromarray(np.zeros((16, 20), np.uint8)).save(picture)
    for verb, *more in (
        ["evaluate"],
        ["reconstruct", "-o", tmp_path / "a.png"],
        ["embed", "-o", tmp_path / "a.npz"],
        ["traverse", "-o", tmp_path / "a.png"],
        ["interpolate", "-o", tmp_path / "a.png"],
    ):
        refused(imprior(verb, trained["vae"], "--data", source, *more), "28", "16")
        refused(imprior(verb, trained["ae"], "--data", source, *more), "28", "16")
    refused(imprior("denoise", picture, "-o", tmp_path / "b.png", "--model", trained["vae"]), "28", "16")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other.npz", "other.png"]


def test_promises_that_are_not_kept(imprior: Command, trained: dict[str, Path], bars: Path, tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    Image.fromarray(np.zeros((28, 28), np.uint8)).save(picture)
    refused(imprior("denoise", picture, "-o", tmp_path / "b.png", "--model", trained["ae"]), "Denoises", "ae")
    refused(imprior("reconstruct", "wavelets", "--data", bars, "-o", tmp_path / "b.png"), "Encodes", "wavelets")
    refused(imprior("sample", trained["ae"], "--label", 3, "-o", tmp_path / "b.png"), "no classes")


@pytest.mark.parametrize("damage", ["missing", "truncated", "foreign", "text"])
def test_damaged_weights(damage: str, imprior: Command, trained: dict[str, Path], bars: Path, tmp_path: Path) -> None:
    run = broken(trained["ae"], tmp_path)
    weights = run / "weights.safetensors"
    if damage == "missing":
        weights.unlink()
    elif damage == "truncated":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif damage == "foreign":
        shutil.copy(trained["vae"] / "weights.safetensors", weights)
    else:
        weights.write_text("hello")
    refused(imprior("evaluate", run, "--data", bars), str(run))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", ["recipe.json"]),
        ("[]", ["recipe.json"]),
        ("{}", ["recipe.json"]),
        ('{"type": "os.system"}', ["os.system"]),
        ('{"type": "recipes.Recipe", "version": 99}', ["version 99"]),
    ],
)
def test_damaged_recipes(
    text: str, words: list[str], imprior: Command, trained: dict[str, Path], bars: Path, tmp_path: Path
) -> None:
    run = broken(trained["ae"], tmp_path)
    (run / "recipe.json").write_text(text)
    refused(imprior("evaluate", run, "--data", bars), *words)


def test_folders_that_are_no_runs(imprior: Command, bars: Path, tmp_path: Path) -> None:
    refused(imprior("info", tmp_path), str(tmp_path), "recipe.json")
    refused(imprior("train", "mnist-ae", *SHORT, "--data", bars, "--out", bars), str(bars), "in the way")


def test_runs_are_not_trained_over(imprior: Command, trained: dict[str, Path], bars: Path, tmp_path: Path) -> None:
    run = trained["ae"]
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    refused(imprior("train", "mnist-ae", *SHORT, "--data", bars, "--out", run), "--resume")
    refused(imprior("train", "mnist-vae", "--data", bars, "--out", run, "--resume"), "mnist-ae")
    refused(imprior("train", "mnist-ae", "model.latent=5", "--data", bars, "--out", run, "--resume"), "model.latent")
    np.savez(tmp_path / "other.npz", x=shapes(100, 9)[0])
    refused(imprior("train", "mnist-ae", "--data", tmp_path / "other.npz", "--out", run, "--resume"), "other data")
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_places_that_cannot_be_written(imprior: Command, trained: dict[str, Path], bars: Path, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("in the way")
    picture = tmp_path / "p.png"
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(picture)
    for args in (
        ["train", "mnist-ae", *SHORT, "--data", bars, "--out", file / "run"],
        ["sample", trained["ae"], "-o", file / "a.png"],
        ["embed", trained["ae"], "--data", bars, "-o", file / "a.npz"],
        ["corrupt", picture, "-o", file / "a.png"],
        ["compare", trained["ae"], "--data", bars, "--html", file / "a.html"],
        [
            "tune",
            "mnist-ae",
            *SHORT,
            "--data",
            bars,
            "--out",
            file / "t",
            "--grid",
            "model.latent=2",
            "--folds",
            2,
            "--criterion",
            "psnr",
        ],
    ):
        refused(imprior(*args), "can't write", str(file))
    assert file.read_text() == "in the way"


def test_a_full_disk_leaves_what_was_there(
    imprior: Command, trained: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "a.png"
    assert imprior("sample", trained["ae"], "-o", out).code == 0
    before = out.read_bytes()

    def full(handle: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    refused(imprior("sample", trained["ae"], "--seed", 1, "-o", out), "No space left", str(out))
    assert out.read_bytes() == before and [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_full_disk_behind_stdout(trained: dict[str, Path]) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "imprior", "info", str(trained["ae"])],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 2
    assert done.stderr == "imprior: error: No space left on device\n"


def test_splits_that_a_source_lacks(imprior: Command, trained: dict[str, Path], tmp_path: Path) -> None:
    source = tmp_path / "whole.npz"
    np.savez(source, x=shapes(30, 0)[0])
    refused(imprior("evaluate", trained["ae"], "--data", source), "no test part", "'all'")
    assert imprior("evaluate", trained["ae"], "--data", source, "--split", "all").code == 0
    refused(imprior("probe", trained["ae"], "--data", source), "labels")


def test_outputs_that_would_fall_on_each_other(imprior: Command, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / folder / "same.png")
    both = [tmp_path / folder / "same.png" for folder in "ab"]
    refused(imprior("corrupt", *both, "-o", tmp_path / "out"), "would both be written")
    refused(imprior("corrupt", *both, "-o", both[0]), "want a folder")
    assert not (tmp_path / "out").exists()


def test_unforeseen_trouble_with_files_is_one_line(
    imprior: Command, trained: dict[str, Path], bars: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", "/somewhere")

    monkeypatch.setattr(runs.Run, "read", denied)
    refused(imprior("evaluate", trained["ae"], "--data", bars), "/somewhere: Permission denied")


@pytest.mark.slow
def test_ctrl_c_leaves_a_run_that_can_be_resumed(imprior: Command, bars: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    given = ["train", "mnist-ae", "training.images=60000", "training.batch=20", "training.check=60000",
             "--data", str(bars), "--out", str(out)]  # fmt: skip
    process = subprocess.Popen([sys.executable, "-m", "imprior", *given], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (out / "log.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130, said
    last = said.splitlines()[-1]
    assert last.startswith("imprior: error: interrupted; go on with: imprior train mnist-ae") and "--resume" in last
    seen = runs.Run(out).read("card.json")["training"]
    assert 0 < seen["images"] < 60_000 and not seen["finished"]
    assert imprior("evaluate", out, "--data", bars, "--json").code == 0, "what was learned so far can be used"
    assert imprior("train", "mnist-ae", "--data", bars, "--out", out, "--resume", "--json").code == 0
    finished = runs.Run(out).read("card.json")["training"]
    assert finished["images"] == 60_000 and finished["finished"]


def test_ctrl_c_elsewhere_is_130(imprior: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    from imprior import face

    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(face, "list_recipes", interrupted)
    refused(imprior("recipes"), "interrupted", code=130)


def test_errors_carry_their_exit_code() -> None:
    assert RunError("x").exit_code == 2
