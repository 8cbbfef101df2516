"""Filling by plug-and-play: closed forms on toys, known pixels bit for bit, tiles without seams, all pictures."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import imprior as package
from conftest import Ended
from imprior.errors import CapabilityError, DataError
from imprior.models.classical import BY_NAME
from imprior.tasks import complete, fill, masks
from toys import TOYS, Identity, LocalShrinkage, Pixels, Shrinkage
from zoo import EXAMPLES, build, images

Command = Callable[..., Ended]


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def holes(height, width, share=0.5):
    return masks.known(f"random:{share}", height, width, rng=rng(1))


class Stripes:
    """Knows that pictures are columns of one colour each: averages every column, or every row if that fits better."""

    shape = (None, None, None)
    levels = classes = None

    def denoise(self, y, sigma=None):
        found = [y.mean(axis, keepdim=True).expand_as(y) for axis in (2, 3)]
        return min(found, key=lambda x: float((x - y).square().sum()))


def test_independent_pixels_are_drawn_to_their_mean_as_often_as_there_are_steps():
    model, x, known = Shrinkage(), torch.rand(2, 3, 7, 9, generator=rng()), holes(7, 9)
    kept = math.prod(0.2**2 / (0.2**2 + sigma**2) for sigma in fill.levels(model))
    begun = fill.start(x, known.expand(2, -1, -1, -1))
    expected = torch.where(known, x, 0.5 + kept * (begun - 0.5))
    assert torch.allclose(fill.run(model, x, known), expected, atol=1e-6)  # single precision
    assert 0.01 < kept < 0.99, "neither nothing nor everything"


def test_what_a_prior_knows_is_mended():
    x = torch.rand(1, 3, 1, 24, generator=rng()).expand(-1, -1, 20, -1)
    for picture in (x, x.transpose(2, 3)):
        known = holes(*picture.shape[2:], 0.6)
        found = fill.run(Stripes(), picture, known)
        begun = fill.start(picture, known)
        # Each of 24 steps leaves of a column's error no more than its share of hidden pixels.
        assert (begun - picture).abs().max() > 0.3 and (found - picture).abs().max() < 0.02


@pytest.mark.parametrize("model", [LocalShrinkage(), Stripes(), BY_NAME["total-variation"]()])
def test_a_constant_picture_comes_back_constant(model):
    x = torch.full((1, 3, 40, 41), 0.3)
    assert torch.allclose(fill.run(model, x, holes(40, 41, 0.8)), x, atol=1e-6)


def test_the_start_is_smooth_and_hits_a_slope():
    rows, columns = torch.meshgrid(torch.linspace(0, 1, 64), torch.linspace(0, 1, 48), indexing="ij")
    x = (0.2 + 0.3 * rows + 0.4 * columns)[None, None]
    for known in (holes(64, 48, 0.8), masks.known("centre", 64, 48)):
        begun = fill.start(torch.where(known, x, torch.nan), known)
        assert torch.equal(begun[known], x[known])
        assert (begun - x).square().mean().sqrt() < 0.01 and (begun - x).abs().max() < 0.05


@pytest.mark.parametrize("size", [(40, 56), (37, 51)])
def test_tiles_leave_no_seam(size, monkeypatch):
    x = torch.rand(1, 3, *size, generator=rng())
    for share in (0.02, 0.7):
        known = holes(*size, share)
        whole = fill.run(LocalShrinkage(), x, known)
        monkeypatch.setattr(fill, "TILE", 8)
        assert torch.allclose(fill.run(LocalShrinkage(), x, known), whole, atol=1e-6)
        monkeypatch.undo()


def test_a_small_hole_in_a_large_picture_is_worked_on_alone():
    class Watched(LocalShrinkage):
        seen = 0

        def denoise(self, y, sigma=None):
            self.seen = max(self.seen, y[0, 0].numel())
            return super().denoise(y, sigma)

    model = Watched()
    picture = np.full((3000, 2000), 77, np.uint8)
    known = torch.ones(1, 1, 3000, 2000, dtype=torch.bool)
    known[..., 1500:1510, 700:720] = False
    assert (fill.fill_picture(model, picture, known) == 77).all()
    assert model.seen <= (10 + 2 * fill.NEAR + 2 * 4) * (20 + 2 * fill.NEAR + 2 * 4)


DENOISING = {"shrinkage": TOYS["shrinkage"], "local-shrinkage": TOYS["local-shrinkage"]}
DENOISING |= {name: (lambda e=e: build(e)) for name, e in EXAMPLES.items() if "Denoises" in e.promises}


@pytest.mark.parametrize("name", DENOISING)
def test_known_pixels_come_back_bit_for_bit_and_hidden_ones_do_not_matter(name):
    model = DENOISING[name]()
    x = images(model, 2)
    known = masks.known("random:0.4", *x.shape[2:], rng=rng())
    found = fill.run(model, x, known, steps=3)
    everywhere = known.expand_as(x)
    assert found.shape == x.shape and bool(found.isfinite().all())
    assert torch.equal(found[everywhere], x[everywhere])
    assert torch.equal(fill.run(model, torch.where(known, x, torch.nan), known, steps=3), found)
    one_by_one = torch.cat([fill.run(model, image, known, steps=3) for image in torch.split(x, 1)])
    assert torch.allclose(one_by_one, found, atol=1e-6)


KINDS = [
    np.random.default_rng(0).integers(0, 256, (21, 30), np.uint8),
    np.random.default_rng(0).integers(0, 256, (21, 30, 3), np.uint8),
    np.random.default_rng(0).integers(0, 65536, (21, 30, 4), np.uint16),
    np.random.default_rng(0).integers(0, 65536, (21, 30, 2), np.uint16),
    np.random.default_rng(0).random((21, 30, 1), np.float32),
    np.random.default_rng(0).random((21, 30, 3)),
]


@pytest.mark.parametrize("picture", KINDS, ids=lambda p: f"{p.dtype} {p.shape}")
@pytest.mark.parametrize("model", [LocalShrinkage(), Shrinkage()])
def test_every_kind_of_picture_keeps_its_shape_its_type_and_what_is_known(picture, model):
    known = holes(21, 30, 0.3)[0, 0].numpy()
    hidden = picture.copy()
    hidden[~known] = np.nan if picture.dtype.kind == "f" else 0
    if picture.ndim == 3 and picture.shape[2] in (2, 4):
        hidden[..., -1] = picture[..., -1]  # nobody hides transparency
    found = package.fill(hidden, (~known).astype(np.uint8) * 255, model=model)
    assert (found.dtype, found.shape) == (picture.dtype, picture.shape)
    assert np.array_equal(found[known], picture[known]) and np.isfinite(found.astype(float)).all()
    if picture.ndim == 3 and picture.shape[2] in (2, 4):
        assert np.array_equal(found[..., -1], picture[..., -1])
    assert (found[~known] != hidden[~known]).any()


def test_a_grey_model_fills_colours_one_by_one():
    class Grey(LocalShrinkage):
        shape = (1, None, None)

    picture = KINDS[1]
    mask = (~holes(21, 30, 0.3)[0, 0].numpy()).astype(np.uint8) * 255
    whole = package.fill(picture, mask, model=Grey())
    single = [package.fill(np.ascontiguousarray(picture[..., c]), mask, model=Grey()) for c in range(3)]
    assert np.array_equal(whole, np.stack(single, 2))


def test_denoisers_of_any_size_complete_by_plug_and_play():
    x, known = torch.rand(2, 3, 8, 8, generator=rng()), holes(8, 8)
    found = complete.run(Shrinkage(), x, known, rng=rng())
    assert found.method == "plug-and-play" and found.images.shape == (2, 1, 3, 8, 8) and not found.exact
    assert "plug-and-play" in found.record()["how"] and found.record()["n"] == 1
    assert complete.method_for(Identity()) == "search" and complete.method_for(Pixels()) == "conditional"


def test_what_can_t_be_filled_is_refused():
    x, known = torch.rand(1, 1, 8, 8), holes(8, 8)
    with pytest.raises(DataError, match="1 completion, not 4"):
        complete.run(Shrinkage(), x, known, rng=rng(), n=4)
    with pytest.raises(CapabilityError, match="one result"):
        complete.run(Shrinkage(), x, known, rng=rng(), draw=True)
    with pytest.raises(CapabilityError, match="Denoises"):
        complete.run(Identity(), torch.rand(1, 1, 3, 3), holes(3, 3), rng=rng(), method="plug-and-play")
    for mask, words in (
        (np.zeros((8, 8), np.uint8), "hides no pixel"),
        (np.full((8, 8), 255, np.uint8), "hides every pixel"),
        (np.zeros((8, 9), np.uint8), "9x8"),
        (None, "one of the two"),
    ):
        with pytest.raises(DataError, match=words):
            package.fill(np.zeros((8, 8), np.uint8), mask, model=Shrinkage())
    with pytest.raises(DataError, match="picture is"):
        package.fill(np.zeros((8, 8, 5), np.uint8), model=Shrinkage(), hide="top")
    with pytest.raises(DataError, match="picture is"):
        package.fill(np.zeros(8, np.uint8), model=Shrinkage(), hide="top")


# --- command line


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    rows, columns = np.mgrid[0:24, 0:32]
    picture = np.stack([5 * rows, 6 * columns, 100 + 2 * rows + columns, 255 - rows], 2).astype(np.uint8)
    Image.fromarray(picture, "RGBA").save(tmp_path / "photo.png")
    scratch = np.zeros((24, 32), np.uint8)
    scratch[10:12, 3:30] = 255
    Image.fromarray(scratch).save(tmp_path / "scratch.png")
    return tmp_path / "photo.png"


def test_a_scratched_photograph_is_mended(imprior: Command, photo: Path, tmp_path: Path) -> None:
    out, mask = tmp_path / "mended.png", tmp_path / "scratch.png"
    ended = imprior("complete", "total-variation", photo, "--mask", mask, "-n", 1, "-o", out)
    assert ended.code == 0 and "plug-and-play" in ended.err
    before, after, hidden = (np.asarray(Image.open(path)) for path in (photo, out, mask))
    assert np.array_equal(after[hidden == 0], before[hidden == 0]) and after.shape == before.shape
    assert np.abs(after.astype(int) - before)[hidden > 0].max() <= 12  # slopes; the scratch itself is as good as new
    found = json.loads(imprior("complete", "total-variation", photo, "--mask", mask, "-o", out, "--json").out)
    assert (found["method"], found["model"], found["n"]) == ("plug-and-play", "total-variation", 1)


def test_what_a_person_can_do_wrong(imprior: Command, photo: Path, tmp_path: Path) -> None:
    out, mask = tmp_path / "out.png", tmp_path / "scratch.png"
    for name, pixels in (("small", np.zeros((8, 8))), ("black", np.zeros((24, 32))), ("white", np.full((24, 32), 255))):
        Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / f"{name}.png")
    (tmp_path / "text.png").write_text("no picture")
    right = ["total-variation", photo, "--mask", mask, "-o", out]
    for words, told in (
        ([*right, "-n", 4], ["1 completion", "-n 1"]),
        ([*right, "--draw"], ["--draw"]),
        ([*right, "--label", 1], ["--label"]),
        (["total-variation", photo, mask, "--mask", mask, "-o", out], ["one picture"]),
        (["total-variation", photo, "--mask", mask, "-o", photo], ["photo.png", "over"]),
        (["total-variation", photo, "--mask", tmp_path / "small.png", "-o", out], ["8x8", "32x24"]),
        (["total-variation", photo, "--mask", tmp_path / "black.png", "-o", out], ["hides no pixel"]),
        (["total-variation", photo, "--mask", tmp_path / "white.png", "-o", out], ["hides every pixel"]),
        (["total-variation", photo, "--mask", tmp_path / "text.png", "-o", out], ["text.png"]),
        (["total-variation", tmp_path / "none.png", "--mask", mask, "-o", out], ["none.png"]),
        ([photo, "--mask", mask, "-o", out, "--method", "search"], ["--method search", "MODEL"]),
        ([photo, "--data", tmp_path, "--mask", mask, "-o", out], ["one of the two"]),
        (["mnist-dvae", photo, "--mask", mask, "-o", out, "--method", "plug-and-play"], ["28"]),
    ):
        ended = imprior("complete", *words)
        assert ended.code == 2 and ended.out == "" and all(word in ended.line for word in told), ended.err
    assert not out.exists()
