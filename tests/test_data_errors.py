"""Bad data: each a DataError of one clear line that names what, where, what to do; and nothing is left half-written."""

from __future__ import annotations

import gzip
import io
import os
import re
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from conftest import Ended
from imprior.data import cache
from imprior.data.images import decode, read_picture, to_batch
from imprior.data.inspect import inspect
from imprior.data.prepare import load
from imprior.data.settings import Data
from imprior.data.writing import encode, write_picture
from imprior.errors import DataError, ImpriorError, RunError

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "WORTH", 1)  # everything would be kept
    return tmp_path / "cache"


def encoded(array: np.ndarray, kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.fromarray(array).save(out, kind)
    return out.getvalue()


def good(path: Path, count: int = 6) -> Path:
    path.mkdir(exist_ok=True)
    for i in range(count):
        (path / f"{i}.jpg").write_bytes(encoded(PIXELS[i], "JPEG"))
    return path


def refused(action: Callable[[], object], *words: str) -> str:
    with pytest.raises(DataError) as caught:
        action()
    line = str(caught.value)
    assert "\n" not in line and len(line) < 600, line
    for word in words:
        assert word in line, line
    assert caught.value.exit_code == 2
    return line


def loading(path: Path, **settings: object) -> Callable[[], object]:
    return lambda: load(path, Data(**settings), "all")  # type: ignore[arg-type]


def test_missing_and_empty(tmp_path: Path) -> None:
    refused(loading(tmp_path / "nothing"), "nothing", "no such file or folder")
    refused(lambda: load("digitz", Data(), "all"), "did you mean 'digits'?")
    (tmp_path / "empty").mkdir()
    refused(loading(tmp_path / "empty"), "empty", "no images there")
    (tmp_path / "empty" / "notes.txt").write_text("hello")
    refused(loading(tmp_path / "empty"), "notes.txt")
    np.save(tmp_path / "empty" / "x.npy", PIXELS)
    refused(loading(tmp_path / "empty"), "name the file", "x.npy")
    with zipfile.ZipFile(tmp_path / "empty.zip", "w") as archive:
        archive.writestr("notes.txt", "hello")
    refused(loading(tmp_path / "empty.zip"), "no images in it")


def test_a_text_file_named_png(tmp_path: Path) -> None:
    folder = good(tmp_path / "set")
    (folder / "x.png").write_text("these are words\n")
    refused(loading(folder), "x.png", "text", "1 of 7")
    (folder / "x.png").write_bytes(b"")
    refused(loading(folder), "x.png", "empty file")


@pytest.mark.parametrize("kind", ["folder", "tar", "zip"])
def test_a_truncated_jpeg_among_good_ones(kind: str, tmp_path: Path, own_cache: Path) -> None:
    folder = good(tmp_path / "set")
    (folder / "3.jpg").write_bytes(encoded(PIXELS[3], "JPEG")[:-400])
    path = folder
    if kind == "tar":
        path = tmp_path / "set.tar"
        with tarfile.open(path, "w") as tar:
            tar.add(folder, "set")
    if kind == "zip":
        path = tmp_path / "set.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for file in folder.iterdir():
                archive.write(file, file.name)
    refused(loading(path), "3.jpg", "truncated", "1 of 6", "skip")
    assert not own_cache.exists()
    for _ in range(2):  # decoded, then from the cache
        with pytest.warns(UserWarning, match=r"left out 1 of 6.*3\.jpg"):
            images = load(path, Data(), "all", on_broken="skip")
        assert len(images) == 5
    refused(loading(path), "3.jpg")  # what was skipped once is refused again
    assert (
        np.abs(
            images.pixels[3].numpy().astype(int) - decode((folder / "4.jpg").read_bytes(), "").transpose(2, 0, 1)
        ).max()
        == 0
    )


def test_skipping_keeps_labels_and_held_out_images(tmp_path: Path) -> None:
    for label in "ab":
        (tmp_path / "set" / label).mkdir(parents=True)
        for i in range(10):
            (tmp_path / "set" / label / f"{i}.png").write_bytes(encoded(np.full((4, 4), 10 * i + ord(label), np.uint8)))
    before = load(tmp_path / "set", Data(validation=0.2), "validation")
    (tmp_path / "set" / "a" / "0.png").write_bytes(b"\x89PNG")
    with pytest.warns(UserWarning, match=r"0\.png"):
        train = load(tmp_path / "set", Data(validation=0.2), "train", on_broken="skip")
    assert load(tmp_path / "set", Data(validation=0.2), "validation").fingerprint == before.fingerprint
    assert (
        train.labels is not None and train.labels.tolist() == (train.pixels[:, 0, 0, 0] % 10 == ord("b") % 10).tolist()
    )


def test_nothing_left_to_read(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a.png").write_bytes(b"no picture")
    with pytest.warns(UserWarning):
        refused(lambda: load(tmp_path / "set", Data(), "all", on_broken="skip"), "no image left")


def test_mixed_sizes_and_channels(tmp_path: Path) -> None:
    folder = good(tmp_path / "set")
    (folder / "wide.png").write_bytes(encoded(PIXELS[0, :16]))
    refused(loading(folder), "2 sizes", "0.jpg is 32x32", "wide.png 32x16", "data.size")
    refused(loading(folder, crop=20), "wide.png", "32x16", "data.crop=20")
    (folder / "wide.png").write_bytes(encoded(PIXELS[0, ..., 0]))
    refused(loading(folder), "grey and colour", "wide.png", "data.channels")
    assert load(folder, Data(channels=1), "all").shape == (1, 32, 32)
    np.save(tmp_path / "a.npy", PIXELS)
    refused(loading(tmp_path / "a.npy", crop=40), "32x32", "data.crop=40")


def test_decompression_bombs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = good(tmp_path / "set")
    (folder / "bomb.png").write_bytes(encoded(np.zeros((150, 150), np.uint8)))
    for limit in (11_000, 3_000):  # Pillow refuses beyond twice its limit
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with warnings.catch_warnings(record=True) as shown:
            warnings.simplefilter("always")
            refused(loading(folder), "bomb.png", "decompression bomb")
            refused(lambda: read_picture(folder / "bomb.png"), "bomb.png", "decompression bomb")
        assert not shown


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_in_an_npy(value: float, tmp_path: Path) -> None:
    array = PIXELS / 255
    array[4, 5, 6, 1] = value
    np.save(tmp_path / "a.npy", array)
    refused(loading(tmp_path / "a.npy"), "a.npy", "NaN or infinite", "number 4")
    np.save(tmp_path / "one.npy", array[4])
    refused(lambda: to_batch(read_picture(tmp_path / "one.npy")), "NaN")


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (PIXELS / 127.5 - 1, ("from -1 to", "[0, 1]")),
        (PIXELS.astype(np.float32), ("to 255", "uint8")),
        (PIXELS.astype(np.int16) - 5, ("from -5",)),
        (PIXELS.astype(complex), ("complex",)),
        (PIXELS[0], ("one colour image",)),
        (PIXELS[:, :, :, :2], ("(6, 32, 32, 2)",)),
        (PIXELS[0, 0, 0], ("(3,)",)),
        (PIXELS[:0], ("no images in it",)),
        (PIXELS[None], ("no set of images",)),
    ],
)
def test_arrays_that_are_no_images(array: np.ndarray, words: tuple[str, ...], tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", array)
    refused(loading(tmp_path / "a.npy"), "a.npy", *words)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.arange(5), ("6 images", "5 labels")),
        (np.arange(6) - 1, ("-1 to 4",)),
        (np.arange(6) / 2, ("whole class numbers",)),
        (np.array([0, 1, np.nan, 0, 1, 0]), ("whole class numbers",)),
        (np.eye(6), ("shape (6, 6)",)),
        (np.array(list("abcabc")), ("one class number",)),
        (np.arange(6) + 10**9, ("class numbers",)),
    ],
)
def test_labels_that_do_not_match(labels: np.ndarray, words: tuple[str, ...], tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=PIXELS, labels=labels)
    refused(loading(tmp_path / "a.npz"), "a.npz", "labels", *words)


