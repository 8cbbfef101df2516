"""`imprior denoise`: every kind of file, many files, and everything that can go wrong with them."""

from __future__ import annotations

import io
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image, ImageCms

import imprior as package
from conftest import Ended
from imprior import opening
from imprior.cli import _pictures
from imprior.data.extras import Extras
from imprior.data.images import read_picture
from imprior.data.writing import write_picture
from imprior.face.pictures import COLOUR, GREY, default_denoiser
from toys import LocalShrinkage

Command = Callable[..., Ended]
TOY = LocalShrinkage()


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `--model` and the default stand for here, unless it is a classical denoiser."""
    real = opening.model

    def model(given: object, promise: type | None = None) -> object:
        return SimpleNamespace(model=TOY) if given in ("non-local-means", "toy", COLOUR, GREY) else real(given, promise)

    monkeypatch.setattr(opening, "model", model)


def noise(*form: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(60, 196, form, np.uint8)


def refused(ended: Ended, *words: str, code: int = 2) -> None:
    """One line on stderr with all these words, nothing on stdout."""
    assert ended.code == code and ended.out == "", ended
    for word in words:
        assert word in ended.line, ended.line


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with three pictures, one of them deeper."""
    folder = tmp_path / "photos"
    for number, name in enumerate(("a.png", "deep/b.jpg", "deep/c.bmp")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise(24, 30, 3, seed=number)).save(folder / name)
    return folder


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


# One picture


def test_a_picture_and_its_noise_level(imprior: Command, tmp_path: Path) -> None:
    source, target = tmp_path / "a.png", tmp_path / "new" / "b.png"
    Image.fromarray(noise(24, 30, 3)).save(source)
    done = imprior("denoise", source, "-o", target)
    assert done.code == 0 and done.err.startswith("sigma estimated: ") and "1 picture written" in done.err
    assert np.array_equal(read_picture(target), package.denoise(noise(24, 30, 3), model=TOY))
    told = json.loads(imprior("denoise", source, "-o", target, "--sigma", 12, "--json").out)
    assert told["done"] == [{"input": str(source), "output": str(target), "sigma": [12, 12], "estimated": False}]
    half = imprior("denoise", source, "-o", target, "--sigma", 30, "--strength", 0.5)
    assert half.code == 0 and "sigma" not in half.err
    assert np.array_equal(read_picture(target), package.denoise(noise(24, 30, 3), 30, 0.5, model=TOY))


def test_noise_that_differs_is_told_so(imprior: Command, tmp_path: Path) -> None:
    uneven = np.random.default_rng(0).normal(120, np.where(np.arange(400) < 200, 5, 30), (200, 400)).clip(0, 255)
    Image.fromarray(uneven.astype(np.uint8)).save(tmp_path / "a.png")
    assert "different by region" in imprior("denoise", tmp_path / "a.png", "-o", tmp_path / "b.png").err


@pytest.mark.parametrize("amount", [("--sigma", 0), ("--strength", 0)])
def test_no_noise_or_no_strength_changes_nothing(imprior: Command, amount: tuple[str, int], tmp_path: Path) -> None:
    for form in ((9, 7), (9, 7, 2), (9, 7, 3), (9, 7, 4)):
        write_picture(tmp_path / "a.png", noise(*form))
        assert imprior("denoise", tmp_path / "a.png", "-o", tmp_path / "b.png", *amount).code == 0
        assert np.array_equal(read_picture(tmp_path / "b.png"), noise(*form))


