"""EXIF and colour profile pass from file to file, in every format that holds them, and never turn a picture twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms

from imprior.data.extras import NONE, Extras
from imprior.data.images import read_picture, read_whole
from imprior.data.writing import check, encode, write_picture
from imprior.errors import DataError

RNG = np.random.default_rng(0)
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
SUFFIXES = [".png", ".jpg", ".webp", ".tif"]
FORMS = {"grey": (5, 7), "colour": (5, 7, 3), "colour and alpha": (5, 7, 4)}


def exif(orientation: int | None = None) -> bytes:
    tags = Image.Exif()
    tags[ExifTags.Base.Make] = "Camera"
    tags[ExifTags.IFD.Exif] = {ExifTags.Base.ExposureTime: 0.5, ExifTags.Base.MakerNote: b"private\0bytes"}
    if orientation is not None:
        tags[ExifTags.Base.Orientation] = orientation
    return tags.tobytes()


def told(path: Path) -> dict[object, object]:
    """What another program reads of it."""
    with Image.open(path) as image:
        tags = image.getexif()
        inner = tags.get_ifd(ExifTags.IFD.Exif)
        return {
            "make": tags.get(ExifTags.Base.Make),
            "orientation": tags.get(ExifTags.Base.Orientation, 1),
            "exposure": inner.get(ExifTags.Base.ExposureTime),
            "note": inner.get(ExifTags.Base.MakerNote),
            "profile": image.info.get("icc_profile"),
        }


@pytest.mark.parametrize("orientation", [None, 1, 6])
@pytest.mark.parametrize("source", SUFFIXES)
@pytest.mark.parametrize("target", SUFFIXES)
@pytest.mark.parametrize("deep", [False, True])
def test_they_pass_from_every_format_to_every_other(
    source: str, target: str, deep: bool, orientation: int | None, tmp_path: Path
) -> None:
    if deep and {source, target} & {".jpg", ".webp"}:
        return  # which have 8 bits
    stored = RNG.integers(0, 256, (5, 7, 3), np.uint8).astype(np.uint16 if deep else np.uint8) * (257 if deep else 1)
    first, second = tmp_path / f"a{source}", tmp_path / f"b{target}"
    write_picture(first, stored, extras=Extras(exif(orientation), PROFILE))
    pixels, extras = read_whole(first)
    upright = np.rot90(stored, -1) if orientation == 6 else stored
    assert pixels.shape == upright.shape and pixels.dtype == stored.dtype
    assert source == ".jpg" or np.array_equal(pixels, upright)
    write_picture(second, pixels, extras=extras)
    with Image.open(second) as again:
        assert again.size == pixels.shape[1::-1]
    assert np.array_equal(read_picture(second), pixels) or target == ".jpg"  # not turned again
    expected = {"make": "Camera", "orientation": 1, "exposure": 0.5, "note": b"private\0bytes", "profile": PROFILE}
    assert told(second) == expected


def test_what_was_not_turned_is_kept_byte_for_byte(tmp_path: Path) -> None:
    given = exif()
    write_picture(tmp_path / "a.jpg", np.zeros((4, 4), np.uint8), extras=Extras(given))
    assert read_whole(tmp_path / "a.jpg")[1].exif == given


def test_a_profile_is_kept_only_for_its_kind_of_pixels(tmp_path: Path) -> None:
    cmyk = PROFILE[:16] + b"CMYK" + PROFILE[20:]
    Image.new("CMYK", (4, 4)).save(tmp_path / "a.jpg", icc_profile=cmyk)
    pixels, extras = read_whole(tmp_path / "a.jpg")
    assert extras.profile == cmyk and pixels.shape == (4, 4, 3)
    for name in ("b.png", "b.jpg"):
        write_picture(tmp_path / name, pixels, extras=extras)
        assert told(tmp_path / name)["profile"] is None
    grey = PROFILE[:16] + b"GRAY" + PROFILE[20:]
    for form, kept in ((FORMS["grey"], grey), (FORMS["colour"], None), (FORMS["colour and alpha"], None)):
        write_picture(tmp_path / "c.png", np.zeros(form, np.uint8), extras=Extras(profile=grey))
        assert told(tmp_path / "c.png")["profile"] == kept


def test_pictures_without_them_have_none(tmp_path: Path) -> None:
    for suffix in (*SUFFIXES, ".npy"):
        write_picture(tmp_path / f"a{suffix}", np.zeros((4, 4, 3), np.uint8))
        assert read_whole(tmp_path / f"a{suffix}")[1] == NONE


@pytest.mark.parametrize("form", [(9, 5, 3), (9, 5, 4)])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bit_colour_comes_back_as_written(suffix: str, form: tuple[int, ...], tmp_path: Path) -> None:
    deep = RNG.integers(0, 65536, form, np.uint16)
    write_picture(tmp_path / f"a{suffix}", deep)
    assert np.array_equal(read_picture(tmp_path / f"a{suffix}"), deep)
    with Image.open(tmp_path / f"a{suffix}") as image:  # other programs can open it too
        assert np.abs(np.asarray(image).astype(int) - (deep >> 8)).max() <= 1


def test_pictures_of_several_strips_are_whole(tmp_path: Path) -> None:
    tall = RNG.integers(0, 256, (700, 3, 3), np.uint8)
    write_picture(tmp_path / "a.png", tall)
    assert np.array_equal(read_picture(tmp_path / "a.png"), tall)


def test_what_cannot_be_written_is_told_before_the_work() -> None:
    with pytest.raises(DataError, match=r"a\.jpg: JPEG can't hold transparency"):
        check("a.jpg", np.zeros((4, 4, 4), np.uint8))
    with pytest.raises(DataError, match="70,000 bytes of EXIF"):
        check("a.jpg", np.zeros((4, 4, 3), np.uint8), Extras(b"Exif\0\0" + bytes(69_994)))
    check("-", np.zeros((4, 4, 4), np.uint8))
    assert encode(np.zeros((4, 4), np.uint8), ".png").startswith(b"\x89PNG")
