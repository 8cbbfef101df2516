"""The scripts that measure the photo codec run through, and what they say is what the files are."""

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imprior import recipes, runs
from imprior.coding.classical import codec
from imprior.promises import kept
from test_codec_whole import made
from test_compress import picture
from zoo.codec import SMALL

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import codec_encoder
import codec_kinds
import codec_memory
import codec_pictures
import codec_seams
import codec_speed
import dead_units
import drawn_pictures
import photo_codecs
import rate_distortion
import show

pytest.importorskip("scipy")
pytest.importorskip("skimage")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run of a codec that was not trained."""
    model = made(0.0)
    run = runs.Run(tmp_path_factory.mktemp("codec"))
    recipe = dataclasses.replace(recipes.find("photo-codec"), model=SMALL)
    runs.write_tensors(run.weights_file, model.state_dict(), {"recipe": recipe.name})
    run.write("recipe.json", recipes.as_json(recipe))
    run.write("card.json", {"promises": kept(model)})
    return str(run.path)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Two pictures of different shape."""
    place = tmp_path_factory.mktemp("photographs")
    for number, (height, width) in enumerate([(192, 264), (264, 192)]):
        Image.fromarray(picture(height, width, number)).save(place / f"{number}.png")
    return str(place)


@pytest.fixture(autouse=True)
def results(tmp_path, monkeypatch):
    monkeypatch.setattr(show, "RESULTS", tmp_path)
    monkeypatch.setattr(rate_distortion, "RESULTS", tmp_path)
    return tmp_path


def test_rate_and_distortion_are_of_the_files(folder, source, results, monkeypatch):
    pytest.importorskip("matplotlib")
    names = ["jpeg", "jpeg-444", "avif"]
    asked = [source, "--model", folder, "--points", "3", "--peers", *names, "--keep", str(results / "kept.jsonl")]
    rate_distortion.main([*asked, "--efforts", "0", "--limit", "1"])
    whole = (results / "rate_distortion.png").read_bytes()
    rate_distortion.main([*asked, "--efforts", "0", "1", "--search-points", "2", "--limit", "1"])
    found = json.loads((results / "rate_distortion.json").read_text())
    assert whole[:4] == b"\x89PNG" and whole != (results / "rate_distortion.png").read_bytes()
    assert [row["codec"] for row in found["rows"]] == ["imprior", "imprior, effort 1", *names]
    given = picture(192, 264, 0)
    points = {(p["codec"], p["quality"]): p for p in found["points"]}
    assert points["jpeg", 50]["bits_per_pixel"] == 8 * len(codec("jpeg").encode(given, 50)) / (192 * 264)
    for name, row in ((row["codec"], row) for row in found["rows"]):
        both = row["bd_rate jpeg 4:2:0"], row["bd_rate jpeg 4:4:4"]
        assert row["bd_rate jpeg"] == (None if None in both else max(both))
        if name in ("jpeg", "avif"):
            assert row["bd_rate jpeg 4:2:0" if name == "jpeg" else "bd_rate avif"] == pytest.approx(0)
        assert 0 < points[name, row["settings"] and next(q for c, q in points if c == name)]["ms_ssim"] <= 1

    def never(*_):
        raise AssertionError("measured again")

    monkeypatch.setattr(rate_distortion, "measure", never)
    rate_distortion.main([*asked, "--efforts", "0", "--limit", "1"])  # goes on from what was kept


def test_published_curves_stand_beside_the_published_jpeg():
    rows = rate_distortion.quoted({})
    by_name = {row["published curve"]: row["bd_rate published jpeg"] for row in rows}
    assert by_name["scale hyperprior"] == pytest.approx(-55.49, abs=0.01)  # as its source's points give by this method
    assert by_name["VTM 18 (VVC)"] == pytest.approx(-67.49, abs=0.01)
    assert rows[0]["bd_rate published jpeg"] == 0 and set(rate_distortion.DRAWN) <= set(by_name)
    assert all("](https://" in row["source"] for row in rows)


def test_speed_both_ways_and_without_torch(folder, source, results, monkeypatch):
    monkeypatch.setattr(photo_codecs, "SETTINGS", dict.fromkeys(("imprior", "avif", "jpeg"), (30, 60)))
    monkeypatch.setattr(codec_speed, "FRAME", (96, 128))
    codec_speed.main(["--model", folder, "--pictures", source, "--limit", "1", "--turns", "1", "--plain-side", "64"])
    found = json.loads((results / "codec_speed.json").read_text())
    assert (
        [row["codec"] for row in found["rows"]]
        == [row["codec"] for row in found["frame"]]
        == ["imprior", "avif", "jpeg"]
    )
    assert all(row[f"{way}code_megapixels_per_second"] > 0 for row in found["rows"] for way in ("en", "de"))
    assert found["without_torch"][0]["picture"] == "64 x 64"


def test_memory_of_both_commands(folder, results):
    codec_memory.main(["--model", folder, "--sides", "200", "--suffixes", ".png"])
    rows = json.loads((results / "codec_memory.json").read_text())["rows"]
    assert [row["command"] for row in rows] == ["compress", "decompress"]
    assert all(0.05 < row["peak_gib"] < 2 for row in rows) and rows[0]["bytes_per_pixel"] is None


