"""Classical codecs keep what they promise, and the rate-distortion task reports what the bytes say."""

from __future__ import annotations

import io
import json
import math
import sys
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image

from imprior.coding.classical import CODECS, codec
from imprior.coding.container import compress, decompress, weights_hash
from imprior.data.batches import Images
from imprior.errors import BitstreamError, CapabilityError, DataError, MissingExtraError
from imprior.metrics.psnr import psnr_db
from imprior.models.coded import CodesLatents
from imprior.tasks import rate_distortion
from imprior.tasks.rate_distortion import cut, mosaic
from toys import TOYS, Levels

LOSSLESS = [name for name, c in CODECS.items() if None in c.qualities]
SLOW = "avif-slow"  # seconds for a thumbnail; what it has of its own is tested apart
LOSSY = [name for name, c in CODECS.items() if len(c.qualities) > 1 and name != SLOW]


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def needs(name):
    if name == "jxl":
        pytest.importorskip("imagecodecs", reason="the extra `bench` is not installed")


def pictures():
    """8-bit pictures of odd sizes: noise, one pixel, one level only, smooth, sparse; grey and colour."""
    random = np.random.default_rng(0)
    smooth = (127 + 120 * np.sin(np.arange(40 * 33) / 50)).astype(np.uint8).reshape(40, 33)
    sparse = np.where(random.random((28, 28)) < 0.9, 0, 255).astype(np.uint8)
    for grey in (random.integers(0, 256, (17, 30), dtype=np.uint8), np.full((1, 1), 7, np.uint8),
                 np.zeros((28, 28), np.uint8), np.full((5, 9), 255, np.uint8), smooth, sparse):  # fmt: skip
        yield grey
        yield np.stack([grey, grey[::-1], 255 - grey], axis=2)


