"""Filling in: against conditional distributions in closed form or by enumeration, by every method."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import imprior as package
from conftest import Ended
from imprior.errors import CapabilityError, DataError
from imprior.models import autoregressive
from imprior.models.pixel_outputs import Categorical, Joint
from imprior.nn.causal import MaskedConvolution
from imprior.promises import Completes, Decodes
from imprior.tasks import complete, masks, posterior, search
from toys import TOYS, BernoulliVae, Brightness, Identity, LinearDecoder, LinearGaussian, Pixels, every_image
from zoo import EXAMPLES, build, images

Command = Callable[..., Ended]
TOP = masks.known("bottom", 3, 3)  # known: the upper two rows of nine pixels


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


# --- masks


@pytest.mark.parametrize("part", ["top", "bottom", "left", "right", "centre", "random:0.5"])
def test_named_parts_hide_some_and_not_all(part):
    for height, width in ((3, 3), (28, 28), (5, 8)):
        mask = masks.known(part, height, width, rng=rng())
        assert mask.shape == (1, 1, height, width) and mask.any() and not mask.all()


def test_halves_and_the_centre_are_where_they_are_said_to_be():
    assert masks.known("top", 4, 2)[0, 0].tolist() == [[False, False]] * 2 + [[True, True]] * 2
    assert masks.known("right", 2, 4)[0, 0].tolist() == [[True, True, False, False]] * 2
    centre = ~masks.known("centre", 8, 8)[0, 0]
    assert centre[2:6, 2:6].all() and centre.sum() == 16
    assert (~masks.known("random:0.25", 8, 8, rng=rng())).sum() == 16


@pytest.mark.parametrize("picture", [np.uint8([[255, 0], [0, 200]]), np.float32([[1, 0], [0.2, 0.6]]),
                                     np.uint8([[[255] * 3, [0] * 3], [[9] * 3, [255] * 3]]),
                                     np.uint8([[[255, 255], [0, 255]], [[0, 0], [255, 0]]])])  # fmt: skip
def test_white_is_filled_in(picture):
    assert masks.of_picture(picture, 2, 2)[0, 0].tolist() == [[False, True], [True, False]]


@pytest.mark.parametrize("part", ["botom", "top:0.5", "random", "random:0", "random:1", "random:x", "random:nan"])
def test_parts_that_do_not_exist_are_refused(part):
    with pytest.raises(DataError):
        masks.known(part, 8, 8, rng=rng())


def test_masks_that_make_no_sense_are_refused():
    x = torch.rand(2, 1, 3, 3)
    for mask, words in (
        (torch.ones(1, 1, 3, 3, dtype=torch.bool), "hides no pixel"),
        (torch.zeros(1, 1, 3, 3, dtype=torch.bool), "hides every pixel"),
        (torch.tensor([True, False]).view(2, 1, 1, 1).expand(2, 1, 3, 3), "pixel"),  # each image's own mask counts
        (TOP[..., :2], "shape"),
        (TOP.expand(3, -1, -1, -1), "shape"),
        (TOP.float(), "true where"),
    ):
        with pytest.raises(DataError, match=words):
            complete.run(Identity(), x, mask, rng=rng())
    with pytest.raises(DataError, match="3x3"):
        masks.of_picture(np.zeros((3, 3), np.uint8), 3, 4)


# --- each method against what is known of its answers


def test_the_models_own_conditional_is_drawn_from():
    x = every_image()[77:78].float()
    found = complete.run(Pixels(), x, TOP, n=4000, rng=rng())
    assert (found.method, found.exact) == ("conditional", True)
    frequency = found.images[0].mean(0)[~TOP[0]]
    assert torch.allclose(frequency, Pixels().logits.sigmoid()[~TOP[0]], atol=0.03)  # four standard errors


def test_draws_of_latents_have_the_moments_of_the_exact_conditional():
    model = LinearGaussian((0.8, 0.5), sigma=0.3, dtype=torch.float64)
    x, known = model.sample(1, rng(5)), TOP.flatten()
    found = posterior.run(model, x.expand(1500, -1, -1, -1), TOP.expand(1500, -1, -1, -1), rng=rng())
    weight = model.weight[known]
    precision = torch.eye(2, dtype=torch.float64) + weight.T @ weight / model.sigma**2
    mean = torch.linalg.solve(precision, weight.T @ (x.flatten() - model.offset)[known] / model.sigma**2)
    assert torch.allclose(found.z.mean(0), mean, atol=0.06)  # four standard errors
    assert torch.allclose(found.z.T.cov(), precision.inverse(), atol=0.06)
    assert 0.5 < found.acceptance <= 1


def test_completions_of_a_latent_variable_model_have_the_frequencies_of_enumeration():
    model = BernoulliVae(latents=2)
    x = every_image()[300:301].float()
    found = complete.run(model, x, TOP, n=3000, rng=rng(), draw=True)
    assert (found.method, found.exact) == ("posterior", False)
    candidates = every_image(1, 3)  # the 8 lower rows
    full = torch.where(TOP, x, torch.cat([torch.zeros(8, 1, 2, 3), candidates.float()], 2))
    exact = model.evidence(full).softmax(0)
    lower = found.images[0, :, 0, 2].double() @ torch.tensor([4.0, 2, 1], dtype=torch.float64)
    frequency = torch.bincount(lower.long(), minlength=8) / len(lower)
    assert (frequency - exact).abs().sum() / 2 < 0.05  # total variation; that of 3,000 independent draws is 0.02


def test_the_searched_latent_is_the_most_likely_one():
    model = LinearDecoder(dtype=torch.float64)
    x = model.decode(model.latent(5, rng(3))) + 0.05
    z, labels = search.run(model, x, rng=rng(), known=TOP.expand(5, -1, -1, -1))
    weight, known = model.weight, TOP.flatten()
    precision = weight[known].T @ weight[known] / search.SIGMA**2 + model.deviation.square().reciprocal().diag()
    right = ((x.flatten(1) - model.offset)[:, known] @ weight[known]) / search.SIGMA**2
    expected = torch.linalg.solve(precision, right.T).T
    # The prior is known from 2,000 draws of the model, whose covariance is some per cent off.
    assert torch.allclose(z, expected, atol=0.02) and labels is None


def test_a_search_finds_the_label_as_well():
    class Lit(LinearDecoder):
        classes = 2

        def decode(self, z, labels=None):
            return super().decode(z) + labels.view(-1, 1, 1, 1)

    model = Lit()
    wanted = torch.tensor([1, 0, 1])
    x = model.decode(model.latent(3, rng(3)), wanted)
    z, labels = search.run(model, x, rng=rng(), starts=8)
    assert labels is not None and labels.tolist() == wanted.tolist()
    assert torch.allclose(model.decode(z, labels), x, atol=0.05)
    assert search.run(model, x, rng=rng(), labels=1 - wanted)[1].tolist() == (1 - wanted).tolist()


# --- all models, all methods


COMPLETING = {name: make for name, make in TOYS.items() if isinstance(make(), Completes | Decodes)}
COMPLETING |= {
    name: (lambda e=e: build(e)) for name, e in EXAMPLES.items() if {"Completes", "Decodes"} & set(e.promises)
}


@pytest.mark.parametrize("name", COMPLETING)
def test_known_pixels_come_back_bit_for_bit_and_hidden_ones_do_not_matter(name, monkeypatch):
    monkeypatch.setattr(posterior.run, "__kwdefaults__", {"rounds": 4})
    monkeypatch.setattr(search.run, "__kwdefaults__", search.run.__kwdefaults__ | {"steps": 3, "starts": 2})
    model = COMPLETING[name]()
    x = images(model, 3)
    if name.startswith("tarflow"):  # its decoder writes keys and values into a cache
        with pytest.raises(CapabilityError, match="no gradient"):
            complete.run(model, x, masks.known("top", *x.shape[2:]), n=2, rng=rng(1))
        return
    known = masks.known("random:0.4", *x.shape[2:], rng=rng())
    n = 1 if complete.method_for(model) == "plug-and-play" else 2
    found = complete.run(model, x, known, n=n, rng=rng(1))
    assert found.images.shape == (3, n, *x.shape[1:]) and bool(found.images.isfinite().all())
    assert torch.equal(found.images[known[:, None].expand_as(found.images)], x[:, None].expand_as(found.images)[
        known[:, None].expand_as(found.images)])  # fmt: skip
    garbage = torch.where(known, x, torch.nan)
    assert torch.equal(complete.run(model, garbage, known, n=n, rng=rng(1)).images, found.images)
    assert found.how in complete.HOW.values() and found.record()["n"] == n


def test_grey_images_before_a_binary_model_keep_their_greys():
    x = torch.rand(4, 1, 3, 3, generator=rng())
    for model in (Pixels(), BernoulliVae()):
        found = complete.run(model, x, TOP, n=3, rng=rng())
        assert torch.equal(found.images[:, :, :, :2], x[:, None, :, :2].expand(-1, 3, -1, -1, -1))


@pytest.mark.parametrize("output", [Joint(), Categorical()])
def test_an_autoregressive_model_says_for_which_masks_it_is_exact(output):
    config = autoregressive.Config((1, 2, 4), 2, MaskedConvolution(width=8, inner=4, dilations=(1,)), output)
    model = config.build()
    known = every_image(2, 4).bool()
    order = [(0, 0), (0, 1), (1, 0), (1, 1), (0, 2), (0, 3), (1, 2), (1, 3)]  # the two patches, each by rows

    def exact(mask):
        values = [bool(mask[0, i, j]) for i, j in order]
        if isinstance(output, Joint):
            return all(values[:4]) or not any(values[4:])
        return all(a or not b for a, b in itertools.pairwise(values))

    assert model.completes_exactly(known).tolist() == [exact(mask) for mask in known]
    x = torch.zeros(1, 1, 2, 4)
    assert complete.run(model, x, masks.known("right", 2, 4), rng=rng(), n=1).exact
    one_sided = complete.run(model, x, masks.known("left", 2, 4), rng=rng(), n=1)
    assert not one_sided.exact and "not counted" in one_sided.how


def test_what_can_t_be_done_is_refused():
    x = torch.rand(2, 1, 3, 3)
    with pytest.raises(CapabilityError, match=r"Completes.*Decodes"):
        complete.run(Brightness(), x, TOP, rng=rng())
    with pytest.raises(CapabilityError, match="LatentVariable"):
        complete.run(Identity(), x, TOP, rng=rng(), method="posterior")
    with pytest.raises(CapabilityError, match="Completes"):
        complete.run(Identity(), x, TOP, rng=rng(), method="conditional")
    with pytest.raises(CapabilityError, match="mean images"):
        complete.run(Identity(), x, TOP, rng=rng(), draw=True)
    with pytest.raises(CapabilityError, match="no classes"):
        complete.run(Identity(), x, TOP, rng=rng(), labels=torch.tensor([0, 1]))
    with pytest.raises(DataError, match="did you mean 'search'"):
        complete.run(Identity(), x, TOP, rng=rng(), method="serch")
    with pytest.raises(DataError, match="at least 1"):
        complete.run(Identity(), x, TOP, rng=rng(), n=0)
    with pytest.raises(DataError, match="this model is for"):
        complete.run(Identity(), torch.rand(2, 1, 3, 4), masks.known("top", 3, 4), rng=rng())


def test_a_decoder_without_a_gradient_is_refused():
    class Rounds(LinearDecoder):
        def decode(self, z, labels=None):
            return super().decode(z).detach().round()

    with pytest.raises(CapabilityError, match="no gradient"):
        complete.run(Rounds(), torch.rand(1, 1, 3, 3), TOP, rng=rng())


def test_dependent_pixels_are_left_to_search():
    class Whole(LinearGaussian):
        def likelihood(self, z):
            found = super().likelihood(z)
            return type("Whole", (), {"mean": found.mean, "sample": found.sample, "log_prob": found.log_prob})()

    assert complete.method_for(LinearGaussian()) == "posterior" and complete.method_for(Whole()) == "search"
    with pytest.raises(CapabilityError, match="single pixels"):
        complete.run(Whole(), torch.rand(1, 1, 3, 3), TOP, rng=rng(), method="posterior")


# --- face and command line


def test_complete_draws_a_row_for_each_image(
    imprior: Command, trained: dict[str, Path], bars: Path, tmp_path: Path
) -> None:
    out = tmp_path / "c.png"
    given = ["complete", trained["vae"], "--data", bars, "--hide", "bottom", "-n", 2, "--limit", 3, "-o", out]
    found = json.loads(imprior(*given, "--json").out)
    assert (found["method"], found["n"], found["images"], found["hidden"]) == ("posterior", 2, 3, 0.5)
    with Image.open(out) as picture:
        assert picture.width > 4 * 28 and picture.height > 3 * 28
    first = out.read_bytes()
    assert imprior(*given).code == 0 and out.read_bytes() == first, "a function of the seed"
    assert imprior(*given, "--seed", 1).code == 0 and out.read_bytes() != first
    assert "latent search" in imprior("complete", trained["ae"], "--data", bars, "--hide", "top", "-n", 1, "--limit", 1,
                                      "-o", out).err  # fmt: skip


def test_a_mask_from_a_picture(trained: dict[str, Path], bars: Path, tmp_path: Path) -> None:
    white = np.zeros((28, 28), np.uint8)
    white[14:] = 255
    Image.fromarray(white).save(tmp_path / "mask.png")
    from_file = package.complete(trained["vae"], bars, tmp_path / "mask.png", n=1, limit=2)
    by_name = package.complete(trained["vae"], bars, hide="bottom", n=1, limit=2)
    assert torch.equal(from_file.known, by_name.known) and torch.equal(from_file.images, by_name.images)


def test_what_a_person_can_do_wrong(imprior: Command, trained: dict[str, Path], bars: Path, tmp_path: Path) -> None:
    for name, pixels in {
        "small": np.zeros((8, 8), np.uint8),
        "black": np.zeros((28, 28), np.uint8),
        "white": np.full((28, 28), 255, np.uint8),
    }.items():
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    begin = ["complete", trained["ae"], "--data", bars, "-o", tmp_path / "out.png"]
    for more, words in (
        ([], ["--mask", "--hide"]),
        (["--hide", "top", "--mask", tmp_path / "black.png"], ["one of the two"]),
        (["--hide", "botom"], ["'botom'", "bottom"]),
        (["--hide", "random:2"], ["random:2"]),
        (["--mask", tmp_path / "small.png"], ["8x8", "28x28"]),
        (["--mask", tmp_path / "black.png"], ["hides no pixel"]),
        (["--mask", tmp_path / "white.png"], ["hides every pixel"]),
        (["--mask", tmp_path / "missing.png"], ["missing.png"]),
        (["--hide", "top", "--label", 3], ["no classes"]),
        (["--hide", "top", "--method", "posterior"], ["LatentVariable"]),
        (["--hide", "top", "--draw"], ["mean images"]),
    ):
        ended = imprior(*begin, *more)
        assert ended.code == 2 and ended.out == "" and all(word in ended.line for word in words), ended.err
    refused = imprior("complete", "mnist-classifier", "--data", bars, "--hide", "top", "-o", tmp_path / "out.png")
    assert refused.code == 2 and "mnist-classifier" in refused.line and "mnist-vae" in refused.line
    assert not (tmp_path / "out.png").exists()