def kinds() -> dict[str, Callable[[Path], None]]:
    colour = noise(20, 22, 4)
    deep = np.random.default_rng(1).integers(0, 65536, (20, 22, 4), np.uint16)
    rgb = Image.fromarray(colour[..., :3])
    return {
        "grey.png": lambda p: write_picture(p, colour[..., 0]),
        "grey and alpha.png": lambda p: write_picture(p, colour[..., :2]),
        "colour.png": lambda p: write_picture(p, colour[..., :3]),
        "alpha.png": lambda p: write_picture(p, colour),
        "alpha.webp": lambda p: write_picture(p, colour),
        "deep grey.png": lambda p: write_picture(p, deep[..., 0]),
        "deep grey.tif": lambda p: write_picture(p, deep[..., 0]),
        "deep colour.png": lambda p: write_picture(p, deep[..., :3]),
        "deep colour.tif": lambda p: write_picture(p, deep[..., :3]),
        "deep alpha.png": lambda p: write_picture(p, deep),
        "deep alpha.tif": lambda p: write_picture(p, deep),
        "palette.png": lambda p: rgb.quantize(64).save(p),
        "palette.gif": lambda p: rgb.quantize(64).save(p),
        "cmyk.tif": lambda p: rgb.convert("CMYK").save(p),
        "cmyk.jpg": lambda p: rgb.convert("CMYK").save(p, quality=95),
        "bits.png": lambda p: Image.fromarray(colour[..., 0] > 128).save(p),
        "colour.bmp": lambda p: rgb.save(p),
        "floats.npy": lambda p: np.save(p, np.random.default_rng(0).normal(0.5, 0.4, (20, 22)).astype(np.float32)),
    }


@pytest.mark.parametrize("name", kinds())
def test_every_kind_of_file(imprior: Command, name: str, tmp_path: Path) -> None:
    source = tmp_path / "in" / name
    source.parent.mkdir()
    kinds()[name](source)
    done = imprior("denoise", source.parent, "-o", tmp_path / "out", "--sigma", 20)
    if source.suffix == ".npy":  # no picture that a folder is searched for
        assert done.code == 2
        done = imprior("denoise", source, source, "-o", tmp_path / "out", "--sigma", 20)
        assert done.code == 2 and "would both be written" in done.line
        (tmp_path / "out").mkdir()
        done = imprior("denoise", source, "-o", tmp_path / "out", "--sigma", 20)
    assert done.code == 0, done.err
    (target,) = (tmp_path / "out").iterdir()
    assert target.name == (name if source.suffix in (".png", ".jpg", ".webp", ".tif", ".npy") else f"{source.stem}.png")
    given, found = read_picture(source), read_picture(target)
    expected = package.denoise(given, 20, model=TOY)
    assert found.dtype == given.dtype and found.shape == given.shape
    assert np.array_equal(found, expected) or source.suffix == ".jpg"
    if given.ndim == 3 and given.shape[2] in (2, 4):
        assert np.array_equal(found[..., -1], given[..., -1])


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_exif_and_profile_are_kept_and_no_picture_is_turned_twice(
    imprior: Command, suffix: str, tmp_path: Path
) -> None:
    tags = Image.Exif()
    tags[ExifTags.Base.Orientation], tags[ExifTags.Base.Make] = 6, "Camera"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    source, target = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    write_picture(source, noise(20, 30, 3), extras=Extras(tags.tobytes(), profile))
    assert imprior("denoise", source, "-o", target, "--sigma", 10).code == 0
    with Image.open(target) as image:
        assert image.size == (20, 30) and image.info["icc_profile"] == profile
        kept = image.getexif()
    assert kept[ExifTags.Base.Make] == "Camera" and kept.get(ExifTags.Base.Orientation, 1) == 1
    upright = package.denoise(read_picture(source), 10, model=TOY)
    assert np.abs(read_picture(target).astype(int) - upright).max() <= (30 if suffix == ".jpg" else 0)


def test_standard_input_and_output(imprior: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    given, out = io.BytesIO(), io.BytesIO()
    Image.fromarray(noise(9, 8, 3)).save(given, "PNG")
    given.seek(0)
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=given))
    real = sys.stdout

    class Out:
        buffer = out
        write, flush = real.write, real.flush

    monkeypatch.setattr("sys.stdout", Out())
    done = imprior("denoise", "-", "-o", "-", "--sigma", 20)
    assert done.code == 0
    out.seek(0)
    assert np.array_equal(np.asarray(Image.open(out)), package.denoise(noise(9, 8, 3), 20, model=TOY))
    refused(imprior("denoise", "-", "-o", "-", "--json"), "not both")