def test_labels_of_idx_that_do_not_match(tmp_path: Path) -> None:
    (tmp_path / "train-images-idx3-ubyte").write_bytes(bytes([0, 0, 8, 3, *(0, 0, 0, 3) * 3]) + bytes(range(27)))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 2, 0, 1]))
    refused(loading(tmp_path), "train-labels", "3 images", "2 labels")


def test_npz_without_images_or_with_two(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", features=PIXELS, other=PIXELS)
    refused(loading(tmp_path / "a.npz"), "no array named like images", "features, other")
    np.savez(tmp_path / "a.npz", images=PIXELS, x=PIXELS)
    refused(loading(tmp_path / "a.npz"), "'images' and 'x'")


def test_pickles_are_never_read(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return os.mkdir, (str(tmp_path / "sprung"),)

    np.save(tmp_path / "a.npy", np.array([Trap()], object), allow_pickle=True)
    refused(loading(tmp_path / "a.npy"), "pickled objects")
    refused(lambda: read_picture(tmp_path / "a.npy"), "a.npy")
    np.savez(tmp_path / "a.npz", images=np.array([Trap()], object))
    refused(loading(tmp_path / "a.npz"), "pickled objects")
    (tmp_path / "a.pkl").write_bytes(b"\x80\x04")
    refused(loading(tmp_path / "a.pkl"), ".pkl files can't be read")
    assert not (tmp_path / "sprung").exists()


def test_damaged_idx(tmp_path: Path) -> None:
    path = tmp_path / "train-images-idx3-ubyte"
    whole = bytes([0, 0, 8, 3, *(0, 0, 0, 3) * 3]) + bytes(range(27))
    for data, word in (
        (b"\1" + whole[1:], "wrong magic number"),
        (whole[:2] + b"\7" + whole[3:], "wrong magic number"),
        (b"", "wrong magic number"),
        (whole[:-1], "damaged"),
        (whole + b"\0", "damaged"),
        (whole[:7], "damaged"),
        (whole[:4] + b"\xff" * 12 + whole[16:], "damaged"),  # would be 2^96 bytes
    ):
        path.write_bytes(data)
        refused(loading(tmp_path), "train-images", word)
    packed = tmp_path / "set" / "train-images-idx3-ubyte.gz"
    packed.parent.mkdir()
    packed.write_bytes(gzip.compress(whole)[:-9])
    refused(loading(packed.parent), "train-images", "truncated")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "train-labels-idx1-ubyte").write_bytes(b"")
    refused(loading(tmp_path / "labels"), "labels but no IDX images")


def test_damaged_and_unknown_archives(tmp_path: Path) -> None:
    folder = good(tmp_path / "set")
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as tar:
        tar.add(folder, "set")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(folder / "0.jpg", "0.jpg")
    for name in ("a.tar.gz", "a.zip"):
        data = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(data[: len(data) // 2])
        refused(loading(tmp_path / name), name, "truncated or damaged")
    (tmp_path / "a.7z").write_bytes(b"7z\xbc\xaf\x27\x1c")
    refused(loading(tmp_path / "a.7z"), ".7z files can't be read", "tar, zip")
    (tmp_path / "a.xyz").write_bytes(b"who knows")
    refused(loading(tmp_path / "a.xyz"), "neither a picture nor a tar")


def test_a_member_of_a_zip_that_fails_its_check(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for i in range(3):
            archive.writestr(f"{i}.png", encoded(PIXELS[i]))
    data = bytearray((tmp_path / "a.zip").read_bytes())
    data[data.find(b"2.png") + 200] ^= 1
    (tmp_path / "a.zip").write_bytes(data)
    refused(loading(tmp_path / "a.zip"), "2.png", "damaged", "1 of 3")


def test_formats_that_cannot_be_read_say_what_to_do(tmp_path: Path) -> None:
    folder = good(tmp_path / "set")
    for name, data, word in (
        ("x.heic", b"\0\0\0\x18ftypheic", "heif-convert"),
        ("x.jpg", b"\0\0\0\x18ftypheic\0\0\0\0", "heif-convert"),  # a phone's picture, renamed
        ("x.nef", encoded(PIXELS[0], "TIFF"), "raw file"),  # TIFF inside: a thumbnail would be read
        ("x.jxl", b"\xff\x0a", "djxl"),
        ("x.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "x.png"),  # never given to an interpreter
    ):
        (folder / name).write_bytes(data)
        refused(loading(folder), name, word)
        refused(lambda name=name: read_picture(folder / name), name, word)  # type: ignore[misc]
        refused(lambda name=name: load(folder / name, Data(), "all"), name, word)  # type: ignore[misc]
        (folder / name).unlink()


def test_every_truncation_and_flipped_byte_is_a_data_error_or_a_picture() -> None:
    rng = np.random.default_rng(1)
    for kind in ("PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP", "JPEG2000", "PPM", "TGA"):
        whole = encoded(PIXELS[0], kind)
        for trial in range(60):
            data = bytearray(whole[: rng.integers(0, len(whole))] if trial % 2 else whole)
            for place in rng.integers(0, min(len(data), 300) or 1, 3) if data else ():
                data[place] = rng.integers(0, 256)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    assert decode(bytes(data), "x").dtype == np.uint8
                except DataError as error:
                    assert "\n" not in str(error) and str(error).startswith("x: ")


def test_16_bits_that_cannot_be_had_are_refused_not_cut(tmp_path: Path) -> None:
    planar = np.zeros((3, 8, 8), np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", planar, photometric="rgb", planarconfig="separate")
    refused(lambda: read_picture(tmp_path / "a.tif"), "16 bits", "save it as PNG")
    tifffile.imwrite(tmp_path / "b.tif", np.full((4, 4), 70_000, np.int32))
    refused(lambda: read_picture(tmp_path / "b.tif"), "70000", "beyond 16 bits")


def test_splits_that_are_not_there(tmp_path: Path) -> None:
    folder = good(tmp_path / "set")
    refused(lambda: load(folder, Data(), "test"), "no test part")
    refused(lambda: load(folder, Data(), "tests"), "did you mean 'test'?")  # type: ignore[arg-type]
    refused(lambda: load(folder, Data(validation=0), "validation"), "data.validation=0")
    (folder / "train").mkdir()
    (folder / "train" / "1.jpg").write_bytes(encoded(PIXELS[0], "JPEG"))
    refused(loading(folder), "0.jpg", "outside")
    (tmp_path / "only" / "test").mkdir(parents=True)
    (tmp_path / "only" / "test" / "1.png").write_bytes(encoded(PIXELS[0]))
    refused(lambda: load(tmp_path / "only", Data(), "train"), "no training part", "test")


@pytest.mark.parametrize(
    ("array", "name", "words"),
    [
        (PIXELS[0], "a.xyz", (".png", "'.xyz'")),
        (PIXELS[0], "a", (".png",)),
        (PIXELS[0].astype(np.uint16), "a.jpg", ("16-bit", ".png")),
        (PIXELS[0][..., :2].astype(np.uint16), "a.tif", ("16-bit grey", ".png")),
        (np.zeros((4, 4, 4), np.uint8), "a.jpg", ("transparency",)),
        (PIXELS[0].astype(np.int64), "a.png", ("int64",)),
        (PIXELS, "a.png", ("(6, 32, 32, 3)",)),
        (np.full((4, 4), np.nan), "a.png", ("NaN",)),
    ],
)
def test_pictures_that_cannot_be_written(array: np.ndarray, name: str, words: tuple[str, ...], tmp_path: Path) -> None:
    refused(lambda: write_picture(tmp_path / name, array), name, *words)
    assert list(tmp_path.iterdir()) == []


def test_a_picture_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_picture(tmp_path / "a.png", PIXELS[0])
    before = (tmp_path / "a.png").read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match="No space left"):
        write_picture(tmp_path / "a.png", PIXELS[1])
    assert (tmp_path / "a.png").read_bytes() == before and len(list(tmp_path.iterdir())) == 1
    with pytest.raises(ImpriorError):
        write_picture(tmp_path / "a.png" / "b.png", PIXELS[0])


def test_pictures_that_make_no_batch() -> None:
    refused(lambda: to_batch(np.zeros((4, 4, 4), np.uint8)), "(4, 4, 4)")
    refused(lambda: to_batch(np.zeros((4, 4), np.int64)), "int64")
    refused(lambda: read_picture("nowhere.png"), "nowhere.png", "no such picture")
    refused(lambda: encode(np.zeros((0, 4), np.uint8), ".png"), "(0, 4)")


def test_inspection_goes_on_past_broken_files(tmp_path: Path) -> None:
    folder = good(tmp_path / "set")
    (folder / "x.png").write_text("words")
    (folder / "y.jpg").write_bytes(encoded(PIXELS[0], "JPEG")[:-300])
    found = inspect(folder)
    assert found.images == 6 and [Path(name).name for name, _ in found.broken] == ["x.png", "y.jpg"]
    assert all(not re.search("x.png|y.jpg", why) for _, why in found.broken)


def test_on_the_command_line(imprior: Callable[..., Ended], tmp_path: Path) -> None:
    ended = imprior("data", tmp_path / "nothing")
    assert ended.code == 2 and "no such file or folder" in ended.line
    folder = good(tmp_path / "set")
    (folder / "x.jpg").write_bytes(encoded(PIXELS[0], "JPEG")[:-300])
    ended = imprior("train", "vae", "--data", folder, "--out", tmp_path / "run")
    assert ended.code == 2 and "x.jpg" in ended.line and not (tmp_path / "run").exists()
