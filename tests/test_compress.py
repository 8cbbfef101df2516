"""Photographs in files, tile by tile: on a toy whose answers are known, and on a small codec."""

import io
import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from imprior.coding.entropy import Encoder
from imprior.coding.tiled import Photograph, Tile, pack, unpack
from imprior.errors import BitstreamError
from imprior.tasks import compress
from imprior.tasks.coder import Coder
from imprior.tasks.compress import Area, areas, decompress
from imprior.tasks.exactly import Exactly, from_png
from test_codec_whole import made
from toys import TiledLevels

SIDE = 256


def picture(height, width, seed=0):
    """A photograph's likeness with some noise, so that no tile is stored without loss."""
    coarse = torch.rand(1, 3, height // 32 + 2, width // 32 + 2, generator=torch.Generator().manual_seed(seed))
    x = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")[0].permute(1, 2, 0).numpy()
    noise = np.random.default_rng(seed).normal(0, 0.02, x.shape)
    return np.clip((x + noise) * 255, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def codec():
    return made(0.0)


def coded(model, given, rate, **settings):
    """What a file of the picture holds."""
    return Coder(model, given, **settings).at(rate)


def through(model, given, rate, **settings):
    return decompress(model, unpack(pack(coded(model, given, rate, **settings))))


@pytest.mark.parametrize("height, width", [(2, 3), (5, 300), (256, 256), (257, 511), (300, 700)])
@pytest.mark.parametrize("rate", [0, 3])
def test_tiles_leave_no_trace(height, width, rate, monkeypatch):
    monkeypatch.setattr(Exactly, "instead", lambda *of: None)  # the model's tiles alone
    given = picture(height, width)
    model = TiledLevels()
    whole = model.synthesise(model.analyse(torch.from_numpy(given).permute(2, 0, 1)[None] / 255, rate), rate)
    expected = (whole[0].permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
    found = through(model, given, rate, side=SIDE)
    assert found.dtype == np.uint8 and found.shape == given.shape
    assert {t.kind for t in coded(model, given, rate, side=SIDE).tiles} == {"learned"}
    assert np.array_equal(found, expected)


def test_a_codec_leaves_no_seam(codec):
    given = picture(300, 600)
    apart = through(codec, given, 60, side=SIDE).astype(float)
    whole = through(codec, given, 60, side=1024).astype(float)
    band = np.s_[:, 248:264]
    errors = [np.square(v[band] - given[band]).mean() for v in (apart, whole)]
    assert abs(10 * np.log10(errors[0] / errors[1])) < 0.3  # an untrained one
    assert np.abs(apart - whole).max() < 40


def test_a_region_is_decoded_alone_to_the_same_pixels(codec):
    given = picture(520, 600)
    file = coded(codec, given, 50, side=SIDE)
    whole = decompress(codec, file)
    for region in (Area(0, 1, 0, 1), Area(200, 300, 250, 270), Area(300, 520, 599, 600)):
        assert np.array_equal(decompress(codec, file, region=region), region.of(whole))


def test_flat_and_drawn_tiles_are_stored_without_loss(codec):
    given = picture(300, 520)
    given[:256, :256] = (7, 200, 31)
    given[:256, 256:512] = 255
    given[100:110, 300:400] = 0  # a line on white
    file = coded(codec, given, 80, side=SIDE)
    assert [t.kind for t in file.tiles[:2]] == ["colour", "png"] and file.tiles[3].kind == "learned"
    found = decompress(codec, file)
    assert np.array_equal(found[:256, :512], given[:256, :512])


def test_sound_tiles_of_a_damaged_file_are_salvaged(codec):
    given = picture(300, 700)
    file = coded(codec, given, 50, side=SIDE)
    data = bytearray(pack(file))
    begun = len(data) - sum(len(t.payload) for t in file.tiles)
    data[begun + len(file.tiles[0].payload) + 3] ^= 1  # in tile 1
    with pytest.raises(BitstreamError, match="tile 1"):
        unpack(bytes(data))
    lost = []
    found = decompress(codec, unpack(bytes(data), salvage=True), lost=lost)
    assert lost == [1]
    whole = decompress(codec, file)
    assert np.array_equal(found[:, 640:], whole[:, 640:])
    assert np.array_equal(found[:256, :128], whole[:256, :128])  # further from it than the synthesis sees
    assert (found[:256, 256:512] == 128).all()


def test_a_tile_that_no_encoder_wrote_is_lost_alone(codec):
    """Its bytes are whole, so only decoding shows it; the neighbour that looks at it first is decoded without it."""
    file = coded(codec, picture(300, 700), 50, side=SIDE)
    assert file.tiles[1].kind == "learned"
    tiles = [*file.tiles]
    tiles[1] = replace(tiles[1], payload=b"\xff" * 40)
    lost = []
    found = decompress(codec, unpack(pack(replace(file, tiles=tiles))), lost=lost)
    assert lost in ([], [1])  # nearly any bytes are those of some picture
    assert np.array_equal(found[:, 640:], decompress(codec, file)[:, 640:])


def test_a_file_of_another_model_is_refused(codec):
    file = coded(codec, picture(40, 40), 50)
    with pytest.raises(BitstreamError, match="another model"):
        decompress(TiledLevels(), file)


def test_the_file_survives_packing_and_every_damage_is_noticed():
    tiles = [Tile("learned", 30, b"abc"), Tile("colour", 100, b"xyz"), Tile("png", 100, b"")]
    file = Photograph(b"hash", 700, 200, 256, True, tiles, {"alpha": b"A" * 5, "exif": b"E"})
    data = pack(file)
    assert unpack(data) == file
    for length in range(len(data)):
        with pytest.raises(BitstreamError):
            unpack(data[:length])
    for place in range(len(data)):
        for bit in range(8):
            damaged = bytearray(data)
            damaged[place] ^= 1 << bit
            with pytest.raises(BitstreamError):
                unpack(bytes(damaged))
    with pytest.raises(BitstreamError, match="follow"):
        unpack(data + b"!")


def test_headers_that_promise_too_much_are_refused():
    file = Photograph(b"hash", 1 << 16, 1 << 15, 4096, False, [Tile("colour", 100, b"abc")] * 128)
    with pytest.raises(BitstreamError, match="pixels"):
        unpack(pack(file))
    assert unpack(pack(file), most_pixels=1 << 31) == file
    data = bytearray(pack(file))
    data[2] = 9
    with pytest.raises(BitstreamError, match="version 9"):
        unpack(bytes(data))
    with pytest.raises(BitstreamError, match="empty"):
        unpack(b"")


@pytest.mark.parametrize("payload", [b"", b"not a picture", "RGB", "LA"])
def test_lossless_tiles_that_are_none_are_refused(codec, payload):
    if payload in ("RGB", "LA"):
        file = io.BytesIO()
        Image.new(payload, (3, 3) if payload == "RGB" else (8, 8)).save(file, "PNG")
        payload = file.getvalue()
    sound = coded(codec, np.full((8, 8, 3), 9, np.uint8), 50)
    for tile in (Tile("png", 100, payload), Tile("colour", 100, b"four")):
        file = Photograph(sound.weights, 8, 8, 1024, False, [tile])
        with pytest.raises(BitstreamError):
            decompress(codec, file)


@pytest.mark.parametrize("colours, mode", [("grey", "L"), (2, "P"), (200, "P"), ("many", "RGB")])
def test_what_is_stored_without_loss_takes_as_few_channels_as_it_needs(colours, mode):
    rng = np.random.default_rng(0)
    if colours == "grey":
        pixels = np.repeat(rng.integers(0, 256, (40, 50, 1), np.uint8), 3, 2)
    else:
        kinds = 40 * 50 if colours == "many" else colours
        pixels = rng.integers(0, 256, (kinds, 3), np.uint8)[rng.permutation(40 * 50).reshape(40, 50) % kinds]
    data = Exactly(pixels).data
    with Image.open(io.BytesIO(data)) as image:
        assert image.mode == mode
    assert np.array_equal(from_png(data, (40, 50)), pixels)
    if mode != "L":
        with pytest.raises(BitstreamError):
            from_png(data, (40, 50), grey=True)


def test_a_palette_that_lacks_a_colour_is_damage():
    data = Exactly(np.array([[[1, 2, 3], [4, 5, 6], [7, 8, 9]]], np.uint8)).data
    place = data.index(b"PLTE")
    short = struct.pack(">I", 6) + data[place : place + 10]
    damaged = data[: place - 4] + short + struct.pack(">I", zlib.crc32(short[4:])) + data[place + 4 + 9 + 4 :]
    with pytest.raises(BitstreamError, match="palette"):
        from_png(damaged, (1, 3))


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_palette_where_none_is_used_is_refused(mode):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    data = Exactly(pixels if mode == "RGB" else pixels[..., 0]).data
    chunk = b"PLTE" + bytes(6)
    place = data.index(b"IDAT") - 4
    more = data[:place] + struct.pack(">I", 6) + chunk + struct.pack(">I", zlib.crc32(chunk)) + data[place:]
    with pytest.raises(BitstreamError, match="no encoder writes"):
        from_png(more, (40, 50))


def test_areas_tile_a_picture():
    covered = np.zeros((300, 520), int)
    for area in areas(300, 520, 256):
        area.of(covered)[...] += 1
    assert (covered == 1).all() and len(areas(300, 520, 256)) == 6


def test_large_tiles_without_loss_are_found_from_a_part_of_their_rows():
    drawn = np.full((700, 700, 3), 250, np.uint8)
    for row in range(20, 680, 30):  # like lines of text
        drawn[row : row + 12, 50:650:7] = np.random.default_rng(row).integers(0, 2, (12, 86, 1)) * 200
    exact = Exactly(drawn)
    size = len(exact.data)
    assert exact.instead(size, lambda: 0.0) == exact.data and exact.instead(size - 1, lambda: 0.0) is None
    assert np.array_equal(from_png(exact.data, (700, 700)), drawn)
    noise = Exactly(picture(700, 700))
    assert noise.instead(10_000, lambda: 1e9) is None and "data" not in vars(noise)


def test_coarser_pixels_stand_in_for_a_codec_that_shows_them_no_better_in_no_fewer_bytes():
    given = np.random.default_rng(0).integers(0, 256, (128, 128, 3), np.uint8)
    exact, most = Exactly(given), 13_000
    assert len(exact.data) > most
    found = exact.instead(most, lambda: 700.0)
    pixels = from_png(found, (128, 128))
    assert len(found) <= most and np.square(pixels.astype(float) - given).mean() <= 700
    assert (pixels[given == 0] == 0).all() and (pixels[given == 255] == 255).all()
    assert exact.instead(len(found) - 1, lambda: 700.0) is None and exact.instead(most, lambda: 300.0) is None


@pytest.mark.parametrize("error, kind", [(700.0, "png"), (1.0, "learned")])
def test_a_tile_is_stored_as_what_is_better(codec, monkeypatch, error, kind):
    given = np.random.default_rng(0).integers(0, 256, (128, 128, 3), np.uint8)
    monkeypatch.setattr(Encoder, "finish", lambda self: bytes(13_000))
    monkeypatch.setattr(compress, "_mse", lambda *of: error)
    assert [t.kind for t in coded(codec, given, 50).tiles] == [kind]
