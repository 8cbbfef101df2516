"""`imprior compress`, `decompress`, `inspect` and the Pillow plugin: every kind of file, and what can go wrong."""

from __future__ import annotations

import io
import json
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image, ImageCms

import imprior as package
from conftest import Ended
from imprior import opening, pillow
from imprior.coding.container import compress as compress_small
from imprior.coding.container import weights_hash
from imprior.coding.tiled import Photograph, Tile, pack, unpack
from imprior.data.extras import Extras
from imprior.data.images import read_picture
from imprior.data.writing import write_picture
from test_codec_whole import made
from test_compress import picture
from test_denoise_command import files, kinds, refused, small_disk
from toys import TiledLevels

Command = Callable[..., Ended]
TOY = ("--model", "toy")
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.fixture(scope="module")
def codec() -> object:
    return made(0.0)


@pytest.fixture(autouse=True)
def toy(codec: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `--model toy` stands for here: a small codec that was not trained."""
    real = opening.model
    known = {"toy": codec, "other": TiledLevels()}

    def model(given: object, promise: type | None = None) -> object:
        return SimpleNamespace(model=known[given]) if given in known else real(given, promise)  # type: ignore[index]

    monkeypatch.setattr(opening, "model", model)
    monkeypatch.setattr(pillow, "MODEL", "toy")


def tags() -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation], exif[ExifTags.Base.Make] = 6, "Camera"
    return exif.tobytes()


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    write_picture(tmp_path / "photo.png", picture(60, 90))
    return tmp_path / "photo.png"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for number, name in enumerate(("a.png", "deep/b.jpg", "deep/c.bmp")):
        place = tmp_path / "photos" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(40, 50, seed=number)).save(place)
    return tmp_path / "photos"


# One picture


def test_there_and_back(imprior: Command, photo: Path, tmp_path: Path) -> None:
    packed, back = tmp_path / "new" / "photo.imp", tmp_path / "back.png"
    done = imprior("compress", photo, "-o", packed, "--quality", 60, *TOY)
    assert done.code == 0 and done.out == "" and "bits/pixel" in done.err and "1 picture written" in done.err
    assert packed.read_bytes() == package.compress(picture(60, 90), 60, model="toy")
    assert imprior("decompress", packed, "-o", back, *TOY).code == 0
    assert np.array_equal(read_picture(back), package.decompress(packed.read_bytes(), model="toy"))
    part = json.loads(imprior("decompress", packed, "-o", back, "--region", "10,20,30,7", "--json", *TOY).out)
    assert part["done"] == [{"input": str(packed), "output": str(back), "width": 30, "height": 7}]
    whole = package.decompress(packed.read_bytes(), model="toy")
    assert np.array_equal(read_picture(back), whole[20:27, 10:40])


def test_targets(imprior: Command, photo: Path, tmp_path: Path) -> None:
    out, told = tmp_path / "a.imp", {}
    found = package.decompress(package.compress(picture(60, 90), 60, model="toy"), model="toy")
    psnr = 10 * np.log10(255**2 / np.square(found.astype(float) - picture(60, 90)).mean())
    for name, value in (("--size", "0.25kB"), ("--bpp", 0.4), ("--psnr", psnr)):
        told[name] = json.loads(imprior("compress", photo, "-o", out, name, value, "--json", *TOY).out)["done"][0]
        assert told[name]["bytes"] == out.stat().st_size
    assert 235 < told["--size"]["bytes"] <= 250
    assert 0.37 < told["--bpp"]["bits_per_pixel"] <= 0.4
    assert told["--psnr"]["psnr_db"] == pytest.approx(psnr, abs=0.1)
    for options, words in (
        (["--size", "10"], ["out of reach", "photo.png"]),
        (["--psnr", 99], ["out of reach", "photo.png"]),
        (["--size", "ten"], ["'ten'", "40kB"]),
        (["--size", 0], ["'0'"]),
        (["--bpp", -1], ["more than 0"]),
        (["--bpp", 1, "--psnr", 30], ["one of them"]),
        (["--quality", 50, "--bpp", 1], ["one of them"]),
        (["--quality", 101], ["--quality"]),
        (["--max-pixels", 100], ["photo.png", "100 pixels"]),
    ):
        refused(imprior("compress", photo, "-o", tmp_path / "no.imp", *options, *TOY), *words)  # type: ignore[arg-type]
    assert not (tmp_path / "no.imp").exists()


@pytest.mark.parametrize("name", kinds())
def test_every_kind_of_file(imprior: Command, name: str, tmp_path: Path) -> None:
    source, packed, back = tmp_path / name, tmp_path / "a.imp", tmp_path / "b.png"
    kinds()[name](source)
    done = imprior("compress", source, "-o", packed, "--quality", 90, *TOY)
    if name == "floats.npy":  # these leave [0, 1]
        return refused(done, "outside [0, 1]")
    assert done.code == 0, done.err
    assert ("16 bits reduced to 8" in done.err) == name.startswith("deep")
    strict = imprior("compress", source, "-o", packed, "--strict", *TOY)
    assert (strict.code == 2 and "--strict" in strict.line) if name.startswith("deep") else strict.code == 0
    assert imprior("decompress", packed, "-o", back, *TOY).code == 0
    given, found = read_picture(source), read_picture(back)
    assert found.shape == given.shape and found.dtype == np.uint8
    if given.ndim == 3 and given.shape[2] in (2, 4):
        alpha = given[..., -1].astype(int)
        assert np.array_equal(found[..., -1], alpha if given.dtype == np.uint8 else (alpha + 128) // 257)
    return None


def test_exif_and_profile_are_kept_and_pictures_are_upright(imprior: Command, tmp_path: Path) -> None:
    source, packed, back = tmp_path / "a.jpg", tmp_path / "a.imp", tmp_path / "b.jpg"
    write_picture(source, picture(40, 60), extras=Extras(tags(), PROFILE))
    assert imprior("compress", source, "-o", packed, *TOY).code == 0
    assert imprior("decompress", packed, "-o", back, *TOY).code == 0
    with Image.open(back) as image:
        assert image.size == (40, 60) and image.info["icc_profile"] == PROFILE
        kept = image.getexif()
    assert kept[ExifTags.Base.Make] == "Camera" and kept.get(ExifTags.Base.Orientation, 1) == 1


def test_of_several_frames_the_first_is_taken_and_that_is_said(imprior: Command, tmp_path: Path) -> None:
    frames = [Image.fromarray(picture(20, 30, seed=s)) for s in (0, 1)]
    frames[0].save(tmp_path / "a.tif", save_all=True, append_images=frames[1:])
    done = imprior("compress", tmp_path / "a.tif", "-o", tmp_path / "a.imp", *TOY)
    assert done.code == 0 and "the first of several frames" in done.err
    assert (tmp_path / "a.imp").read_bytes() == package.compress(picture(20, 30), model="toy")


def test_standard_input_and_output(imprior: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def through(data: bytes, *args: object) -> bytes:
        out = io.BytesIO()
        real = sys.stdout
        with monkeypatch.context() as context:
            context.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(data)))
            context.setattr("sys.stdout", SimpleNamespace(buffer=out, write=real.write, flush=real.flush))
            done = imprior(*args, "-", "-o", "-", *TOY)
        assert done.code == 0, done.err
        return out.getvalue()

    given = io.BytesIO()
    Image.fromarray(picture(9, 8)).save(given, "PNG")
    packed = through(given.getvalue(), "compress")
    assert packed == package.compress(picture(9, 8), model="toy")
    back = through(packed, "decompress")
    assert back[:4] == b"\x89PNG"


def test_inspect(imprior: Command, tmp_path: Path) -> None:
    given = np.dstack([picture(60, 90), np.full((60, 90), 200, np.uint8)])
    data = package.compress(given, 40, icc=PROFILE, model="toy")
    (tmp_path / "a.imp").write_bytes(data)
    found = json.loads(imprior("inspect", tmp_path / "a.imp", "--json").out)
    assert (found["bytes"], found["width"], found["height"], found["quality"]) == (len(data), 90, 60, [40])
    assert found["colour"] == "RGB and alpha" and found["extras"]["icc"] == len(PROFILE)
    assert set(found["checks"].values()) == {"whole"} and len(found["tiles"]["list"]) == 1
    assert found["tiles"]["learned"]["tiles"] == 1 and found["model"]["hash"] == unpack(data).weights.hex()
    said = imprior("inspect", tmp_path / "a.imp")
    assert said.code == 0 and "learned" in said.out and "list" not in said.out
    damaged = bytearray(data)
    damaged[-1] ^= 1
    (tmp_path / "a.imp").write_bytes(damaged)
    broken = imprior("inspect", tmp_path / "a.imp", "--json")
    assert broken.code == 2 and "icc" in broken.line and json.loads(broken.out)["checks"]["icc"] == "damaged"


def test_salvage_lists_what_is_lost(imprior: Command, tmp_path: Path) -> None:
    given = picture(40, 2100)
    data = bytearray(package.compress(given, model="toy"))
    whole = package.decompress(bytes(data), model="toy")
    data[-1] ^= 1  # in the last of three tiles
    (tmp_path / "a.imp").write_bytes(data)
    refused(imprior("decompress", tmp_path / "a.imp", "-o", tmp_path / "b.png", *TOY), "a.imp", "tile 2", "--salvage")
    assert not (tmp_path / "b.png").exists()
    done = imprior("decompress", tmp_path / "a.imp", "-o", tmp_path / "b.png", "--salvage", *TOY)
    assert done.code == 0 and "1 of 3 tiles lost (2)" in done.err
    found = read_picture(tmp_path / "b.png")
    assert np.array_equal(found[:, :1900], whole[:, :1900]) and (found[:, 2048:] == 128).all()
    told = json.loads(
        imprior("decompress", tmp_path / "a.imp", "-o", tmp_path / "b.png", "--salvage", "--json", *TOY).out
    )
    assert told["done"][0]["lost"] == [2] and told["done"][0]["missing"] == []


def test_files_of_small_models_are_read_too(imprior: Command, tmp_path: Path) -> None:
    model = package.load("mnist-ae")
    x = torch.rand(2, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    packed, back = tmp_path / "a.imp", tmp_path / "a.png"
    for name, options in (("mnist-ae", ()), ("", ("--model", "mnist-ae"))):
        packed.write_bytes(compress_small(model, x[:1], 4, weights=weights_hash(model), name=name))
        assert imprior("decompress", packed, "-o", back, *options, "--force").code == 0
        with torch.no_grad():
            shown = model.synthesise(model.analyse(x[:1], 4), 4)[0, 0]
        assert np.abs(read_picture(back) - 255 * shown.clamp(0, 1).numpy()).max() < 0.51
    assert "small model" in imprior("inspect", packed).out
    refused(imprior("decompress", packed, "-o", back), "a.imp", "does not name")
    refused(imprior("decompress", packed, "-o", back, "--salvage"), "a.imp", "as a whole")
    packed.write_bytes(compress_small(model, x, 4, weights=weights_hash(model), name="mnist-ae"))
    refused(imprior("decompress", packed, "-o", back), "2 images")


# Many


def test_folders_keep_names_and_finished_files_are_not_done_again(
    imprior: Command, photos: Path, tmp_path: Path
) -> None:
    packed, back = tmp_path / "packed", tmp_path / "back"
    done = imprior("compress", photos, "-o", packed, *TOY)
    assert done.code == 0 and files(packed) == ["a.imp", "deep/b.imp", "deep/c.imp"]
    lines = done.out.splitlines()
    assert lines[0].split() == ["file", "pixels", "quality", "bytes", "bits/pixel", "ratio"] and len(lines) == 5
    assert lines[-1].startswith("all")
    (packed / "a.imp").write_bytes(b"kept")
    again = imprior("compress", photos, "-o", packed, *TOY)
    assert again.code == 0 and "3 finished before" in again.err and (packed / "a.imp").read_bytes() == b"kept"
    one = imprior("decompress", packed, "-o", back, "--jobs", 2, *TOY)
    assert one.code == 3 and "a.imp: not a file of this program's codecs" in one.err
    assert files(back) == ["deep/b.png", "deep/c.png"]
    parts = [
        json.loads(imprior("compress", photos, "-o", tmp_path / "s", "--shard", f"{i}/2", "--json", *TOY).out)
        for i in (1, 2)
    ]
    assert [len(part["done"]) for part in parts] == [2, 1]
    assert len(json.loads(imprior("compress", photos, "-o", packed, "--force", "--json", *TOY).out)["done"]) == 3
    assert {name: (packed / name).read_bytes() for name in files(packed)} == {
        name: (tmp_path / "s" / name).read_bytes() for name in files(packed)
    }


def test_names_that_would_fall_on_each_other(imprior: Command, photos: Path, tmp_path: Path) -> None:
    (photos / "a.bmp").write_bytes((photos / "deep/c.bmp").read_bytes())
    refused(imprior("compress", photos, "-o", tmp_path / "out", *TOY), "would both be written")
    refused(imprior("decompress", photos, "-o", tmp_path / "out", *TOY), "no such files")


# What can go wrong


def test_places_and_disks(imprior: Command, photo: Path, tmp_path: Path) -> None:
    refused(imprior("compress", photo, "-o", tmp_path / "a.png", *TOY), "a.png", ".imp")
    refused(imprior("compress", photo, "-o", photo / "x" / "a.imp", *TOY), "can't write")
    refused(imprior("compress", tmp_path / "none.png", "-o", tmp_path / "a.imp", *TOY), "none.png", "no such picture")
    refused(imprior("decompress", tmp_path / "none.imp", "-o", tmp_path / "a.png", *TOY), "none.imp", "no such file")
    refused(imprior("inspect", tmp_path / "none.imp"), "none.imp", "no such file")
    own = tmp_path / "own.imp"
    own.write_bytes(package.compress(picture(60, 90), model="toy"))
    link = tmp_path / "link.png"
    link.symlink_to(own)
    refused(imprior("decompress", own, "-o", link, *TOY), "over an input")
    with small_disk(100):
        refused(imprior("compress", photo, "-o", tmp_path / "a.imp", *TOY), "can't write", "File too large")
        refused(imprior("decompress", own, "-o", tmp_path / "a.png", *TOY), "can't write", "File too large")
    assert files(tmp_path) == ["link.png", "own.imp", "photo.png"]


def test_what_a_picture_format_cannot_hold_is_refused(imprior: Command, tmp_path: Path) -> None:
    given = np.dstack([picture(20, 20), np.full((20, 20), 9, np.uint8)])
    (tmp_path / "a.imp").write_bytes(package.compress(given, model="toy"))
    refused(imprior("decompress", tmp_path / "a.imp", "-o", tmp_path / "a.jpg", *TOY), "a.jpg", "transparency")
    for region in ("0,0,21,20", "20,0,1,1", "0,0,0,5"):
        refused(imprior("decompress", tmp_path / "a.imp", "-o", tmp_path / "a.png", "--region", region, *TOY), "region")
    for region in ("1,2,3", "a,b,c,d", "-1,0,4,4"):
        refused(imprior("decompress", tmp_path / "a.imp", "-o", tmp_path / "a.png", "--region", region, *TOY), region)


def test_other_models(imprior: Command, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "a.imp").write_bytes(package.compress(picture(20, 20), model="toy"))
    refused(imprior("decompress", tmp_path / "a.imp", "-o", tmp_path / "a.png", "--model", "other"), "another model")
    refused(imprior("compress", photo, "-o", tmp_path / "b.imp", "--model", "mnist-ae"), "CodesTiles")
    refused(imprior("compress", photo, "-o", tmp_path / "b.imp", "--model", "no-such"), "no-such")


SPARE = """
import sys, time
from imprior.cli import main
try:
    main(sys.argv[1:])
except SystemExit as ended:
    most = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
    print(ended.code, "torch" in sys.modules, time.process_time(), most)
"""


def headers() -> dict[str, bytes]:
    """Files whose header, lengths or checksums show that something is wrong."""
    sound = pack(Photograph(b"hash", 700, 200, 256, False, [Tile("learned", 30, b"abc" * 99)] * 3))
    future = bytearray(sound)
    future[2] = 7
    vast = struct.pack(">2sBB4sIIB", b"\x8fI", 2, 0, b"hash", 1 << 16, 1 << 15, 12)
    vast += struct.pack(">BBII", 2, 100, 3, zlib.crc32(b"abc")) * 128
    vast += zlib.crc32(vast).to_bytes(4, "big") + b"abc" * 128
    flipped = bytearray(sound)
    flipped[-5] ^= 4
    return {
        "empty": b"", "text": b"hello", "cut": sound[:-3], "short": sound[:10], "future": bytes(future),
        "vast": vast, "flipped": bytes(flipped), "longer": sound + b"!",
    }  # fmt: skip


@pytest.mark.parametrize("verb", ["decompress", "inspect"])
@pytest.mark.parametrize("name", headers())
def test_bad_headers_are_told_without_torch_at_once(verb: str, name: str, tmp_path: Path) -> None:
    (tmp_path / "a.imp").write_bytes(headers()[name])
    if verb == "inspect" and name == "vast":
        return  # which tells what it promises
    out = ["-o", str(tmp_path / "a.png")] if verb == "decompress" else []
    command = [sys.executable, "-c", SPARE, verb, str(tmp_path / "a.imp"), *out]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    code, torch_loaded, seconds, kibibytes = done.stdout.splitlines()[-1].split()
    assert code == "2" and done.stderr.startswith(f"imprior: error: {tmp_path / 'a.imp'}: "), done
    assert torch_loaded == "False" and float(seconds) < 0.5 and int(kibibytes) < 100_000, done.stdout
    assert not (tmp_path / "a.png").exists()


# Pillow


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_pillow_opens_and_saves(mode: str, tmp_path: Path) -> None:
    image = Image.fromarray(picture(30, 40)).convert(mode)
    image.save(tmp_path / "a.imp", quality=70, model="toy", icc_profile=PROFILE if "RGB" in mode else b"", exif=tags())
    with Image.open(tmp_path / "a.imp") as found:
        assert (found.format, found.size, found.mode) == ("IMP", (40, 30), mode)
        assert found.getexif()[ExifTags.Base.Make] == "Camera"
        assert ("icc_profile" in found.info) == ("RGB" in mode)
        pixels = package.decompress((tmp_path / "a.imp").read_bytes(), model="toy")
        assert np.array_equal(np.asarray(found), pixels)
        assert np.array_equal(np.asarray(found.crop((0, 0, 5, 5))), pixels[:5, :5])
    out = io.BytesIO()
    image.save(out, "IMP", bpp=3, model="toy")
    assert len(out.getvalue()) * 8 <= 3 * 1200


def test_pillow_refuses_as_pillow_does(tmp_path: Path) -> None:
    image = Image.fromarray(picture(30, 40))
    with pytest.raises(OSError, match="cannot write mode CMYK"):
        image.convert("CMYK").save(tmp_path / "a.imp")
    with pytest.raises(OSError, match="out of reach"):
        image.save(tmp_path / "a.imp", size=3, model="toy")
    data = bytearray(package.compress(picture(30, 40), model="toy"))
    data[-1] ^= 1
    with pytest.raises(OSError, match="tile 0"):
        Image.open(io.BytesIO(bytes(data)))
