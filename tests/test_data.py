"""Data: every kind of source gives the same images; splits are disjoint and for ever; pictures are read as they are."""

from __future__ import annotations

import gzip
import hashlib
import io
import lzma
import struct
import tarfile
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from imprior.data import arrays, cache, files, prepare
from imprior.data.batches import Batches
from imprior.data.forms import to_channels, to_scale, to_square
from imprior.data.images import decode, from_batch, read_picture, split_alpha, to_batch
from imprior.data.inspect import inspect
from imprior.data.prepare import held_out, load, splits, threaded
from imprior.data.settings import Data
from imprior.data.source import open_source
from imprior.data.writing import write_picture
from imprior.runs import EMBEDDED

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (12, 9, 9), dtype=np.uint8)
LABELS = np.repeat(np.arange(3), 4)  # sorted, as folders of classes are


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "imprior" / "prepared"


def png(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(array).save(out, "PNG")
    return out.getvalue()


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def named(prefix: str = "") -> dict[str, bytes]:
    """PIXELS as PNG files in folders of classes; numbers of one and two digits put their order to the test."""
    return {f"{prefix}{'abc'[LABELS[i]]}/{i}.png": png(PIXELS[i]) for i in range(len(PIXELS))}


def in_folder(path: Path, members: dict[str, bytes]) -> Path:
    for name, data in members.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def in_tar(path: Path, members: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as tar:
        for name, data in reversed(members.items()):  # an archive's own order is anyone's
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def in_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def in_idx(path: Path, pack: Callable[[bytes], bytes] = bytes, end: str = "") -> Path:
    (path / "images-idx3-ubyte").parent.mkdir(parents=True, exist_ok=True)
    (path / f"train-images-idx3-ubyte{end}").write_bytes(pack(idx(PIXELS)))
    (path / f"train-labels-idx1-ubyte{end}").write_bytes(pack(idx(LABELS)))
    return path


def in_npz(path: Path, **named_arrays: np.ndarray) -> Path:
    np.savez(path, **named_arrays)  # type: ignore[arg-type]
    return path


SOURCES: dict[str, Callable[[Path], Path]] = {
    "folder": lambda p: in_folder(p / "set", named()),
    "tar": lambda p: in_tar(p / "set.tar", named()),
    "tar.gz": lambda p: in_tar(p / "set.tar.gz", named("./deep/set/"), "w:gz"),
    "tar.xz": lambda p: in_tar(p / "set.tar.xz", named(), "w:xz"),
    "tar of another name": lambda p: in_tar(p / "set.bin", named()),
    "zip": lambda p: in_zip(p / "set.zip", named("set/")),
    "idx": lambda p: in_idx(p / "set"),
    "idx gz": lambda p: in_idx(p / "set", gzip.compress, ".gz"),
    "idx xz": lambda p: in_idx(p / "set", lzma.compress, ".xz"),
    "idx file": lambda p: in_idx(p / "set") / "train-images-idx3-ubyte",
    "npz images": lambda p: in_npz(p / "set.npz", images=PIXELS, labels=LABELS),
    "npz x": lambda p: in_npz(p / "set.npz", x_train=PIXELS[..., None], y_train=LABELS[:, None]),
    "npz matrix": lambda p: in_npz(p / "set.npz", X=PIXELS.reshape(12, 81), Y=LABELS.astype(float)),
    "npz planes": lambda p: in_npz(p / "set.npz", train_images=PIXELS[:, None], train_labels=LABELS.astype(np.uint8)),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_every_kind_of_source_gives_the_same_images(kind: str, tmp_path: Path) -> None:
    images = load(SOURCES[kind](tmp_path), Data(validation=0), "train")
    assert isinstance(images.pixels, torch.Tensor) and images.pixels.dtype == torch.uint8
    assert np.array_equal(images.pixels.numpy(), PIXELS[:, None])
    assert images.labels is not None and np.array_equal(images.labels.numpy(), LABELS)
    assert (
        images.fingerprint
        == hashlib.sha256(b"uint8 (12, 1, 9, 9) " + PIXELS.tobytes() + LABELS.astype(np.int64).tobytes()).hexdigest()[
            :16
        ]
    )
    assert len(images.classes) == 3
    assert images.classes[0] == ("a" if kind in ("folder", "zip") or kind.startswith("tar") else "0")


def test_numpy_arrays(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", PIXELS / np.float32(255))
    images = load(tmp_path / "a.npy", Data(), "all")
    assert isinstance(images.pixels, torch.Tensor) and images.pixels.dtype == torch.float32
    assert images.labels is None and images.classes == ()
    assert np.array_equal(images.pixels.numpy()[:, 0], PIXELS / np.float32(255))
    for given, expected in (
        (PIXELS > 127, (PIXELS > 127) * 255),  # Boolean
        ((PIXELS > 127).astype(np.int64), (PIXELS > 127) * 255),  # zeros and ones: binary, not nearly black
        (PIXELS.astype(np.int32), PIXELS),
        (PIXELS.astype(np.uint16) * 257, PIXELS),
    ):
        np.save(tmp_path / "b.npy", given)
        assert np.array_equal(load(tmp_path / "b.npy", Data(), "all").pixels[:, 0], expected)
    np.save(tmp_path / "d.npy", PIXELS[:, :3, :3])  # tiny images are no channels
    assert load(tmp_path / "d.npy", Data(), "all").shape == (1, 3, 3)
    np.save(tmp_path / "c.npy", RNG.random((5, 7)))  # 7 is no square: images of one row
    assert load(tmp_path / "c.npy", Data(), "all").shape == (1, 1, 7)


def test_npz_of_several_parts(tmp_path: Path) -> None:
    path = in_npz(tmp_path / "a.npz", images=PIXELS, labels=LABELS, test_images=PIXELS[:5], test_labels=LABELS[:5])
    assert splits(path) == ("train", "test")
    assert len(load(path, Data(), "test")) == 5 and len(load(path, Data(), "all")) == 17
    path = in_npz(tmp_path / "b.npz", x_train=PIXELS, x_val=PIXELS[:2], x_test=PIXELS[:3], note=np.arange(4))
    assert splits(path) == ("train", "validation", "test")
    assert len(load(path, Data(validation=0.5), "train")) == 12  # its own validation part, so nothing is held out
    assert len(load(path, Data(), "validation")) == 2


def test_split_folders_and_archives_named_after_splits(tmp_path: Path) -> None:
    members = named("train/") | {"val/a/0.png": png(PIXELS[0]), "val/b/0.png": png(PIXELS[0])}
    folder = in_folder(tmp_path / "set", members)
    assert splits(folder) == splits(in_zip(tmp_path / "set.zip", members)) == ("train", "validation")
    held = load(folder, Data(), "validation")
    assert held.classes == ("a", "b", "c") and held.labels is not None and held.labels.tolist() == [0, 1]
    shards = tmp_path / "shards"
    shards.mkdir()
    flat = {f"{i}.png": png(PIXELS[i]) for i in range(12)}
    in_tar(shards / "train-0.tar", dict(list(flat.items())[:5]))
    in_tar(shards / "train-1.tar", dict(list(flat.items())[5:11]))
    in_zip(shards / "val.zip", {"x.png": png(PIXELS[11])})
    (shards / "MANIFEST.tsv").write_text("…")
    assert splits(shards) == ("train", "validation")
    assert np.array_equal(load(shards, Data(), "train").pixels, PIXELS[:11, None])
    assert np.array_equal(load(shards, Data(), "validation").pixels, PIXELS[11:, None])


def test_what_is_passed_over_and_when_folders_are_classes(tmp_path: Path) -> None:
    folder = in_folder(tmp_path / "set", named() | {".hidden/x.png": b"", "a/._0.png": b"", "notes.txt": b"hello"})
    (folder / "again").symlink_to(folder)  # a circle ends
    assert len(load(folder, Data(), "all")) == 12
    (folder / "loose.png").write_bytes(png(PIXELS[0]))
    assert load(folder, Data(), "all").labels is None
    assert load(in_folder(tmp_path / "one", {"only/1.png": png(PIXELS[0])}), Data(), "all").labels is None
    assert len(load(folder / "loose.png", Data(), "all")) == 1


def test_held_out_images_are_the_same_for_ever() -> None:
    # the published outputs of splitmix64 from seed 0
    assert [f"{x:016x}" for x in prepare.mixed(3)] == ["e220a8397b1dcdaf", "6e789e6aa1b965f4", "06c45d188009454f"]
    assert held_out(20, 0.2).nonzero()[0].tolist() == [2, 4, 6, 18]
    assert held_out(60_000, 0.1).sum() == 6000
    assert hashlib.sha256(held_out(60_000, 0.1).tobytes()).hexdigest()[:16] == "88137de84cb654c2"
    assert held_out(3, 0.1).sum() == 1 and held_out(1, 0.1).sum() == 0 and held_out(9, 0.0).sum() == 0


def test_training_and_validation_are_disjoint_and_whole(tmp_path: Path) -> None:
    pixels = RNG.integers(0, 256, (200, 4, 4), dtype=np.uint8)
    path = in_npz(tmp_path / "a.npz", images=pixels, labels=np.arange(200))
    train, held = (load(path, Data(validation=0.15), split) for split in ("train", "validation"))
    assert train.labels is not None and held.labels is not None  # a label is an image's position here
    assert len(held) == 30 and sorted([*train.labels.tolist(), *held.labels.tolist()]) == list(range(200))
    few = load(path, Data(validation=0.15, limit=50), "train")
    assert few.labels is not None and len(few) == 50 and set(few.labels.tolist()) < set(train.labels.tolist())
    assert max(few.labels.tolist()) > 150  # not the first ones, which may be of one class
    assert load(path, Data(validation=0.15, limit=50), "validation").fingerprint == held.fingerprint
    assert np.array_equal(train.pixels[:, 0], pixels[train.labels.numpy()])


@pytest.mark.parametrize("kind", ["folder", "tar", "zip", "idx", "npz"])
def test_loading_train_never_touches_test(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    members = named("train/") | named("test/")
    if kind == "idx":
        path = in_idx(tmp_path / "set")
        (path / "t10k-images-idx3-ubyte").write_bytes(idx(PIXELS))
    elif kind == "npz":
        path = in_npz(tmp_path / "set.npz", x_train=PIXELS, y_train=LABELS, x_test=PIXELS, y_test=LABELS)
    else:
        make = {"folder": in_folder, "tar": in_tar, "zip": in_zip}[kind]
        path = make(tmp_path / f"set.{kind}", members)

    def guarded(name: str, place: object) -> None:
        real = getattr(place, name)

        def guard(*args: object, **kwargs: object) -> object:
            asked = " ".join(map(str, args[1:] if isinstance(place, type) else args))
            if "test/" in asked.replace(str(tmp_path), "") or "t10k" in asked or "_test" in asked:
                raise AssertionError(f"touched {asked}")
            return real(*args, **kwargs)

        monkeypatch.setattr(place, name, guard)

    for store in (files.Folder, files.Tar, files.Zip):
        guarded("read", store)
    guarded("read_idx", arrays)
    # an NPZ's directory is listed with None; only then are no pixels read
    guarded("_npz", arrays)
    assert splits(path) == ("train", "test")
    for split in ("train", "validation"):
        load(path, Data(), split)  # type: ignore[arg-type]
    with pytest.raises(AssertionError, match="touched"):
        load(path, Data(), "test")


def test_size_resizes_the_short_side_and_cuts_the_centre() -> None:
    ramp = np.broadcast_to(np.arange(120, dtype=np.uint8)[None, :, None], (40, 120, 3))
    square = to_square(ramp, 20)
    assert square.shape == (20, 20, 3)
    # Halved, its columns have values 0.5, 2.5, …; the centre cut starts at column 20 of 60 (rounding: within 1).
    assert np.abs(square[10, :, 0] - (40.5 + 2 * np.arange(20))).max() <= 1
    assert to_square(ramp.transpose(1, 0, 2), 20).shape == (20, 20, 3)
    assert to_square(ramp[:7, :5], 16).shape == (16, 16, 3)  # larger than the picture
    assert np.array_equal(to_square(ramp[:, :40], 40), ramp[:, :40])
    flat = np.full((33, 47, 1), 0.3, np.float32)
    assert np.abs(to_square(flat, 10) - 0.3).max() < 1e-6
    edge = np.zeros((64, 64, 1), np.float32)
    edge[:, 32:] = 1
    assert to_square(edge, 23).min() >= 0 and to_square(edge, 23).max() <= 1  # no ringing beyond the range
    checks = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)[..., None]
    assert np.ptp(to_square(checks, 16).astype(int)) <= 4  # finer than the result can show: grey, no moiré
    assert to_scale(ramp, 0.5).shape == (20, 60, 3)


def test_channels() -> None:
    colour = RNG.integers(0, 256, (50, 40, 3), dtype=np.uint8)
    assert np.array_equal(to_channels(colour, 1)[..., 0], np.asarray(Image.fromarray(colour).convert("L")))
    assert np.abs(to_channels(colour / np.float32(255), 1) * 255 - to_channels(colour, 1)).max() <= 0.51
    grey = colour[..., :1]
    assert np.array_equal(to_channels(grey, 3), np.concatenate([grey] * 3, -1))
    assert to_channels(grey, None) is grey


def test_arrays_of_images_are_resized_like_files(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", PIXELS)
    data = Data(size=6, channels=3)
    folder = in_folder(tmp_path / "set", {f"{i}.png": png(PIXELS[i]) for i in range(12)})
    a, b = load(tmp_path / "a.npy", data, "all"), load(folder, data, "all")
    assert a.shape == (3, 6, 6) and a.fingerprint == b.fingerprint


def test_crops_of_pictures_of_different_sizes(tmp_path: Path) -> None:
    big, small = RNG.integers(0, 256, (30, 20, 3), np.uint8), RNG.integers(0, 256, (12, 15, 3), np.uint8)
    folder = in_folder(tmp_path / "set", {"a/0.png": png(big), "b/1.png": png(small)})
    images = load(folder, Data(crop=8, scales=(1.0, 0.5)), "all")
    assert images.shape == (3, None, None)
    assert [tuple(p.shape) for p in images.pixels] == [(3, 30, 20), (3, 15, 10), (3, 12, 15)]  # half of 12 is below 8
    assert images.labels is not None and images.labels.tolist() == [0, 0, 1]
    assert np.array_equal(images.pixels[0], big.transpose(2, 0, 1))
    batch = Batches(images, Data(crop=8), batch=3, seed=0).at(0)
    assert batch.x.shape == (3, 3, 8, 8)


def with_orientation(array: np.ndarray, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    out = io.BytesIO()
    Image.fromarray(array).save(out, "PNG", exif=exif)
    return out.getvalue()


def test_orientation_is_applied() -> None:
    a = RNG.integers(0, 256, (4, 6, 3), dtype=np.uint8)
    upright = {1: a, 2: a[:, ::-1], 3: a[::-1, ::-1], 4: a[::-1], 5: a.transpose(1, 0, 2)}
    upright |= {6: np.rot90(a, -1), 7: a[::-1, ::-1].transpose(1, 0, 2), 8: np.rot90(a, 1)}
    for orientation, expected in upright.items():
        assert np.array_equal(decode(with_orientation(a, orientation), "a.png"), expected), orientation
    # The same in grey of 16 bits
    deep = a[..., 0].astype(np.uint16) * 257
    assert np.array_equal(decode(with_orientation(deep, 6), "a.png")[..., 0], np.rot90(a[..., 0], -1))


def saved(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def test_palettes_masks_and_cmyk() -> None:
    colour = RNG.integers(0, 4, (8, 8, 3), dtype=np.uint8) * 85
    palette = Image.fromarray(colour).quantize(256)
    assert np.array_equal(decode(saved(palette), "a.png"), np.asarray(palette.convert("RGB")))
    grey = Image.fromarray(colour[..., 0]).convert("P")  # a palette of greys is a grey picture
    assert np.array_equal(decode(saved(grey), "a.png")[..., 0], colour[..., 0])
    assert np.array_equal(decode(saved(grey, "GIF"), "a.gif")[..., 0], colour[..., 0])
    bits = Image.fromarray(colour[..., 0] > 100)
    assert np.array_equal(decode(saved(bits), "a.png")[..., 0], (colour[..., 0] > 100) * 255)
    cmyk = np.zeros((8, 8, 4), np.uint8)
    cmyk[..., 3] = 255 - 100  # black ink only: grey 100
    for kind, slack in (("TIFF", 0), ("JPEG", 2)):
        found = decode(saved(Image.fromarray(cmyk, "CMYK"), kind), "a")
        assert found.shape == (8, 8, 3) and np.abs(found.astype(int) - 100).max() <= slack


def test_transparency() -> None:
    rgba = RNG.integers(0, 256, (5, 6, 4), dtype=np.uint8)
    data = saved(Image.fromarray(rgba))
    alpha = rgba[..., 3:].astype(float)
    expected = np.rint((rgba[..., :3] * alpha + 255 * (255 - alpha)) / 255)
    assert np.abs(decode(data, "a.png") - expected).max() <= 0  # laid over white
    key = saved(Image.fromarray(np.zeros((2, 2), np.uint8)).convert("P"), transparency=0)
    assert decode(key, "a.png").min() == 255
    la = rgba[..., :2]
    assert np.array_equal(decode(saved(Image.fromarray(la)), "a.png")[..., 0].shape, (5, 6))
    colour, mask = split_alpha(la)
    assert colour.shape == (5, 6) and mask is not None and np.array_equal(mask, la[..., 1])
    assert split_alpha(rgba[..., :3])[1] is None


DEEP = RNG.integers(0, 65536, (5, 7, 4), dtype=np.uint16)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_16_bit_png_keeps_every_bit(channels: int, tmp_path: Path) -> None:
    array = DEEP[..., 0] if channels == 1 else DEEP[..., :channels]
    write_picture(tmp_path / "a.png", array)
    found = read_picture(tmp_path / "a.png")
    assert found.dtype == np.uint16 and np.array_equal(found, array)
    if channels in (1, 3):  # reduced to the nearest 8 bits for training, not cut off
        shallow = decode((tmp_path / "a.png").read_bytes(), "a").squeeze()
        assert np.array_equal(shallow, np.rint(array / 257))


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("channels", [1, 3])
def test_16_bit_tiff_keeps_every_bit(compression: str | None, order: str, channels: int, tmp_path: Path) -> None:
    array = np.concatenate([DEEP[..., 0] if channels == 1 else DEEP[..., :3]] * 9)  # several strips
    photometric = "rgb" if channels == 3 else "minisblack"
    tifffile.imwrite(
        tmp_path / "a.tif", array, photometric=photometric, compression=compression, byteorder=order, rowsperstrip=4
    )
    assert np.array_equal(read_picture(tmp_path / "a.tif"), array)


def test_16_bit_pnm(tmp_path: Path) -> None:
    colour = DEEP[..., :3]
    (tmp_path / "a.ppm").write_bytes(b"P6 7 5 65535\n" + colour.astype(">u2").tobytes())
    assert np.array_equal(read_picture(tmp_path / "a.ppm"), colour)
    (tmp_path / "a.pgm").write_bytes(b"P5 7 5 65535\n" + colour[..., 0].astype(">u2").tobytes())
    assert np.array_equal(read_picture(tmp_path / "a.pgm"), colour[..., 0])


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif", ".npy"])
@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3), (5, 7, 4), (1, 1)])
def test_pictures_come_back_as_written(suffix: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    array = RNG.integers(0, 256, shape, dtype=np.uint8)
    write_picture(tmp_path / f"a{suffix}", array)
    found = read_picture(tmp_path / f"a{suffix}")
    if suffix == ".webp" and len(shape) == 2:  # which has no grey
        found = found[..., 0]
    assert found.dtype == np.uint8 and np.array_equal(found, array)


def test_floating_pictures(tmp_path: Path) -> None:
    noisy = RNG.normal(0.5, 0.5, (6, 6)).astype(np.float32)
    write_picture(tmp_path / "a.npy", noisy)
    assert np.array_equal(read_picture(tmp_path / "a.npy"), noisy)
    write_picture(tmp_path / "a.png", noisy)
    assert np.array_equal(read_picture(tmp_path / "a.png"), np.rint(noisy.clip(0, 1) * 255))
    write_picture(tmp_path / "a.jpg", np.full((8, 8, 3), 0.5))
    assert np.abs(read_picture(tmp_path / "a.jpg").astype(int) - 128).max() <= 1


def test_standard_input_and_output(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stream:
        buffer = io.BytesIO()

    monkeypatch.setattr("sys.stdout", Stream)
    write_picture("-", PIXELS[0])
    Stream.buffer.seek(0)
    monkeypatch.setattr("sys.stdin", Stream)
    assert np.array_equal(read_picture("-"), PIXELS[0])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_batches_keep_every_level(dtype: type) -> None:
    top = np.iinfo(dtype).max
    array = np.arange(top + 1, dtype=dtype).reshape(-1, 256)
    x = to_batch(array)
    assert x.shape == (1, 1, *array.shape) and x.dtype == torch.float32 and x.max() == 1
    # Bit for bit what training sees: level k is k / 255
    assert torch.equal(x[0, 0].flatten(), torch.arange(top + 1, dtype=torch.float32) / top)
    back = from_batch(x, dtype)
    assert back.dtype == dtype and np.array_equal(back, array)
    colour = RNG.integers(0, top, (4, 5, 3), dtype=dtype)
    assert to_batch(colour).shape == (1, 3, 4, 5) and np.array_equal(from_batch(to_batch(colour)[0], dtype), colour)
    assert from_batch(torch.tensor([[[-0.2, 1.7]]]), dtype).tolist() == [[0, top]]
    assert from_batch(torch.tensor([[[-0.5, 1.5]]]), np.float32).tolist() == [[-0.5, 1.5]]


def test_a_large_source_is_decoded_once(tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "WORTH", 1)
    calls: list[str] = []

    def counted(data: bytes, name: str) -> np.ndarray:
        calls.append(name)
        return decode(data, name)

    monkeypatch.setattr(prepare, "decode", counted)
    folder = in_folder(tmp_path / "set", named())
    first = load(folder, Data(validation=0), "train")
    again = load(folder, Data(validation=0), "train")
    assert len(calls) == 12 and again.fingerprint == first.fingerprint
    load(folder, Data(validation=0, size=5), "train")  # other settings, other pixels
    assert len(calls) == 24
    (folder / "a" / "0.png").write_bytes(png(PIXELS[5]) + b" ")
    changed = load(folder, Data(validation=0), "train")
    assert len(calls) == 36 and np.array_equal(changed.pixels[0, 0], PIXELS[5])
    for kept in own_cache.iterdir():
        kept.write_bytes(kept.read_bytes()[:-40])
    with pytest.warns(UserWarning, match="made anew"):
        assert load(folder, Data(validation=0), "train").fingerprint == changed.fingerprint
    assert load(folder, Data(validation=0), "train").fingerprint == changed.fingerprint and len(calls) == 48


def test_pictures_cut_from_the_cache_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = in_folder(tmp_path / "set", {f"{i}.png": png(PIXELS[i, : 5 + i % 3]) for i in range(12)})
    plain = load(folder, Data(crop=4), "train")
    monkeypatch.setattr(cache, "WORTH", 1)
    assert [load(folder, Data(crop=4), "train").fingerprint for _ in range(2)] == [plain.fingerprint] * 2


def test_a_cache_that_cannot_be_written_only_warns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "WORTH", 1)
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="not kept"):
        assert len(load(in_folder(tmp_path / "set", named()), Data(), "all")) == 12


def test_the_cache_forgets_what_was_used_longest_ago(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "LIMIT", 5000)
    for name in "abc":
        cache.put(name, [np.zeros((40, 50, 1), np.uint8)], [0])
        (own_cache / f"{name}.safetensors").touch()
    assert len(list(own_cache.iterdir())) == 2 and cache.get("a") is None and cache.get("c") is not None


def test_workers_keep_order_and_bounds() -> None:
    taken: list[int] = []
    lock = threading.Lock()

    def items() -> object:
        for i in range(500):
            with lock:
                taken.append(i)
            yield i

    results = threaded(lambda i: i * i, items())  # type: ignore[arg-type, return-value]
    assert next(results) == 0 and len(taken) <= 16 * 4 + 1  # memory holds a few pictures, not all
    assert list(results) == [i * i for i in range(1, 500)]


def test_inspection(tmp_path: Path) -> None:
    members = named("train/") | {"test/a/0.png": png(PIXELS[0]), "test/b/1.png": png(np.zeros((4, 6, 3), np.uint8))}
    members |= {"train/c/twin.png": png(PIXELS[11]), "train/c/bad.png": b"no picture"}
    found = inspect(in_folder(tmp_path / "set", members))
    assert found.images == 15 and found.parts["train"].classes == {"a": 4, "b": 4, "c": 5}
    assert found.parts["train"].balance == 0.8
    assert found.parts["test"].sizes == {(9, 9): 1, (6, 4): 1}
    assert found.parts["test"].kinds == {"grey": 1, "colour": 1}
    [(broken, why)] = found.broken
    assert broken.endswith("train/c/bad.png") and "text" in why
    assert len(found.duplicates) == 2 and found.leaks == 1
    record = found.record()
    assert record["splits"]["test"]["largest"] == "9x9" and record["duplicates"]["across_splits"] == 1
    assert record["splits"]["test"]["values"] == [0.0, PIXELS[0].max() / 255]
    assert inspect(SOURCES["npz images"](tmp_path)).parts["whole"].classes == {"0": 4, "1": 4, "2": 4}


def test_embedded_digits() -> None:
    parts = open_source("digits").parts
    (train, labels), (test, test_labels) = (parts[split].read() for split in ("train", "test"))  # type: ignore[call-arg]
    assert np.bincount(labels).tolist() == [600] * 10 and np.bincount(test_labels).tolist() == [100] * 10
    assert not {x.tobytes() for x in train} & {x.tobytes() for x in test}
    assert sum(path.stat().st_size for path in (EMBEDDED / "data" / "digits").iterdir()) < 1_000_000
    means = np.stack([train[labels == label].mean(0) for label in range(10)])
    nearest = ((test[:, None].astype(float) - means) ** 2).sum((2, 3, 4)).argmin(1)
    assert (nearest == test_labels).mean() > 0.75  # labels belong to their images


def test_embedded_photographs() -> None:
    import skimage.data

    found = inspect("photos")
    assert found.images == 3 and found.parts["whole"].kinds == {"colour": 3}
    assert np.array_equal(read_picture(EMBEDDED / "data" / "photos" / "chelsea.webp"), skimage.data.chelsea())
    assert sum(path.stat().st_size for path in (EMBEDDED / "data" / "photos").iterdir()) < 700_000
