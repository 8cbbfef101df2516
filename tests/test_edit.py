"""Editing by latents: directions, references, mending, composing and inverting, where the answers are known."""

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
from imprior.data.batches import Images
from imprior.errors import CapabilityError, DataError
from imprior.metrics.psnr import psnr_db
from imprior.promises import Decodes, Encodes
from imprior.tasks import directions, edit, interpolate, invert, masks, search
from toys import TOYS, Identity, LinearDecoder, LinearGaussian, Pixels
from zoo import EXAMPLES, build, images

Command = Callable[..., Ended]


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def labelled(n=30, *, seed=0, classes=("cat", "dog", "t-shirt")):
    x = torch.rand(n, 1, 3, 3, generator=rng(seed))
    labels = torch.arange(n) % len(classes)
    x = x + labels.view(-1, 1, 1, 1) * torch.linspace(0, 0.5, 9).view(1, 1, 3, 3)
    return Images(x, labels, classes, "")


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(search.run, "__kwdefaults__", search.run.__kwdefaults__ | {"steps": 3, "starts": 2})
    monkeypatch.setattr(directions, "DRAWS", 200)  # components of images of 64 x 64 pixels take their time


# --- inversion


def test_an_encoder_is_asked_and_the_error_is_of_what_comes_back():
    model, x = LinearGaussian(), torch.rand(4, 1, 3, 3, generator=rng())
    found = invert.run(model, x, rng=rng())
    assert found.method == "encoder" and torch.equal(found.z, model.encode(x))
    assert torch.equal(found.psnr_db, psnr_db(x, found.mean))
    error = (255 * (found.mean.clamp(0, 1) - x)).double().square().flatten(1).mean(1).sqrt()
    assert found.record()["rmse"] == pytest.approx(error.tolist())


def test_exact_inversion_leaves_no_error():
    found = invert.run(Identity(), torch.rand(2, 1, 3, 3), rng=rng())
    assert found.psnr_db.tolist() == [math.inf] * 2
    assert found.record() == {"inversion": "encoder", "rmse": [0.0, 0.0], "psnr_db": [None, None]}


def test_what_only_decodes_is_searched():
    model = LinearDecoder()
    z = model.latent(5, rng(1))
    found = invert.run(model, model.decode(z), rng=rng())
    assert found.method == "search"
    shrunk = model.deviation**2 / (model.deviation**2 + search.SIGMA**2)  # the prior draws the estimate to zero
    assert torch.allclose(found.z, z * shrunk, atol=0.02)


# --- directions


def test_a_direction_of_labels_is_the_difference_of_their_means():
    model, images = LinearGaussian(), labelled()
    z = model.encode(images.x(slice(None)))
    mean = [z[images.labels == k].mean(0) for k in range(3)]
    rest = z[images.labels != 2].mean(0)
    for name, expected in (
        ("label:dog-cat", mean[1] - mean[0]),
        ("label:t-shirt-dog", mean[2] - mean[1]),
        ("dog-t-shirt", mean[1] - mean[2]),
        ("label:t-shirt", mean[2] - rest),
        ("t-shirt", mean[2] - rest),
    ):
        assert torch.allclose(directions.find(model, name, images, rng=rng()).step[0], expected, atol=1e-6), name


def test_components_of_codes_are_those_of_numpy():
    model, images = LinearGaussian((0.9, 0.5, 0.2)), labelled(60)
    codes = model.encode(images.x(slice(None))).double().numpy()
    values, vectors = np.linalg.eigh(np.cov(codes.T, bias=True))
    for number in (1, 2, 3):
        step = directions.find(model, f"pca:{number}", images, rng=rng()).step[0].double().numpy()
        expected = vectors[:, -number] * math.sqrt(values[-number])
        assert min(np.abs(step - expected).max(), np.abs(step + expected).max()) < 1e-6
        assert step[np.abs(step).argmax()] > 0


def test_components_of_what_is_decoded_are_carried_back_to_latents():
    model = LinearDecoder((0.2, 0.5))
    first = directions.find(model, "pca:1", None, rng=rng()).step[0]
    second = directions.find(model, "pca:2", None, rng=rng()).step[0]
    assert torch.allclose(first, torch.tensor([0.0, 0.5]), atol=0.05)  # of 2,000 draws
    assert torch.allclose(second, torch.tensor([0.2, 0.0]), atol=0.05)