def photo():
    """A picture like a photograph: coarse structure, finer structure of less contrast; grey mostly. 48 x 64."""
    random = np.random.default_rng(3)
    luma = np.zeros((48, 64))
    for size, contrast in ((16, 50), (8, 25), (4, 12), (2, 6)):
        luma += np.kron(random.normal(0, contrast, (48 // size, 64 // size)), np.ones((size, size)))
    chroma = np.kron(random.normal(0, 15, (3, 4, 3)), np.ones((16, 16, 1)))
    return (128 + luma[..., None] + chroma).clip(0, 255).astype(np.uint8)


class Blocks(CodesLatents):
    """4x4 images by the mean of each quarter: a codec of four numbers."""

    levels = None
    classes = None

    def __init__(self):
        super().__init__()
        self.shape = (1, 4, 4)

    def encode(self, x):
        return torch.nn.functional.avg_pool2d(x, 2).flatten(1)

    def decode(self, z, labels=None):
        return z.view(-1, 1, 2, 2).repeat_interleave(2, 2).repeat_interleave(2, 3)

    def latent(self, n, rng):
        return torch.rand(n, 4, generator=rng)


def small(n, seed=0):
    return torch.randint(0, 256, (n, 1, 4, 4), generator=rng(seed)) / 255


@pytest.fixture(scope="module")
def blocks():
    model = Blocks()
    model.calibrate([small(3000, 5)])
    return model


# ── classical codecs ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", LOSSLESS)
def test_lossless_codecs_give_the_same_picture_back(name):
    needs(name)
    for picture in pictures():
        channels = 1 if picture.ndim == 2 else 3
        if codec(name).lossless(None, channels):
            back = codec(name).decode(codec(name).encode(picture, None), channels)
            assert back.dtype == np.uint8
            assert np.array_equal(back, picture)


def test_gif_is_lossless_for_grey_only():
    assert codec("gif").lossless(None, 1)
    assert not codec("gif").lossless(None, 3)
    back = codec("gif").decode(codec("gif").encode(photo(), None), 3)
    assert back.shape == photo().shape
    assert not np.array_equal(back, photo())
    assert len(np.unique(back.reshape(-1, 3), axis=0)) <= 256


@pytest.mark.parametrize("name", LOSSY)
def test_more_quality_is_more_bytes_and_a_better_picture(name):
    needs(name)
    for picture in (photo(), photo()[..., 0]):
        sizes, errors = [], []
        for quality in (q for q in codec(name).qualities if q is not None):
            data = codec(name).encode(picture, quality)
            back = codec(name).decode(data, 1 if picture.ndim == 2 else 3)
            assert back.shape == picture.shape
            assert not codec(name).lossless(quality, 1)
            sizes.append(len(data))
            errors.append(float(np.square(back.astype(float) - picture).mean()))
        assert sizes[0] < sizes[-1] / 2
        assert name == "jxl" or all(a < b for a, b in pairwise(sizes))  # it chooses between two methods
        assert all(a > b for a, b in pairwise(errors))
        assert errors[0] > 4 * errors[-1]
        assert errors[-1] < 15  # 36 dB


def test_files_are_what_their_names_say():
    expected = {
        "png": "PNG",
        "gif": "GIF",
        "webp": "WEBP",
        "jpeg": "JPEG",
        "avif": "AVIF",
        "lzw": "TIFF",
        "rle": "TIFF",
    }
    for name, form in expected.items():
        with Image.open(io.BytesIO(codec(name).encode(photo(), codec(name).qualities[0]))) as image:
            assert image.format == form
            if form == "TIFF":
                assert image.info["compression"] == {"lzw": "tiff_lzw", "rle": "packbits"}[name]
    assert codec("jpeg2000").encode(photo(), 30)[:4] == b"\xff\x4f\xff\x51"  # a bare codestream


def test_huffman_is_between_the_entropy_and_one_bit_more():
    random = np.random.default_rng(1)
    picture = random.geometric(0.07, (50, 60)).clip(0, 255).astype(np.uint8)
    counts = np.unique(picture, return_counts=True)[1]
    entropy = float(-(counts * np.log2(counts / picture.size)).sum())
    payload = 8 * (len(codec("huffman").encode(picture, None)) - 5 - 32 - len(counts))
    assert entropy <= payload + 8
    assert payload < entropy + picture.size
    assert payload < 1.03 * entropy  # what is usual for a distribution without a dominating level


def test_huffman_with_levels_of_very_different_frequency():
    """Fibonacci counts make the deepest tree: code words of up to 20 bits."""
    counts = [1, 1]
    while len(counts) < 21:
        counts.append(counts[-1] + counts[-2])
    picture = np.repeat(np.arange(21), counts).astype(np.uint8)[None, :]
    data = codec("huffman").encode(picture, None)
    assert max(data[37 : 37 + 21]) == 20
    assert np.array_equal(codec("huffman").decode(data, 1), picture)


@pytest.mark.parametrize("name", CODECS)
def test_damaged_files_are_refused(name):
    needs(name)
    data = codec(name).encode(photo(), codec(name).qualities[0])
    for wrong in (b"", b"no picture at all", data[:20]):
        with pytest.raises(BitstreamError, match=name):
            codec(name).decode(wrong, 3)


@pytest.mark.parametrize("name, coarse", [("jpeg", True), ("jpeg-444", False), ("avif", True), ("avif-slow", False)])
def test_which_codecs_halve_the_resolution_of_colour(name, coarse):
    stripes = np.zeros((16, 16, 3), np.uint8)
    stripes[:, ::2], stripes[:, 1::2] = (140, 80, 80), (80, 110, 80)  # colours side by side, alike in brightness
    back = codec(name).decode(codec(name).encode(stripes, 95), 3).astype(int)
    contrast = np.abs(back[:, ::2, 0] - back[:, 1::2, 0]).mean()
    assert contrast < 30 if coarse else contrast > 50


def test_noise_in_colour_has_room_in_a_jpeg():
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    data = codec("jpeg-444").encode(noise, 94)
    assert len(data) > 256 * 256
    assert codec("jpeg-444").decode(data, 3).shape == noise.shape


def test_what_a_format_has_no_room_for_is_said():
    with pytest.raises(DataError, match="webp can't encode a picture of 17000 x 1 pixels"):
        codec("webp").encode(np.zeros((1, 17000), np.uint8), 50)
    with pytest.raises(DataError, match="huffman can't encode"):
        codec("huffman").encode(np.zeros((1, 70000), np.uint8), None)


def test_an_unknown_codec_names_the_nearest():
    with pytest.raises(DataError, match="did you mean 'jpeg'"):
        codec("jpg")


def test_a_missing_library_matters_only_to_who_asks_for_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    with pytest.raises(MissingExtraError, match=r"imprior\[bench\]"):
        rate_distortion.run({}, small(2), codecs=["png", "jxl"])
    assert rate_distortion.run({}, small(2), codecs=["png"]).points


# ── the task ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("n", [1, 2, 7, 30])
@pytest.mark.parametrize("shape", [(1, 4, 4), (3, 5, 2), (1, 1, 9)])
def test_a_mosaic_can_be_cut_again(n, shape):
    x = torch.rand(n, *shape, generator=rng())
    picture = mosaic(x)
    assert picture.shape[0] == shape[0]
    assert torch.equal(cut(picture, x.shape), x)
    assert torch.equal(picture[:, : shape[1], : shape[2]], x[0])


def test_points_of_a_model_are_its_bytes(blocks):
    x = small(12, 1)
    found = rate_distortion.run({"blocks": blocks}, x, modes=["image", "set"])
    assert len(found.points) == 2 * blocks.rates
    weights = weights_hash(blocks)
    for point, rate in zip(found.points, 2 * list(range(blocks.rates)), strict=True):
        pieces = x.split(1) if point.mode == "image" else [x]
        files = [compress(blocks, piece, rate, weights=weights) for piece in pieces]
        back = torch.cat([decompress(blocks, file, weights=weights) for file in files])
        assert (point.codec, point.setting, point.learned, point.lossless) == ("blocks", f"rate {rate}", True, False)
        assert point.bits_per_pixel == 8 * sum(map(len, files)) / (12 * 16)
        assert point.psnr_db == pytest.approx(float(psnr_db(x, back).mean()), abs=1e-6)
        assert point.encode_seconds > 0
        assert point.decode_seconds > 0
    alone, together = found.curve("blocks", "image"), found.curve("blocks", "set")
    assert all(a.bits_per_pixel - b.bits_per_pixel > 8 * 10 / 16 for a, b in zip(alone, together, strict=True))
    assert [a.psnr_db for a in alone] == pytest.approx([b.psnr_db for b in together], abs=1e-4)


def test_points_of_a_classical_codec_are_its_bytes():
    x = small(9, 2)
    one, many = rate_distortion.run({}, x, codecs=["jpeg"]).curve("jpeg", "image"), None
    levels = (255 * x).round().byte().numpy()[:, 0]
    for point, quality in zip(one, CODECS["jpeg"].qualities, strict=True):
        files = [codec("jpeg").encode(picture, quality) for picture in levels]
        back = np.stack([codec("jpeg").decode(file, 1) for file in files])[:, None]
        assert point.bits_per_pixel == 8 * sum(map(len, files)) / (9 * 16)
        assert point.psnr_db == pytest.approx(float(psnr_db(x, torch.from_numpy(back) / 255).mean()), abs=1e-6)
    many = rate_distortion.run({}, x, codecs=["jpeg"], modes=["set"]).points
    data = codec("jpeg").encode(levels.reshape(3, 3, 4, 4).transpose(0, 2, 1, 3).reshape(12, 12), 95)
    assert many[-1].bits_per_pixel == 8 * len(data) / (9 * 16)


@pytest.mark.parametrize("channels", [1, 3])
def test_lossless_points_are_marked_and_lossy_ones_are_not(channels):
    x = torch.randint(0, 256, (5, channels, 6, 7), generator=rng()) / 255
    names = [name for name in CODECS if name not in ("jxl", SLOW)]
    for point in rate_distortion.run({}, x, codecs=names).points:
        lossless = point.setting == "lossless"
        assert point.lossless == lossless
        assert math.isinf(point.psnr_db) == lossless
        assert (point.record()["psnr_db"] is None) == lossless
        assert not point.learned
    assert not rate_distortion.run({}, x, codecs=["jpeg"]).curve("png", "image")


def test_a_lossless_model_is_marked_and_costs_what_its_table_says():
    x = torch.zeros(300, 1, 3, 3)
    x[:, 0, 0, 0] = torch.arange(1, 301) % 255 / 255 + 1 / 255
    point = rate_distortion.run({"levels": Levels()}, x, modes=["set"]).points[0]
    assert point.lossless
    bits = 300 * (9 + math.log2(255))
    assert bits < point.bits_per_pixel * 2700 < bits + 8 * 20  # header, shape not counted: the model's own


def test_a_codec_that_only_claims_to_be_lossless_is_found_out():
    class Liar(Levels):
        def synthesise(self, latents, rate):
            return super().synthesise(latents, rate).clamp(0, 0.99)

    with pytest.raises(AssertionError, match="said to be lossless"):
        rate_distortion.run({"liar": Liar()}, torch.ones(2, 1, 3, 3))


def test_an_image_that_happens_to_come_back_equal_does_not_make_the_mean_infinite():
    x = torch.cat([torch.zeros(1, 1, 8, 8), torch.randint(0, 256, (1, 1, 8, 8), generator=rng()) / 255])
    point = rate_distortion.run({}, x, codecs=["jpeg"], modes=["image"]).points[-1]
    assert not point.lossless
    assert math.isfinite(point.psnr_db)
    black = rate_distortion.run({}, x[:1], codecs=["jpeg"], modes=["image"]).points[-1]
    assert black.psnr_db == pytest.approx(10 * math.log10(255**2 * 64))


def test_the_record_is_json_and_the_table_has_every_setting(blocks):
    pixels = (255 * small(6)).round().byte()
    images = Images(pixels, None, (), "0123abcd")
    seen = []
    found = rate_distortion.run(
        {"blocks": blocks}, images, codecs=["png", "jpeg"], limit=4, progress=lambda *a: seen.append(a)
    )
    record = json.loads(json.dumps(found.record(), allow_nan=False))
    assert record["protocol"] == {"images": 4, "shape": [1, 4, 4], "data": "0123abcd"}
    assert len(record["points"]) == len(found.points) == 2 * (8 + 1 + 8)
    assert seen == [(i + 1, 34) for i in range(34)]
    table = found.markdown().splitlines()
    assert len(table) == 2 + 8 + 1 + 8
    assert all(line.count("|") == table[0].count("|") for line in table)
    assert "| png | lossless |" in table[10]


def test_images_and_tensors_give_the_same(blocks):
    pixels = (255 * small(5)).round().byte()
    a = rate_distortion.run({"b": blocks}, Images(pixels, None, (), "x"), modes=["set"])
    b = rate_distortion.run({"b": blocks}, pixels / 255, modes=["set"])
    assert [p.bits_per_pixel for p in a.points] == [p.bits_per_pixel for p in b.points]


def test_what_can_not_be_asked(blocks):
    with pytest.raises(CapabilityError, match="pixels does not keep the promise Codes"):
        rate_distortion.run({"pixels": TOYS["pixels"]()}, small(1))
    with pytest.raises(DataError, match=r"images are \(1, 3, 3\), but blocks is for \(1, 4, 4\)"):
        rate_distortion.run({"blocks": blocks}, torch.zeros(1, 1, 3, 3))
    with pytest.raises(DataError, match="no images"):
        rate_distortion.run({"blocks": blocks}, torch.zeros(0, 1, 4, 4))
    with pytest.raises(DataError, match="256 levels"):
        rate_distortion.run({}, torch.full((1, 1, 4, 4), 0.3), codecs=["png"])
    with pytest.raises(DataError, match="1 or 3 channels"):
        rate_distortion.run({}, torch.zeros(1, 2, 4, 4), codecs=["png"])
    with pytest.raises(DataError, match="did you mean 'webp'"):
        rate_distortion.run({}, small(1), codecs=["web"])
    with pytest.raises(CapabilityError, match="no entropy tables"):
        rate_distortion.run({"fresh": Blocks()}, small(1))


def test_settings_run_from_the_worst_picture_to_the_best():
    for each in CODECS.values():
        levels = [q for q in each.qualities if q is not None]
        assert levels == sorted(levels, reverse=each.scale == "distance")
        assert None not in each.qualities[:-1]
        assert len({each.label(q, 1) for q in each.qualities}) == len(each.qualities)


def test_images_of_different_sizes_are_files_of_their_own():
    sizes = ((20, 30), (33, 17), (20, 30))
    pictures = tuple((255 * torch.rand(3, *size, generator=rng(i))).to(torch.uint8) for i, size in enumerate(sizes))
    images = Images(pictures, None, (), "")
    found = rate_distortion.run({}, images, codecs=["jpeg", "png"])
    assert {point.mode for point in found.points} == {"image"}
    assert found.shape == (3, None, None) and found.images == 3
    files = [codec("jpeg").encode(p.permute(1, 2, 0).numpy(), 50) for p in pictures]
    point = next(p for p in found.curve("jpeg", "image") if p.setting == "quality 50")
    assert point.bits_per_pixel == pytest.approx(8 * sum(map(len, files)) / sum(h * w for h, w in sizes))
    with pytest.raises(DataError, match="--mode image"):
        rate_distortion.run({}, images, codecs=["jpeg"], modes=["image", "set"])