def test_before_and_after(imprior: Command, photos: Path, tmp_path: Path) -> None:
    look = tmp_path / "look.png"
    assert imprior("denoise", photos / "a.png", "-o", tmp_path / "b.png", "--compare", look).code == 0
    shown = read_picture(look)
    assert shown.shape == (24, 30 + 4 + 30, 3)
    assert np.array_equal(shown[:, :30], read_picture(photos / "a.png"))
    assert np.array_equal(shown[:, 34:], read_picture(tmp_path / "b.png"))
    done = imprior("denoise", photos, "-o", tmp_path / "out", "--compare", tmp_path / "looks")
    assert done.code == 0 and files(tmp_path / "looks") == ["a.png", "deep/b.jpg.png", "deep/c.png"]
    refused(imprior("denoise", photos / "a.png", "-o", tmp_path / "c.png", "--compare", "look.docx"), "look.docx")
    same = tmp_path / "c.png"
    refused(imprior("denoise", photos / "a.png", "-o", same, "--compare", same), "same place")
    refused(imprior("denoise", photos / "a.png", "-o", same, "--compare", photos / "a.png"), "over an input")


def test_without_a_model_the_kind_of_picture_decides() -> None:
    grey, colour = ((9, 8), (9, 8, 1), (9, 8, 2)), ((9, 8, 3), (9, 8, 4))
    assert {default_denoiser(noise(*form)) for form in grey} == {"photo-denoiser-grey"}
    assert {default_denoiser(noise(*form)) for form in colour} == {"photo-denoiser"}


# Many pictures


def test_folders_keep_names_and_finished_pictures_are_not_done_again(
    imprior: Command, photos: Path, tmp_path: Path
) -> None:
    out = photos / "clean"  # inside of the inputs: results are no inputs
    first = json.loads(imprior("denoise", photos, "-o", out, "--json").out)
    assert files(out) == ["a.png", "deep/b.jpg", "deep/c.png"]
    assert len(first["done"]) == 3 and first["failed"] == first["finished"] == []
    assert all(entry["estimated"] and len(entry["sigma"]) == 2 for entry in first["done"])
    (out / "a.png").unlink()
    (out / "deep/c.png").write_text("kept")
    again = imprior("denoise", photos, "-o", out)
    assert again.code == 0 and "1 picture written, 2 finished before" in again.err
    assert (out / "deep/c.png").read_text() == "kept" and (out / "a.png").exists()
    assert len(json.loads(imprior("denoise", photos, "-o", out, "--force", "--json").out)["done"]) == 3
    assert (out / "deep/c.png").read_bytes()[:4] == b"\x89PNG"


