"""Wanted sizes and qualities are met, by real files with all their headers."""

import math

import numpy as np
import pytest
import torch

from imprior.coding.tiled import pack, unpack
from imprior.errors import DataError
from imprior.models.codec import LEVELS
from imprior.tasks import coder, photo_file, rate_control, rate_distortion
from imprior.tasks.coder import Coder, to_grey
from imprior.tasks.compress import decompress
from imprior.tasks.photo_file import Target, as_codec, decode, encode
from imprior.tasks.rate_control import at_psnr, at_quality, at_size
from test_codec_whole import made
from test_compress import coded, picture

SIDE = 256


@pytest.fixture(scope="module")
def codec():
    return made(0.0)


@pytest.fixture(scope="module")
def given():
    return picture(300, 600)


def psnr(a, b):
    return 10 * math.log10(255**2 / np.square(a.astype(float) - b).mean())


@pytest.mark.parametrize("keep", [0, 10**6])
def test_a_quality_is_the_same_file_as_without_a_search(codec, given, keep):
    coder = Coder(codec, given, side=SIDE, keep=keep)
    for quality in (70, 20, 70):
        assert pack(at_quality(coder, quality).photograph) == pack(coded(codec, given, quality, side=SIDE))
    assert len(coder._grids) == (6 if keep else 0)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.97])
def test_sizes_are_met_from_below_within_three_per_cent(codec, given, share):
    small, large = (len(pack(coded(codec, given, q, side=SIDE))) for q in (0, 100))
    wanted = int(small + share * (large - small))
    found = at_size(Coder(codec, given, side=SIDE, extras={"exif": b"MM\0*"}), wanted)
    assert 0.97 * wanted <= len(pack(found.photograph)) <= wanted and not found.told
    decompress(codec, found.photograph)


def test_sizes_out_of_reach(codec, given):
    coder = Coder(codec, given, side=SIDE)
    with pytest.raises(DataError, match="out of reach"):
        at_size(coder, 100)
    found = at_size(coder, 10**7)
    assert found.quality == 100 and "quality 100 takes" in found.told


@pytest.mark.parametrize("share", [0.03, 0.5, 0.9])
def test_psnr_is_met_within_a_tenth_of_a_decibel(codec, given, share):
    low, high = (psnr(decompress(codec, coded(codec, given, q, side=SIDE)), given) for q in (0, 100))
    wanted = low + share * (high - low)
    found = at_psnr(Coder(codec, given, side=SIDE), wanted)
    measured = psnr(decompress(codec, unpack(pack(found.photograph))), given)
    assert abs(measured - wanted) <= 0.1 and found.psnr_db == pytest.approx(measured)


def test_psnr_out_of_reach(codec, given):
    with pytest.raises(DataError, match="out of reach"):
        at_psnr(Coder(codec, given, side=SIDE), 90)
    found = at_psnr(Coder(codec, given, side=SIDE), 1)
    assert found.quality == 0 and "as near as" in found.told


def test_searches_take_few_passes(codec, given):
    size = len(pack(coded(codec, given, 37, side=SIDE)))
    coder = Coder(codec, given, side=SIDE)
    at_size(coder, int(1.01 * size))
    assert coder.passes <= 7


@pytest.mark.parametrize("form", [(40, 50), (40, 50, 1), (40, 50, 2), (40, 50, 3), (40, 50, 4)])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
def test_every_kind_of_picture_comes_back(codec, form, kind):
    top = {np.uint8: 255, np.uint16: 65535, np.float32: 1}[kind]
    given = (picture(40, 50)[..., [0, 1, 2, 0]] / 255)[..., : form[2] if len(form) == 3 else 1].reshape(form)
    exact = np.rint(255 * given).astype(np.uint8)
    given = np.rint(given * top).astype(kind) if kind is not np.float32 else given.astype(kind)
    coded = encode(codec, given, Target(95))
    assert coded.told == {np.uint8: "", np.uint16: "16 bits reduced to 8"}.get(kind, "floating numbers reduced to 8")
    found = decode(codec, coded.data).picture
    assert found.dtype == np.uint8 and found.shape == (form[:2] if form[2:] == (1,) else form)
    assert psnr(found.reshape(form), exact) > 24  # of an untrained codec
    if form[2:] in ((2,), (4,)):
        assert np.array_equal(found[..., -1], exact[..., -1])
    if kind is not np.uint8:
        with pytest.raises(DataError, match="strict"):
            encode(codec, given, Target(95), strict=True)


def test_effort_costs_less_and_still_meets_targets(codec, monkeypatch):
    monkeypatch.setattr(coder, "STEPS", (0, 8))
    monkeypatch.setattr(photo_file, "STEPS", (0, 8))
    model, given, told = made(0.02), picture(100, 300), []

    def cost(found):
        level = torch.tensor(0.6 * (LEVELS - 1))
        square = np.square(decode(model, found.data).picture.astype(float) - given).sum() / 3
        return 8 * len(found.data) + float(model.weight(level)) * square

    plain = encode(model, given, Target(60), side=SIDE)
    better = encode(model, given, Target(60), side=SIDE, effort=1, tell=lambda *done: told.append(done))
    assert cost(better) < 0.99 * cost(plain)
    assert told[-1] == (200, 200) and told == sorted(told) and len(told) > 10
    plain = encode(codec, given, Target(60), side=SIDE)
    found = encode(codec, given, Target(size=len(plain.data)), side=SIDE, effort=1)
    assert 0.97 * len(plain.data) <= len(found.data) <= len(plain.data)
    wanted = psnr(decode(codec, plain.data).picture, given)
    found = encode(codec, given, Target(psnr_db=wanted), side=SIDE, effort=1)
    assert found.psnr_db == pytest.approx(wanted, abs=0.1)
    with pytest.raises(DataError, match="effort 2"):
        encode(model, given, Target(60), effort=2)


def test_grey_is_the_rounded_mean_of_three():
    levels = np.arange(256, dtype=np.uint8)
    assert np.array_equal(to_grey(np.stack([levels] * 3, 1)[None])[0], levels)
    assert to_grey(np.array([[[0, 0, 1], [0, 1, 1], [255, 255, 254]]], np.uint8)).tolist() == [[0, 1, 255]]


def test_targets_that_make_no_sense():
    for wrong in ({"bpp": 1, "size": 3}, {"bpp": -1}, {"psnr_db": math.nan}, {"size": 0}, {"quality": 101}):
        with pytest.raises(DataError):
            Target(**wrong)


def test_the_next_quality_is_looked_for_between_the_known_ones():
    for target in (0.0, 3.3, 50.0, 99.9):
        found = {}

        def measure(quality, found=found):
            found[quality] = None
            return float(quality)

        low, high = rate_control._between(measure, found, target, 1.0, enough=0.0)
        assert low == math.floor(target) and high in (low + 1, None)


def test_it_stands_beside_classical_codecs_by_the_same_files(codec):
    given = np.stack([picture(64, 96, seed=s) for s in range(2)])
    x = torch.from_numpy(given).permute(0, 3, 1, 2) / 255
    found = rate_distortion.run({}, x, codecs=[as_codec(codec), "jpeg"], modes=["image"])
    points = found.curve("imprior", "image")
    assert [p.setting for p in points] == [f"quality {q}" for q in range(0, 101, 10)] and len(found.points) > 11
    sizes = [len(encode(codec, one, Target(50)).data) for one in given]
    assert points[5].bits_per_pixel == pytest.approx(8 * sum(sizes) / (2 * 64 * 96))
