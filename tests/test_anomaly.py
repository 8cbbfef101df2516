"""Anomalies: scores from their definitions, thresholds by rank, AUROC against scikit-learn, maps that add up."""

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
from conftest import Ended, shapes
from imprior.coding.classical import codec
from imprior.data.batches import Images
from imprior.errors import CapabilityError, DataError
from imprior.metrics.auroc import auroc
from imprior.models import autoregressive
from imprior.models.pixel_outputs import Joint
from imprior.nn.causal import MaskedConvolution
from imprior.report.overlay import TINT, overlay
from imprior.tasks import anomaly, costs, evaluate, heat
from toys import BernoulliVae, Identity, LinearGaussian, Pixels, Shrinkage

Command = Callable[..., Ended]


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def some(n, *, seed=0, scale=255):
    """8-bit images of 3x3, dark where scale is small."""
    pixels = (scale * torch.rand(n, 1, 3, 3, generator=rng(seed))).round().to(torch.uint8)
    return Images(pixels, None, (), "")


def bits(n, *, seed=0, model=None):
    return Images((model or Pixels()).sample(n, rng(seed)), None, (), "")


# --- AUROC


@pytest.mark.parametrize(("n", "m", "levels"), [(50, 70, 10_000), (200, 30, 5), (3, 2, 2), (40, 40, 1)])
def test_auroc_is_scikit_learns_ties_included(n, m, levels):
    oracle = pytest.importorskip("sklearn.metrics")
    low = torch.randint(levels, (n,), generator=rng(1)).double()
    high = torch.randint(levels, (m,), generator=rng(2)).double() + levels // 3
    expected = oracle.roc_auc_score([0] * n + [1] * m, torch.cat([low, high]).numpy())
    assert auroc(low, high).value == pytest.approx(expected, abs=1e-12)


def test_its_error_is_delongs():
    low, high = torch.randn(40, generator=rng(1)).double(), torch.randn(25, generator=rng(2)).double() + 1
    wins = (high[:, None] > low).double() + 0.5 * (high[:, None] == low).double()  # [m, n]: the kernel of the paper
    variance = wins.mean(1).var() / 25 + wins.mean(0).var() / 40
    assert auroc(low, high).standard_error == pytest.approx(math.sqrt(float(variance)), rel=1e-12)
    draws = [auroc(torch.randn(40, generator=g), torch.randn(25, generator=g) + 1).value for g in [rng(3)] * 2000]
    assert auroc(low, high).standard_error == pytest.approx(np.std(draws), rel=0.3)  # of one draw against their spread


def test_auroc_knows_order_and_nothing_else():
    low, high = torch.randn(30, generator=rng(1)), torch.randn(30, generator=rng(2))
    one = auroc(low, high)
    assert auroc(low.exp(), high.exp()) == one
    assert auroc(high, low).value == pytest.approx(1 - one.value)
    assert auroc(torch.zeros(1), torch.ones(1)).standard_error is None
    assert auroc(torch.zeros(3), torch.ones(3)).value == 1


# --- scores


def test_nats_are_those_of_evaluate():
    for model in (LinearGaussian(), BernoulliVae(), Pixels()):
        images = some(30)
        found = costs.nats(model, images, samples=3)
        evaluated = evaluate.run(model, images, samples=3).likelihood
        assert evaluated is not None
        constant = 9 * math.log(256) if evaluated.dequantised else 0
        assert torch.allclose(found, evaluated.nats + constant, atol=1e-4, rtol=0)


def test_each_score_is_what_it_is_defined_as():
    model, normal, images = Pixels(), bits(300), some(20, seed=1)
    nats = costs.nats(model, images)
    own = costs.nats(model, normal)
    for score, expected in (("nats", nats), ("typicality", (nats - own.mean()).abs())):
        assert torch.allclose(anomaly.fit(model, normal, score=score)(images), expected)
    second = Pixels()
    second.logits = second.logits.flip(2)
    background = costs.nats(second, images)
    assert torch.allclose(anomaly.fit(model, normal, score="ratio", background=second)(images), nats - background)
    files = costs.codec_nats("png", model, images)
    assert torch.allclose(anomaly.fit(model, normal, score="ratio")(images), nats - files)