def test_jobs_give_what_one_gives(imprior: Command, photos: Path, tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    for jobs in (1, 3):
        assert imprior("denoise", photos, "-o", tmp_path / str(jobs), "--jobs", jobs).code == 0
    torch.set_num_threads(threads)
    assert files(tmp_path / "1") == files(tmp_path / "3")
    for name in files(tmp_path / "1"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "3" / name).read_bytes()


def test_shards_are_disjoint_and_whole(imprior: Command, photos: Path, tmp_path: Path) -> None:
    parts = [
        json.loads(imprior("denoise", photos, "-o", tmp_path / "out", "--shard", f"{i}/4", "--json").out)
        for i in (1, 2, 3, 4)
    ]
    assert [len(part["done"]) for part in parts] == [1, 1, 1, 0]
    assert len(files(tmp_path / "out")) == 3
    for wrong in ("0/2", "3/2", "2", "1/x", "-1/2"):
        refused(imprior("denoise", photos, "-o", tmp_path / "out", "--shard", wrong), wrong)


def test_what_can_be_done_is_done(imprior: Command, photos: Path, tmp_path: Path) -> None:
    for name, data in (
        ("text.png", b"hello"),
        ("empty.jpg", b""),
        ("phone.heic", b"\0\0\0\x18ftypheic"),
        ("x.nef", b"x"),
    ):
        (photos / name).write_bytes(data)
    for jobs in (1, 2):
        done = imprior("denoise", photos, "-o", tmp_path / f"out{jobs}", "--json", "--jobs", jobs)
        assert done.code == 3
        assert {Path(entry["input"]).name for entry in json.loads(done.out)["failed"]} == {
            "text.png", "empty.jpg", "phone.heic", "x.nef",
        }  # fmt: skip
        assert len(done.err.splitlines()) == 5 and "heif-convert" in done.err and "raw file" in done.err
        assert files(tmp_path / f"out{jobs}") == ["a.png", "deep/b.jpg", "deep/c.png"]
    again = imprior("denoise", photos, "-o", tmp_path / "out1")
    assert again.code == 3 and "3 finished before, 4 failed" in again.err


def test_time_left_is_told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, int, str]] = []
    clock = iter([0.0, 10.0, 20.0, 30.0])
    monkeypatch.setattr(_pictures, "time", SimpleNamespace(monotonic=lambda: next(clock)))

    @contextmanager
    def progress(label: str) -> Iterator[Callable[[int, int, str], None]]:
        yield lambda done, total, text="": told.append((done, total, text))

    monkeypatch.setattr(_pictures, "progress", progress)
    jobs = [_pictures.Job(Path(n), Path("out") / n, Path(n), i) for i, n in enumerate(("a.png", "b.png"))]
    _pictures.each(jobs, lambda job, tell: ({}, "sigma estimated: 5.0"), Path("out"), label="x", as_json=False)
    assert told == [(1, 2, "a.png, sigma estimated: 5.0, about 10 s left"), (2, 2, "b.png, sigma estimated: 5.0")]
    assert capsys.readouterr().err == "out: 2 pictures written, in 30 s\n"
    assert [_pictures._duration(s) for s in (3, 130, 11_100)] == ["3 s", "2 min 10 s", "3 h 05 min"]


# What can go wrong


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"hello", ["but text"]),
        (b"", ["an empty file"]),
        (None, ["no such picture"]),
        ("cut", ["truncated or damaged"]),
        (b"\0\0\0\x18ftypheic\0\0\0\0", ["heif-convert"]),
    ],
)
def test_files_that_are_no_pictures(imprior: Command, data: object, words: list[str], tmp_path: Path) -> None:
    source = tmp_path / "a.png"
    if data == "cut":
        write_picture(source, noise(64, 64, 3))
        data = source.read_bytes()[:3000]
    if isinstance(data, bytes):
        source.write_bytes(data)
    refused(imprior("denoise", source, "-o", tmp_path / "b.png"), str(source), *words)
    assert files(tmp_path) == (["a.png"] if isinstance(data, bytes) else [])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--sigma", -1], ["sigma", "-1"]),
        (["--sigma", "nan"], ["sigma", "nan"]),
        (["--sigma", "inf"], ["sigma", "inf"]),
        (["--sigma", "loud"], ["--sigma", "loud"]),
        (["--sigma", 80], ["80", "0 to 75", "--clamp"]),
        (["--strength", 1.5], ["strength", "1.5"]),
        (["--strength", "nan"], ["strength", "nan"]),
        (["--jobs", 0], ["--jobs"]),
        (["--model", "photo-denoisr"], ["photo-denoisr"]),
    ],
)
def test_wrong_numbers(imprior: Command, options: list[object], words: list[str], photos: Path, tmp_path: Path) -> None:
    refused(imprior("denoise", photos / "a.png", "-o", tmp_path / "b.png", *options), *words)
    assert not (tmp_path / "b.png").exists()


def test_sigma_is_clamped_by_choice(imprior: Command, photos: Path, tmp_path: Path) -> None:
    done = imprior("denoise", photos / "a.png", "-o", tmp_path / "b.png", "--sigma", 80, "--clamp", "--json")
    assert json.loads(done.out)["done"][0]["sigma"] == pytest.approx([75, 75])