def test_a_direction_of_labels_may_be_searched_for():
    model = LinearDecoder()
    z = torch.tensor([[0.4, 0.0], [-0.4, 0.0]]).repeat(4, 1)
    images = Images(model.decode(z), torch.tensor([1, 0]).repeat(4), ("no", "yes"), "")
    step = directions.find(model, "yes-no", images, rng=rng()).step[0]
    assert torch.allclose(step, torch.tensor([0.8, 0.0]), atol=0.05)


@pytest.mark.parametrize(
    ("name", "words"),
    [("pca:0", "from 1"), ("pca:x", "from 1"), ("pca:9", "2 components"), ("label:horse", "cat, dog, t-shirt"),
     ("label:cat-horse", "'horse'"), ("smile", "pca:K"), ("label:", "classes are")],
)  # fmt: skip
def test_directions_that_do_not_exist(name, words):
    with pytest.raises(DataError, match=words):
        directions.find(LinearGaussian(), name, labelled(), rng=rng())


def test_directions_without_what_they_want():
    with pytest.raises(DataError, match="labelled images"):
        directions.find(LinearGaussian(), "label:cat-dog", None, rng=rng())
    with pytest.raises(DataError, match="no images of class 'bird'"):
        directions.find(LinearGaussian(), "bird", labelled(2, classes=("cat", "dog", "bird")), rng=rng())
    with pytest.raises(DataError, match="all images are of class"):
        directions.find(LinearGaussian(), "cat", labelled(4, classes=("cat",)), rng=rng())
    with pytest.raises(CapabilityError, match="Decodes"):
        directions.find(Pixels(), "pca:1", None, rng=rng())


# --- edits


def test_moving_adds_steps_to_the_code():
    x, step = torch.rand(3, 1, 3, 3), torch.linspace(-0.1, 0.1, 9)
    found = edit.move(Identity(), x, directions.Direction(step[None], "own"), (-1, 0, 2.5), rng=rng())
    assert found.images.shape == (3, 3, 1, 3, 3) and found.columns == ("-1", "+0", "+2.5")
    for column, strength in enumerate((-1, 0, 2.5)):
        assert torch.allclose(found.images[:, column], x + strength * step.view(1, 1, 3, 3))
    assert len(found.rows()) == 3 and found.rows()[0].shape[0] == len(found.headings()) == 4


def test_a_reference_is_blended_in():
    x, reference = torch.rand(3, 1, 3, 3), torch.rand(1, 3, 3)
    found = edit.like(Identity(), x, reference, (0, 0.25, 1), rng=rng())
    assert torch.allclose(found.images[:, 0], x, atol=1e-6)
    assert torch.allclose(found.images[:, 1], 0.75 * x + 0.25 * reference)
    assert torch.allclose(found.images[:, 2], reference.expand_as(x), atol=1e-6)
    assert len(found.record()["psnr_db"]) == 3


def test_damage_anywhere_is_mended_by_the_nearest_image_of_the_model():
    model = LinearDecoder((3.0, 3.0))  # wide: its prior hardly draws
    clean = model.decode(torch.tensor([[0.2, -0.1]]))
    across = torch.linalg.qr(torch.cat([model.weight, torch.eye(9)], 1))[0][:, 2]  # what no image of the model has
    damaged = clean + 0.3 * across.view(1, 1, 3, 3)
    assert torch.allclose(edit.correct(model, damaged, rng=rng()).images[:, 0], clean, atol=5e-3)


def test_damage_under_a_mask_is_mended_and_the_rest_left_alone():
    model = LinearDecoder((3.0, 3.0))
    clean = model.decode(torch.tensor([[0.2, -0.1], [0.0, 0.3]]))
    known = masks.known("centre", 3, 3)
    damaged = torch.where(known, clean, torch.nan)
    found = edit.correct(model, damaged, known, rng=rng())
    assert torch.equal(found.images[:, 0][known.expand_as(clean)], clean[known.expand_as(clean)])
    assert torch.allclose(found.images[:, 0], clean, atol=0.02)
    assert edit.correct(Pixels(), clean.round(), known, rng=rng()).images.shape == (2, 1, 1, 3, 3)