def test_joint_is_the_distance_to_a_gaussian_of_both_numbers():
    model, normal, images = Pixels(), bits(300), some(20, seed=1)
    for given in (model, Identity()):

        def both(of, given=given):
            first = costs.nats(given, of) if given is model else (costs.reconstruction(given, of) + 2.3e-308).log()
            return torch.stack([first, costs.codec_nats("png", given, of)], 1)

        detector = anomaly.fit(given, normal)
        assert detector.score == "joint" and detector.record()["background"] == "png"
        if given is model:
            fitted = both(normal)
            gaussian = torch.distributions.MultivariateNormal(fitted.mean(0), fitted.T.cov())
            expected = -2 * (gaussian.log_prob(both(images)) - gaussian.log_prob(fitted.mean(0)))
            assert torch.allclose(detector(images).square(), expected)
        else:  # nothing is lost, so one of the two never varies: the other decides alone
            files = both(normal)[:, 1]
            assert torch.allclose(detector(images), (both(images)[:, 1] - files.mean()).abs() / files.std())


def test_reconstruction_is_the_squared_error_of_an_image():
    model, images = LinearGaussian(), some(7)
    x = images.x(slice(None))
    expected = (model.decode(model.encode(x)).clamp(0, 1) - x).square().flatten(1).sum(1)
    assert torch.allclose(anomaly.fit(model, some(99), score="reconstruction")(images), expected.double())


def test_a_codec_is_given_what_the_likelihood_sees():
    images = some(5)
    as_levels = [len(codec("png").encode(i[0].numpy(), None)) for i in images.pixels]
    assert costs.codec_nats("png", LinearGaussian(), images).tolist() == pytest.approx(
        [8 * math.log(2) * size for size in as_levels]
    )
    black = Images(torch.zeros(1, 1, 3, 3, dtype=torch.uint8), None, (), "")
    assert (
        costs.codec_nats("png", Pixels(), black).tolist() == costs.codec_nats("png", LinearGaussian(), black).tolist()
    )


def test_too_likely_is_strange_by_typicality_and_not_by_nats():
    model = Pixels()
    likeliest = Images((model.logits > 0).float()[None], None, (), "")
    normal = bits(1000)
    assert not anomaly.fit(model, normal, score="nats").flags(anomaly.fit(model, normal, score="nats")(likeliest)).any()
    typical = anomaly.fit(model, normal, score="typicality", false_alarms=0.1)
    assert typical(likeliest) > typical(bits(1000, seed=1)).median()


# --- threshold


@pytest.mark.parametrize(
    ("n", "rate", "rank"), [(99, 0.01, 99), (199, 0.01, 198), (9, 0.1, 9), (10, 0.1, 10), (3, 0.5, 2)]
)
def test_the_threshold_is_the_score_of_a_rank(n, rate, rank):
    normal = some(n)
    detector = anomaly.fit(LinearGaussian(), normal, score="nats", false_alarms=rate)
    ordered = costs.nats(LinearGaussian(), normal).sort().values
    assert detector.threshold == ordered[rank - 1]
    assert int(detector.flags(ordered).sum()) == n - rank


def test_new_normal_images_are_flagged_at_the_rate_on_average():
    model = LinearGaussian()
    rates = []
    for seed in range(40):
        normal = Images(model.sample(99, rng(seed)), None, (), "")
        detector = anomaly.fit(model, normal, score="nats", false_alarms=0.1)
        rates.append(
            detector.flags(detector(Images(model.sample(500, rng(1000 + seed)), None, (), ""))).double().mean()
        )
    assert torch.stack(rates).mean() == pytest.approx(0.1, abs=0.015)  # three standard errors