def test_inputs_are_not_written_over(imprior: Command, photos: Path, tmp_path: Path) -> None:
    before = {name: (photos / name).read_bytes() for name in files(photos)}
    own, link = photos / "a.png", tmp_path / "link.png"
    link.symlink_to(own)
    for args in ([own, "-o", own], [own, "-o", link], [own, "-o", photos], [photos, "-o", photos]):
        refused(imprior("denoise", *args), "over an input", "--force")
    assert {name: (photos / name).read_bytes() for name in files(photos)} == before
    assert imprior("denoise", own, "-o", own, "--force", "--sigma", 20).code == 0
    assert own.read_bytes() != before["a.png"]


def test_results_that_a_format_cannot_hold_are_refused_before_the_work(
    imprior: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LocalShrinkage, "denoise", None)  # not reached
    write_picture(tmp_path / "a.png", noise(8, 8, 4))
    write_picture(tmp_path / "d.png", noise(8, 8).astype(np.uint16))
    refused(imprior("denoise", tmp_path / "a.png", "-o", tmp_path / "b.jpg", "--sigma", 5), "b.jpg", "transparency")
    refused(imprior("denoise", tmp_path / "d.png", "-o", tmp_path / "b.jpg", "--sigma", 5), "b.jpg", "16-bit")
    refused(imprior("denoise", tmp_path / "a.png", "-o", tmp_path / "b.docx"), "b.docx")
    refused(imprior("denoise", tmp_path / "a.png", "-o", tmp_path / "a.png" / "b.png"), "can't write", "a.png")
    assert files(tmp_path) == ["a.png", "d.png"]


@contextmanager
def small_disk(size: int) -> Iterator[None]:
    """No file can grow beyond `size` bytes: what a full disk does half-way through a write."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".npy"])
def test_a_full_disk_half_way(imprior: Command, suffix: str, tmp_path: Path) -> None:
    source, target = tmp_path / "a.png", tmp_path / f"b{suffix}"
    write_picture(source, noise(200, 200, 3))
    write_picture(target, noise(8, 8, 3))
    before = target.read_bytes()
    with small_disk(20_000):
        done = imprior("denoise", source, "-o", target, "--sigma", 5)
    refused(done, "can't write", target.name, "File too large")
    assert target.read_bytes() == before and files(tmp_path) == sorted(["a.png", target.name])


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_full_disk_ends_a_folder(imprior: Command, jobs: int, tmp_path: Path) -> None:
    for name, side in (("a", 8), ("b", 200), ("c", 200)):
        write_picture(tmp_path / "in" / f"{name}.png", noise(side, side, 3))
    with small_disk(20_000):
        done = imprior("denoise", tmp_path / "in", "-o", tmp_path / "out", "--sigma", 5, "--jobs", jobs)
    refused(done, "can't write", "File too large")
    assert set(files(tmp_path / "out")) <= {"a.png"}
    if jobs == 1:
        assert read_picture(tmp_path / "out" / "a.png").shape == (8, 8, 3)


SLOW = f"""
import signal, sys, time, types
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs are started without it
sys.path.insert(0, {str(Path(__file__).parent)!r})
from imprior import cli, opening
from toys import LocalShrinkage
class Slow(LocalShrinkage):
    def denoise(self, y, sigma=None):
        time.sleep(0.1)
        return super().denoise(y, sigma)
opening.model = lambda *_: types.SimpleNamespace(model=Slow())
cli.main()
"""


@pytest.mark.parametrize("jobs", [1, 2])
def test_ctrl_c_leaves_whole_files(jobs: int, tmp_path: Path) -> None:
    for number in range(60):
        write_picture(tmp_path / "in" / f"{number:02}.png", noise(150, 150, 3, seed=number))
    out = tmp_path / "out"
    given = ["denoise", str(tmp_path / "in"), "-o", str(out), "--jobs", str(jobs)]
    process = subprocess.Popen([sys.executable, "-c", SLOW, *given], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (out.exists() and any(out.glob("[0-9]*.png"))) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and said.splitlines()[-1] == "imprior: error: interrupted", said
    finished = files(out)
    assert 0 < len(finished) < 60
    for name in finished:
        assert read_picture(out / name).shape == (150, 150, 3)
    assert not [name for name in os.listdir(out) if name.startswith(".")]