def test_a_composition_is_an_image_of_the_model():
    model = LinearGaussian(sigma=0.05)
    x, other = model.sample(2, rng(1)), model.sample(1, rng(2))[0]
    known = masks.known("left", 3, 3)
    found = edit.compose(model, x, other, known, rng=rng())
    pasted = torch.where(known, x, other)
    assert torch.equal(found.shown["pasted"], pasted)
    assert torch.equal(found.images[:, 0], model.decode(model.encode(pasted)))
    assert found.headings() == ["original", "other", "pasted", "composed"]


DECODERS = {name: make for name, make in TOYS.items() if isinstance(make(), Decodes)}
DECODERS |= {name: (lambda e=e: build(e)) for name, e in EXAMPLES.items() if "Decodes" in e.promises}


@pytest.mark.parametrize("name", DECODERS)
def test_every_model_that_decodes_can_be_edited_and_walked(name, short):
    model = DECODERS[name]()
    x = images(model, 4)
    found = edit.like(model, x[:2], x[2], (0.0, 1.0), rng=rng())
    assert found.images.shape == (2, 2, *x.shape[1:])
    assert torch.allclose(found.images[:, 0], invert.run(model, x[:2], rng=rng()).mean, atol=1e-4) or not isinstance(
        model, Encodes
    )
    step = directions.find(model, "pca:1", None, rng=rng())
    assert edit.move(model, x[:2], step, (1.0,), rng=rng()).images.isfinite().all()
    walk = interpolate.run(model, x[:2], x[2:], steps=3, rng=rng())
    assert walk.shape == (2, 3, *x.shape[1:])
    drawn = interpolate.random(model, 3, rng=rng(), steps=4)
    assert drawn.shape[:2] == (3, 4) and drawn.isfinite().all()
    assert torch.equal(drawn, interpolate.random(model, 3, rng=rng(), steps=4))


def test_walks_of_drawn_latents_are_straight():
    walk = interpolate.random(LinearDecoder(), 5, rng=rng(), steps=3)
    assert torch.allclose(walk[:, 1], (walk[:, 0] + walk[:, 2]) / 2, atol=1e-6)
    with pytest.raises(DataError, match="at least 1 walk"):
        interpolate.random(LinearDecoder(), 0, rng=rng())
    with pytest.raises(CapabilityError, match="Decodes"):
        interpolate.random(Pixels(), 2, rng=rng())


def test_what_does_not_fit_is_refused():
    x = torch.rand(2, 1, 3, 3)
    for call, words in (
        (lambda: edit.like(Identity(), x, torch.rand(1, 3, 4), (1,), rng=rng()), "reference"),
        (lambda: edit.like(Identity(), x, x[0], (), rng=rng()), "at least one strength"),
        (lambda: edit.compose(Identity(), x, torch.rand(1, 2, 3), masks.known("top", 3, 3), rng=rng()), "other image"),
        (lambda: edit.compose(Identity(), x, x[0], torch.ones(1, 1, 3, 3) > 0, rng=rng()), "hides no pixel"),
        (lambda: edit.run(Identity(), torch.rand(1, 1, 5, 5), rng=rng()), "this model is for"),
        (lambda: edit.run(Identity(), x[:0], rng=rng()), "no images"),
    ):
        with pytest.raises(DataError, match=words):
            call()
    for call in (lambda: edit.run(Pixels(), x, rng=rng()), lambda: edit.like(Pixels(), x, x[0], (1,), rng=rng())):
        with pytest.raises(CapabilityError, match="Decodes"):
            call()


# --- face and command line


@pytest.fixture
def pictures(bars: Path, tmp_path: Path) -> list[Path]:
    files = [tmp_path / f"{number}.png" for number in range(3)]
    for file, image in zip(files, np.load(bars)["x_test"], strict=False):
        Image.fromarray(image).save(file)
    mask = np.zeros((28, 28), np.uint8)
    mask[:, 10:16] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    return files