def test_separation_counts_both_sides_of_the_threshold():
    model = Pixels()
    detector = anomaly.fit(model, bits(500), score="nats", false_alarms=0.05)
    other = Images(1 - model.sample(200, rng(5)), None, (), "")
    found = anomaly.separation(detector, bits(300, seed=3), other)
    assert found.auroc.value > 0.95 and found.false_alarms < 0.12 < found.detected
    record = found.record()
    assert (record["normal_images"], record["other_images"]) == (300, 200)
    again = anomaly.separation(detector, found.normal, found.other)
    assert again.auroc == found.auroc


# --- maps


def test_the_map_of_squared_errors_adds_up_to_the_score():
    for model in (LinearGaussian(), BernoulliVae()):
        images = some(6)
        maps, what = heat.run(model, images)
        assert what == "error" and maps.shape == (6, 3, 3)
        assert torch.allclose(maps.double().flatten(1).sum(1), costs.reconstruction(model, images), atol=1e-5)


def test_pixels_that_a_model_tells_are_taken_as_they_are():
    class Telling(Pixels):
        def pixel_nats(self, x):
            return torch.nn.functional.softplus(torch.where(x > 0.5, -self.logits, self.logits))[:, 0]

    images = some(6)
    maps, what = heat.run(Telling(), images)
    assert what == "pixels"
    assert torch.allclose(maps.double().flatten(1).sum(1), costs.nats(Telling(), images), atol=1e-5)


@pytest.mark.parametrize("classes", [None, 3])
def test_an_autoregressive_models_pixels_add_up_to_its_score(classes):
    config = autoregressive.Config((1, 4, 6), 2, MaskedConvolution(8, 4, (1,)), Joint(), classes=classes)
    torch.manual_seed(0)
    model = config.build()
    x = (torch.rand(5, 1, 4, 6, generator=rng()) < 0.5).float()
    maps = model.pixel_nats(x)
    assert maps.shape == (5, 4, 6)
    assert torch.allclose(maps.flatten(1).sum(1), model.score(x).nats)
    later = x.clone()
    later[:, :, 2:, 2:] = 1 - later[:, :, 2:, 2:]  # what comes later in the order is not felt before
    assert torch.equal(model.pixel_nats(later)[:, :2], maps[:, :2])
    assert heat.run(model, Images(x, None, (), ""))[1] == "pixels"


def test_painting_over_a_pixel_of_independent_ones_tells_its_nats():
    model, images = Pixels(), bits(4)
    reference = torch.zeros(1, 3, 3)
    maps, what = heat.run(model, images, reference=reference)
    x = images.x(slice(None))
    nats = torch.nn.functional.softplus(torch.where(x > 0.5, -model.logits, model.logits))
    expected = nats - torch.nn.functional.softplus(model.logits)
    assert what == "occlusion"
    assert torch.allclose(maps, expected[:, 0], atol=1e-5)


def test_windows_reach_every_edge():
    assert heat._starts(28, 4)[:3] == [0, 2, 4] and heat._starts(28, 4)[-1] == 24
    assert heat._starts(5, 2) == [0, 1, 2, 3] and heat._starts(1, 1) == [0]


def test_a_tint_says_how_much():
    shown = overlay(torch.full((2, 1, 2, 2), 0.5), torch.tensor([[[-1.0, 0], [0, 0]], [[0, 0], [0, 4]]]))
    assert torch.allclose(shown[0], torch.full((3, 2, 2), 0.5))
    assert torch.allclose(shown[1, :, 1, 1], torch.tensor(TINT))


# --- refusals