def test_kinds(folder, results, monkeypatch):
    monkeypatch.setattr(codec_kinds, "ALL", (1, 40, 95))
    codec_kinds.main(["--model", folder, "--limit", "1", "--kinds", "flat"])
    (flat,) = json.loads((results / "codec_kinds.json").read_text())["rows"]
    assert flat["without_loss"] == 1 and flat["jpeg_better"] == "0 of 4"  # stored as a colour
    assert flat["against jpeg %"] < -90 and flat["against avif %"] < -50


def test_pictures_at_few_bits(folder, source, results, monkeypatch):
    monkeypatch.setattr(codec_pictures, "RESULTS", results)
    monkeypatch.setattr(codec_pictures, "FINE", {"imprior": (0, 100), "jpeg": (5, 50, 90)})
    codec_pictures.main(["--model", folder, "--pictures", source, "--limit", "1", "--bpp", "0.5", "--side", "64"])
    (row,) = json.loads((results / "codec_pictures.json").read_text())["rows"]
    given = picture(192, 264, 0)
    sizes = [8 * len(codec("jpeg").encode(given, quality)) / (192 * 264) for quality in (5, 50, 90)]
    assert row["jpeg bits_per_pixel"] == max([size for size in sizes if size <= 0.5], default=sizes[0])
    with Image.open(results / "codec_pictures.png") as drawn:
        assert drawn.size[0] > 3 * 64


def test_drawn_pictures_are_the_same_each_time():
    for draw, shape in ((drawn_pictures.screen, (512, 768, 3)), (drawn_pictures.scan, (704, 512))):
        one, again, other = draw(1), draw(1), draw(2)
        assert one.shape == shape and one.dtype == np.uint8
        assert np.array_equal(one, again) and not np.array_equal(one, other)
    plain, shaded = drawn_pictures.drawing(1), drawn_pictures.drawing(1, shaded=True)
    assert len(np.unique(shaded[:, 0], axis=0)) > 10 > len(np.unique(plain[:40, 0], axis=0))


@pytest.mark.parametrize("quality", [1, 40, 99])
def test_the_smallest_and_the_best_file_are_found(quality):
    given = picture(64, 80)
    every = dataclasses.replace(codec("jpeg"), qualities=tuple(range(1, 101)))
    wanted = codec_kinds.coded(every, given, quality)
    found = codec_kinds.smallest(every, given, wanted.db)
    assert found is not None and found.db >= wanted.db and found.bytes <= wanted.bytes
    found = codec_kinds.best_within(every, given, wanted.bytes)
    assert found is not None and found.bytes <= wanted.bytes and found.db >= wanted.db
    assert codec_kinds.smallest(every, given, 90.0) is None and codec_kinds.best_within(every, given, 10) is None


def test_seams(folder, source, results):
    codec_seams.main([source, "--model", folder, "--limit", "1", "--qualities", "30", "--sides", "256"])
    (row,) = json.loads((results / "codec_seams.json").read_text())["rows"]
    assert row["pictures"] == 1 and abs(row["difference_db"]) < 0.5
    near = codec_seams.band(300, 520, 256)
    assert near[:, 248:264].all() and near[248:264].all() and near[:, 504:].all()
    assert near.sum() == 16 * 520 + 32 * 284 and not codec_seams.band(256, 200, 256).any()


def test_settings_are_thinned_between_both_ends():
    assert photo_codecs.thinned(range(0, 101, 5), 3) == (0, 50, 100)
    assert photo_codecs.thinned((1, 2), None) == photo_codecs.thinned((1, 2), 9) == (1, 2)


def test_what_the_encoder_gains(folder, source, results):
    codec_encoder.main([source, "--model", folder, "--qualities", "30", "--steps", "2", "--side", "128"])
    rows = {row["choice"]: row for row in json.loads((results / "codec_encoder.json").read_text())["rows"]}
    assert rows["caution 2"]["gain_percent"] == 0  # what effort 0 does
    assert rows["2 steps"]["gain_percent"] >= 0 and rows["2 steps"]["seconds_per_megapixel"] > 0
    assert abs(rows["float"]["gain_percent"]) < 20


def test_dead_units_are_found_and_begin_anew(folder, source, results, tmp_path):
    run = runs.Run(tmp_path / "dead")
    for name in ("recipe.json", "card.json"):
        run.write(name, runs.Run(Path(folder)).read(name))
    weights = runs.read_tensors(runs.Run(Path(folder)).weights_file)[0]
    block = next(name for name in weights if name.startswith("analysis.") and name.endswith(".second.weight"))
    block = block.removesuffix(".second.weight")
    # One in a block; one between a convolution and one that doubles, whose weights have inputs first.
    weights[f"{block}.first.bias"][0] = weights["from_side.0.bias"][1] = -1e6
    weights[f"{block}.second.weight"][:, 0] = weights["from_side.2.weight"][1] = 1.0
    runs.write_tensors(run.weights_file, weights, {})
    dead_units.main([source, "--models", str(run.path), "--crop", "128"])
    rows = {row["layer"]: row for row in json.loads((results / "dead_units.json").read_text())["rows"]}
    assert rows[block]["dead"] >= 1 and rows["from_side.0"]["dead"] >= 1

    dead_units.main([source, "--models", str(run.path), "--crop", "128", "--revive", str(tmp_path / "revived")])
    revived = runs.read_tensors(runs.Run(tmp_path / "revived").weights_file)[0]
    assert revived[f"{block}.first.bias"][0] == 0 and not revived[f"{block}.second.weight"][:, 0].any()
    assert revived["from_side.0.bias"][1] == 0 and not revived["from_side.2.weight"][1].any()
    assert set(revived) == set(weights)