def test_every_edit_writes_its_picture(
    imprior: Command, trained: dict[str, Path], bars: Path, pictures: list[Path], tmp_path: Path
) -> None:
    mask, out = tmp_path / "mask.png", tmp_path / "out.png"
    for more, columns in (
        (["--direction", "label:7-1", "--data", bars], ["-1", "-0.5", "+0", "+0.5", "+1"]),
        (["--direction", "pca:2", "--strength", "-1.5,3"], ["-1.5", "+3"]),
        (["--like", pictures[2]], ["+0", "+0.25", "+0.5", "+0.75", "+1"]),
        (["--correct"], ["corrected"]),
        (["--correct", "--mask", mask], ["corrected"]),
        (["--compose", pictures[2], "--mask", mask], ["composed"]),
        (["--invert"], ["inverted"]),
    ):
        done = imprior("edit", trained["vae"], pictures[0], pictures[1], *more, "-o", out, "--json")
        assert done.code == 0, done.err
        found = json.loads(done.out)
        assert (found["images"], found["columns"]) == (2, columns)
        with Image.open(out) as picture:
            assert picture.height > 2 * 28 and picture.width > (1 + len(columns)) * 28
        out.unlink()
    said = imprior("edit", trained["vae"], pictures[0], "--invert", "-o", out)
    inverted = package.edit(trained["vae"], pictures[:1], invert=True)
    assert inverted.inversion is not None
    assert f"{float(inverted.inversion.psnr_db[0]):.1f} dB" in said.out and str(pictures[0]) in said.out


def test_directions_are_learned_from_training_images(trained: dict[str, Path], bars: Path) -> None:
    found = package.edit(trained["ae"], bars, direction="label:7-1", strengths=[1.0], examples=bars, limit=2)
    model = package.load(trained["ae"])
    assert found.inversion is not None
    labels = np.load(bars)["y_train"]
    from imprior.data import prepare
    from imprior.data.settings import Data

    train = prepare.load(bars, Data(), "train")
    with torch.no_grad():
        z = model.encode(train.x(slice(None)))
        step = z[train.labels == 7].mean(0) - z[train.labels == 1].mean(0)
        expected = model.decode(found.inversion.z + step)
    assert len(train) < len(labels)  # the held-out ones are left out
    assert torch.allclose(found.images[:, 0], expected, atol=1e-4)


def test_what_a_person_can_do_wrong(
    imprior: Command, trained: dict[str, Path], bars: Path, pictures: list[Path], tmp_path: Path
) -> None:
    small = tmp_path / "small.png"
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(small)
    begin = ["edit", trained["ae"], pictures[0], "-o", tmp_path / "out.png"]
    for more, words in (
        ([], ["one of direction, like, correct, compose, invert"]),
        (["--correct", "--invert"], ["correct and invert"]),
        (["--direction", "label:7-1"], ["--data"]),
        (["--direction", "label:7-11", "--data", bars], ["'11'"]),
        (["--direction", "pca:1", "--strength", "much"], ["'much'"]),
        (["--invert", "--strength", "1"], ["strength"]),
        (["--invert", "--mask", small], ["mask"]),
        (["--compose", pictures[1]], ["mask"]),
        (["--compose", pictures[1], "--mask", small], ["8x8", "28x28"]),
        (["--like", tmp_path / "missing.png"], ["missing.png"]),
        (["--like", small], ["8", "28"]),
    ):
        ended = imprior(*begin, *more)
        assert ended.code == 2 and ended.out == "" and all(word in ended.line for word in words), ended.err
    refused = imprior("edit", "wavelets", pictures[0], "--invert", "-o", tmp_path / "out.png")
    assert refused.code == 2 and "Decodes" in refused.line and "mnist-vae" in refused.line
    assert "28" in imprior("edit", trained["ae"], small, "--invert", "-o", tmp_path / "out.png").line
    assert not (tmp_path / "out.png").exists()


def test_walks_without_images(imprior: Command, trained: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "walk.png"
    done = imprior("interpolate", trained["vae"], "--pairs", 3, "--steps", 5, "-o", out, "--json")
    assert json.loads(done.out)["pairs"] == 3
    assert package.interpolate(trained["vae"], pairs=3, steps=5).shape == (3, 5, 1, 28, 28)
    first = out.read_bytes()
    assert imprior("interpolate", trained["vae"], "--pairs", 3, "--steps", 5, "--seed", 1, "-o", out).code == 0
    assert out.read_bytes() != first