def test_what_can_t_be_scored_is_refused():
    with pytest.raises(CapabilityError, match=r"Scores.*mnist-vae"):
        anomaly.fit(Shrinkage(), some(99))
    with pytest.raises(CapabilityError, match="Scores"):
        anomaly.fit(Identity(), some(99), score="nats")
    with pytest.raises(CapabilityError, match="Encodes"):
        anomaly.fit(Pixels(), some(99), score="reconstruction")
    with pytest.raises(DataError, match=r"at least 99 normal images, and there are 98"):
        anomaly.fit(Pixels(), some(98))
    with pytest.raises(DataError, match=r"at least 1,999 normal images"):
        anomaly.fit(Pixels(), some(98), false_alarms=0.0005)
    with pytest.raises(DataError, match="did you mean 'ratio'"):
        anomaly.fit(Pixels(), some(99), score="ration")
    with pytest.raises(DataError, match="lossless"):
        anomaly.fit(Pixels(), some(99), background="jpeg")
    with pytest.raises(DataError, match="did you mean 'png'"):
        anomaly.fit(Pixels(), some(99), background="pmg")
    with pytest.raises(DataError, match="ratio and joint"):
        anomaly.fit(Pixels(), some(99), score="nats", background="png")
    with pytest.raises(DataError, match="both be over binary"):
        anomaly.fit(Pixels(), some(99), background=LinearGaussian())
    with pytest.raises(DataError, match="between 0 and 1"):
        anomaly.fit(Pixels(), some(99), false_alarms=1.0)
    with pytest.raises(DataError, match="1 x 4 x 4"):
        anomaly.fit(Pixels(), some(99))(Images(torch.zeros(1, 1, 4, 4), None, (), ""))
    with pytest.raises(CapabilityError, match="Scores"):
        heat.run(Shrinkage(), some(3))


# --- face and command line


@pytest.fixture
def stripes(tmp_path: Path) -> Path:
    """Images of another kind: fine checks instead of bars."""
    checks = np.indices((28, 28)).sum(0) % 2 * 255
    noise = np.random.default_rng(0).integers(-40, 40, (30, 28, 28))
    path = tmp_path / "checks.npz"
    np.savez(path, x_test=np.clip(checks + noise, 0, 255).astype(np.uint8))
    return path


def test_anomaly_flags_separates_and_draws(
    imprior: Command, trained: dict[str, Path], bars: Path, stripes: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    Image.fromarray(np.load(stripes)["x_test"][0]).save(folder / "checks.png")
    Image.fromarray(shapes(1, 9)[0][0]).save(folder / "bar.png")
    out = tmp_path / "heat.png"
    given = ["anomaly", trained["ae"], folder, "--data", bars, "--against", stripes, "--false-alarms", 0.05]
    found = json.loads(imprior(*given, "--json", "-o", out).out)
    assert {Path(row["input"]).name: row["flag"] for row in found["inputs"]} == {"checks.png": True, "bar.png": False}
    assert found["separation"]["auroc"] > 0.99 and found["normal_images"] == 30
    with Image.open(out) as picture:
        assert picture.mode == "RGB" and picture.height > 2 * 28
    text = imprior(*given)
    assert text.code == 0 and "auroc" in text.out and "checks.png" in text.out
    face = package.anomaly(trained["ae"], bars, [folder / "checks.png"], false_alarms=0.05)
    assert face.record()["scores"] == pytest.approx([row["score"] for row in found["inputs"] if row["flag"]])


def test_pictures_that_can_be_judged_are(
    imprior: Command, trained: dict[str, Path], bars: Path, tmp_path: Path
) -> None:
    good, small, none = tmp_path / "good.png", tmp_path / "small.png", tmp_path / "none"
    Image.fromarray(shapes(1, 9)[0][0]).save(good)
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(small)
    none.mkdir()
    begin = ["anomaly", trained["vae"], "--data", bars, "--false-alarms", 0.05]
    done = imprior(*begin, good, small, "--json")
    assert done.code == 3 and len(json.loads(done.out)["inputs"]) == 1
    assert [entry["input"] for entry in json.loads(done.out)["failed"]] == [str(small)]
    for more, words in (
        ([small], ["8", "28"]),
        ([none], ["no pictures"]),
        ([], ["--against"]),
        ([good, "--background", "pngg"], ["pngg"]),
        ([good, "--score", "surprise"], ["surprise", "typicality"]),
        ([good, "-o", tmp_path / "x.doc"], ["x.doc"]),
    ):
        ended = imprior(*begin, *more)
        assert ended.code == 2 and ended.out == "" and all(word in ended.line for word in words), ended.err
    few = imprior("anomaly", trained["vae"], good, "--data", bars)
    assert few.code == 2 and "at least 99" in few.line and "30" in few.line
