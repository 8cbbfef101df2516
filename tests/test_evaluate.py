"""Figures are of the images that were asked about, all of them, once, and of nothing else."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from imprior import bounds
from imprior.data.batches import Images
from imprior.data.settings import Corruption
from imprior.errors import CapabilityError, DataError, RunError
from imprior.metrics.psnr import psnr_db
from imprior.promises import Score, Shape, space_of
from imprior.randomness import generator
from imprior.tasks import evaluate
from imprior.tasks.protocol import BELOW_ONE, presentation, uniforms
from toys import BernoulliVae, Identity, LinearGaussian, Pixels, Shrinkage


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(pixels: Tensor, labels: Tensor | None = None) -> Images:
    return Images(pixels, labels, (), hashlib.sha256(pixels.numpy().tobytes()).hexdigest()[:16])


def grey(count: int, side: int = 3, seed: int = 0) -> Images:
    return images(torch.randint(0, 256, (count, 1, side, side), generator=rng(seed), dtype=torch.uint8))


class Density:
    """Every image of any size has the same density or probability; keeps Scores. Remembers what it was asked."""

    classes: int | None = None

    def __init__(self, levels: int | None, nats: float = 0.0, shape: Shape = (1, None, None)) -> None:
        self.levels, self.nats, self.shape = levels, nats, shape
        self.seen: list[Tensor] = []
        self.labels: list[Tensor | None] = []

    def score(
        self, x: Tensor, labels: Tensor | None = None, samples: int = 1, rng: torch.Generator | None = None
    ) -> Score:
        self.seen.append(x)
        self.labels.append(labels)
        return Score(torch.full((len(x),), self.nats, dtype=torch.float64), "exact", space_of(self), "exact")


# Bits: drawn once, the same for everybody.


def test_two_evaluations_give_identical_bits_and_the_record_says_which() -> None:
    one, two = Density(2), Density(2)
    a, b = (evaluate.run(m, grey(50)).protocol for m in (one, two))
    assert torch.equal(torch.cat(one.seen), torch.cat(two.seen))
    assert a["sha256"] == b["sha256"] and a["binarization"] == "dynamic" and a["seed"] == 0
    other = evaluate.run(Density(2), grey(50), seed=1).protocol
    assert other["sha256"] != a["sha256"]


def test_bits_are_those_that_the_docs_tell_how_to_draw() -> None:
    pixels = grey(2).pixels
    model = Density(2)
    evaluate.run(model, images(pixels), seed=7)
    for image, bits in zip(pixels, model.seen[0], strict=True):
        stream = hashlib.shake_256(b"imprior 7 binarize:" + image.numpy().tobytes()).digest(4 * 9)
        words = [int.from_bytes(stream[4 * j : 4 * j + 4], "little") for j in range(9)]
        wanted = [float(w / 2**32 < k / 255) for w, k in zip(words, image.flatten().tolist(), strict=True)]
        assert bits.flatten().tolist() == wanted


def test_the_hash_is_of_the_packed_bits_in_order() -> None:
    model = Density(2)
    record = evaluate.run(model, grey(5), batch=2).protocol
    rows = [image.flatten().int().tolist() + [0] * 7 for image in torch.cat(model.seen)]  # 9 bits padded to 16
    packed = b"".join(int("".join(map(str, row)), 2).to_bytes(2, "big") for row in rows)
    assert record["sha256"] == hashlib.sha256(packed).hexdigest()


def test_a_bit_is_one_with_the_grey_level_as_probability() -> None:
    pixels = torch.arange(256, dtype=torch.uint8).repeat(400, 1).view(400, 1, 16, 16)
    pixels[:, :, 0, 1] = torch.arange(400).remainder(256).to(torch.uint8)[:, None]  # no two images alike, nearly
    bits = presentation(Density(2), images(pixels)).x(pixels).view(400, 256)
    assert bits[:, 0].sum() == 0 and bits[:, 255].sum() == 400  # level 255 is exactly 1
    levels = torch.arange(2, 256) / 255
    spread = (levels * (1 - levels) / 400).sqrt().clamp_min(1e-9)
    assert float(((bits[:, 2:].mean(0) - levels) / spread).abs().max()) < 5  # 254 draws: 5 sd once in 7,000 seeds


def test_an_image_has_the_same_bits_wherever_it_stands() -> None:
    pixels, order = grey(40).pixels, torch.randperm(40, generator=rng())
    shown = presentation(Density(2), images(pixels))
    assert torch.equal(shown.x(pixels)[order], shown.x(pixels[order]))
    assert torch.equal(shown.x(pixels)[7:8], shown.x(pixels[7:8]))


def test_pixels_that_are_bits_already_stay_and_are_called_so() -> None:
    pixels = (grey(30).pixels > 127).to(torch.uint8) * 255
    model = Density(2)
    assert evaluate.run(model, images(pixels)).protocol["binarization"] == "none"
    assert torch.equal(torch.cat(model.seen), pixels / 255)


def test_float_images_are_binarized_by_their_grey_level() -> None:
    pixels = torch.full((500, 1, 3, 3), 0.25) + torch.arange(500).view(-1, 1, 1, 1) * 1e-6
    bits = presentation(Density(2), images(pixels)).x(pixels)
    assert abs(float(bits.mean()) - 0.25) < 5 * math.sqrt(0.25 * 0.75 / 4500)


# Levels and densities: bits per dimension.


def test_a_uniform_density_costs_exactly_eight_bits_per_dimension() -> None:
    """And so does the uniform distribution over the 256 levels themselves."""
    for model in (Density(None, 0.0), Density(256, 9 * math.log(256))):
        record = evaluate.run(model, grey(20)).record()
        assert record["bits_per_dim"] == pytest.approx(8.0, abs=1e-12)
        assert record["protocol"]["dequantisation"] == ("uniform" if model.levels is None else "none")


def test_binary_bits_per_dimension_are_nats_over_pixels_and_log_two() -> None:
    record = evaluate.run(Density(2, nats=9 * math.log(2)), grey(5)).record()
    assert record["bits_per_dim"] == pytest.approx(1.0) and record["protocol"]["dimensions"] == 9


def test_dequantised_pixels_stay_in_their_level_and_below_one() -> None:
    pixels = grey(200).pixels
    x = presentation(Density(None), images(pixels)).x(pixels).double()
    assert torch.equal((x * 256).floor(), pixels.double())
    white = torch.full((1, 1, 400, 400), 255, dtype=torch.uint8)
    assert float(presentation(Density(None), images(white)).x(white).max()) <= BELOW_ONE < 1


class OnePixel(Density):
    """A Gaussian density on images of one pixel."""

    mean, sigma = 0.4, 0.15

    def score(self, x: Tensor, labels: Any = None, samples: int = 1, rng: Any = None) -> Score:
        normal = torch.distributions.Normal(self.mean, self.sigma)
        return Score(-normal.log_prob(x.double()).flatten(1).sum(1), "exact", "continuous", "exact")


def test_a_dequantised_density_bounds_the_mass_of_each_level() -> None:
    """The mass of a level is the integral of the density over it; the mean of the logarithm lies below."""
    pixels = torch.arange(256, dtype=torch.uint8).view(-1, 1, 1, 1)
    seeds = [evaluate.run(OnePixel(None), images(pixels), seed=s).likelihood for s in range(40)]
    bits = torch.stack([found.bits_per_dim() for found in seeds if found is not None]).mean(0)
    edges = torch.arange(257, dtype=torch.float64) / 256
    cdf = torch.distributions.Normal(OnePixel.mean, OnePixel.sigma).cdf(edges)
    mass = (cdf[1:] - cdf[:-1])[1:200]  # further out the difference of two numbers near one says little
    excess = bits[1:200] + mass.log2()
    # Over one level the density changes by a few per cent at most: little is lost, and never gained on average.
    assert float(excess.mean()) > 0 and float(excess.abs().max()) < 0.05


def test_a_density_on_images_without_levels_has_no_bits_per_dimension() -> None:
    record = evaluate.run(Density(None), images(torch.rand(5, 1, 3, 3, generator=rng()))).record()
    assert record["bits_per_dim"] is None and record["protocol"]["dequantisation"] == "none"


def test_an_eight_bit_model_sees_exact_levels_and_refuses_floats() -> None:
    model, pixels = Density(256), grey(9).pixels
    evaluate.run(model, images(pixels))
    assert torch.equal(torch.cat(model.seen), pixels.float() / 255)
    with pytest.raises(DataError, match="8-bit"):
        evaluate.run(model, images(torch.rand(3, 1, 3, 3)))


# Every image counts once, alone.


@pytest.mark.parametrize("count", [1, 99, 100, 101, 1003])
def test_every_image_is_counted_once(count: int) -> None:
    model = Density(256)
    found = evaluate.run(model, grey(count), batch=100)
    assert found.n == found.protocol["n"] == count
    assert found.likelihood is not None and len(found.likelihood.nats) == count
    assert torch.equal(torch.cat(model.seen), grey(count).x(slice(None)))


@pytest.mark.parametrize("model", [Pixels(), BernoulliVae(), LinearGaussian()], ids=["exact", "bound", "density"])
@pytest.mark.parametrize("samples", [1, 7])
def test_nats_depend_neither_on_batch_size_nor_on_order(model: Any, samples: int) -> None:
    test, order = grey(53), torch.randperm(53, generator=rng())

    def nats(given: Images, batch: int) -> Tensor:
        found = evaluate.run(model, given, samples=samples, batch=batch).likelihood
        assert found is not None
        return found.nats

    whole = nats(test, 100)
    for batch in (1, 10):  # float32 products of other sizes round differently
        assert float((nats(test, batch) - whole).abs().max()) < 1e-4
    shuffled = nats(images(test.pixels[order]), 10)  # type: ignore[index]
    assert float((shuffled - whole[order]).abs().max()) < 1e-4


def test_a_limit_takes_the_first_images_with_the_same_bits() -> None:
    all_of_them, first = evaluate.run(Pixels(), grey(30)), evaluate.run(Pixels(), grey(30), limit=12)
    assert first.n == 12 and all_of_them.likelihood is not None and first.likelihood is not None
    assert torch.equal(first.likelihood.nats, all_of_them.likelihood.nats[:12])


def test_the_standard_error_is_that_of_the_mean() -> None:
    found = evaluate.run(Pixels(), grey(200))
    assert found.likelihood is not None
    nats = found.likelihood.nats
    by_hand = math.sqrt(float((nats - nats.mean()).square().sum()) / 199 / 200)
    assert found.record()["standard_error"] == pytest.approx(by_hand)
    assert evaluate.run(Pixels(), grey(1)).record()["standard_error"] is None


class Dropping(nn.Module):
    """An encoder with dropout: in training mode, no two passes agree."""

    shape: Shape = (1, 3, 3)
    levels: int | None = None
    classes: int | None = None

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.dropout = nn.Linear(9, 9), nn.Dropout(0.5)

    def encode(self, x: Tensor) -> Tensor:
        assert not torch.is_grad_enabled()
        return self.inner(self.dropout(x.flatten(1)))

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return z.view(-1, 1, 3, 3)

    def latent(self, n: int, rng: torch.Generator) -> Tensor:
        return torch.rand(n, 9, generator=rng)


@pytest.mark.parametrize("training", [True, False])
def test_dropout_is_off_while_evaluating_and_as_before_afterwards(training: bool) -> None:
    model = Dropping().train(training)
    one, two = (evaluate.run(model, grey(20)).psnr_db for _ in range(2))
    assert one is not None and two is not None and torch.equal(one, two)
    assert model.training == training and model.dropout.training == training


# What else the promises give.


def test_parts_sum_to_the_bound_and_units_are_judged() -> None:
    """With the exact posterior each ELBO sample is log p(x), so the parts sum to the score up to its one sample."""
    toy = LinearGaussian()
    x = toy.sample(2000, rng()).clamp(0, 1)
    record = evaluate.run(toy, images(x)).record()
    parts = record["parts"]["reconstruction"] + record["parts"]["kl"]
    assert parts == pytest.approx(record["nats"], abs=0.1)  # sd of a sample about 1, 2,000 images: 0.02
    assert record["units"] == record["active_units"] == 2 and record["collapsed"] is False
    assert sum(record["kl_units"]) == pytest.approx(record["parts"]["kl"], rel=1e-4)
    assert record["aggregate_gap"]["from"] <= record["aggregate_gap"]["to"] + 0.05


def test_a_collapsed_model_is_called_so() -> None:
    record = evaluate.run(LinearGaussian((1e-4, 1e-4)), grey(300)).record()
    assert record["active_units"] == 0 and record["collapsed"] is True


def test_the_bound_on_bits_is_above_the_evidence_on_the_same_bits() -> None:
    toy, test = BernoulliVae(), grey(200)
    exact = -toy.evidence(presentation(toy, test).x(test.pixels))  # type: ignore[arg-type]
    one, many = (evaluate.run(toy, test, samples=k).likelihood for k in (1, 500))
    assert one is not None and many is not None and many.kind == "bound"
    assert float(exact.mean()) < float(many.nats.mean()) + 0.02 < float(one.nats.mean())
    assert float((many.nats - exact).abs().max()) < 0.5


def test_psnr_is_of_the_grey_images() -> None:
    toy, test = BernoulliVae(), grey(25)
    found = evaluate.run(toy, test, batch=7).psnr_db
    x = test.x(slice(None))
    assert found is not None and torch.allclose(found, psnr_db(x, toy.decode(toy.encode(x))))


def test_the_psnr_of_perfect_copies_is_infinite_and_null_in_json() -> None:
    found = evaluate.run(Identity(), grey(4))
    assert found.psnr_db is not None and bool(found.psnr_db.isinf().all())
    assert found.record()["psnr_db"] is None


class Padding(Identity):
    """Decodes to sides that are multiples of four, as networks with strides do."""

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return nn.functional.pad(z.view(-1, 1, 3, 3), (0, 1, 0, 1)) * 0.5


def test_padding_is_cut_before_images_are_compared() -> None:
    found, x = evaluate.run(Padding(), grey(10)).psnr_db, grey(10).x(slice(None))
    assert found is not None and torch.allclose(found, psnr_db(x, x / 2))


def test_a_denoiser_is_judged_by_both_psnr() -> None:
    clean = (0.5 + 0.08 * torch.randn(60, 1, 24, 24, generator=rng())).clamp(0, 1)  # noise hardly leaves [0, 1]
    found = evaluate.run(Shrinkage(0.08), images(clean), corruption=Corruption("gaussian", 0.1, 0.1)).record()
    assert found["corrupted_db"] == pytest.approx(20.0, abs=0.1)  # 34,560 pixels: 0.03 dB by chance
    best = -10 * math.log10(0.08**2 * 0.1**2 / (0.08**2 + 0.1**2))
    assert found["denoised_db"] == pytest.approx(best, abs=0.1)
    assert found["protocol"]["corruption"]["kind"] == "gaussian"


class Told(Shrinkage):
    """Remembers which sigma it was told."""

    told: float | None = -1.0

    def denoise(self, y: Tensor, sigma: float | None = None) -> Tensor:
        self.told = sigma
        return y


def test_a_denoiser_is_told_a_sigma_only_if_all_images_share_one() -> None:
    for corruption, sigma in [(Corruption("gaussian", 0.2, 0.2), 0.2), (Corruption("gaussian", 0.1, 0.3), None)]:
        model = Told()
        evaluate.run(model, grey(3), corruption=corruption)
        assert model.told == sigma


def test_noise_depends_neither_on_batch_nor_on_order() -> None:
    order, corruption = torch.randperm(20, generator=rng()), Corruption("salt-pepper", 0.1, 0.5)
    whole = evaluate.run(Told(), grey(20), corruption=corruption).denoising
    parts = evaluate.run(Told(), images(grey(20).pixels[order]), corruption=corruption, batch=3).denoising  # type: ignore[index]
    assert whole is not None and parts is not None
    assert torch.equal(whole.corrupted_db[order], parts.corrupted_db)


def test_labels_go_to_models_that_know_them() -> None:
    labels = torch.arange(7) % 2
    test, model, blind = replace(grey(7), labels=labels), Density(2), Density(2)
    model.classes = 2
    for each in (model, blind):
        evaluate.run(each, test, batch=4)
    assert torch.equal(torch.cat([part for part in model.labels if part is not None]), labels)
    assert blind.labels == [None, None]


# Refusals and records.


class Broken(Density):
    """Has no number for the third image."""

    def score(self, x: Tensor, labels: Any = None, samples: int = 1, rng: Any = None) -> Score:
        nats = torch.zeros(len(x), dtype=torch.float64)
        nats[2] = float("nan")
        return Score(nats, "exact", "binary", "exact")


def test_what_cannot_be_measured_is_refused_in_one_line() -> None:
    with pytest.raises(RunError, match=r"1 of 5 .* first: 2"):
        evaluate.run(Broken(2), grey(5))
    with pytest.raises(DataError, match="no images"):
        evaluate.run(Density(2), images(torch.zeros(0, 1, 3, 3, dtype=torch.uint8)))
    with pytest.raises(DataError, match=r"1 x 4 x 4 .* wants 1 x 3 x 3"):
        evaluate.run(Pixels(), grey(3, side=4))
    with pytest.raises(DataError, match="different sizes"):
        mixed = Images((torch.zeros(1, 3, 3, dtype=torch.uint8), torch.zeros(1, 4, 4, dtype=torch.uint8)), None, (), "")
        evaluate.run(Density(2), mixed)
    with pytest.raises(CapabilityError, match="only denoises: say at which noise"):
        evaluate.run(Shrinkage(), grey(3))
    with pytest.raises(CapabilityError, match="Scores, Encodes or Denoises"):
        evaluate.run(object(), grey(3))


def test_a_record_is_json_with_the_keys_that_are_promised() -> None:
    said: list[tuple[int, int]] = []
    record = evaluate.run(BernoulliVae(), grey(30), batch=10, progress=lambda *at: said.append(at)).record()
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert {"nats", "bits_per_dim", "standard_error", "protocol", "parts", "active_units", "psnr_db"} <= set(record)
    # Score, parts and reconstructions: three times through 30 images, ten at a time.
    assert said == [(10 * k, 90) for k in range(1, 10)]


def test_uniform_numbers_are_uniform_and_purposes_independent() -> None:
    pixels = grey(2000).pixels
    a, b = (uniforms(pixels, 0, purpose).flatten() for purpose in ("binarize", "dequantise"))  # type: ignore[arg-type]
    assert float(a.min()) >= 0 and float(a.max()) < 1
    counts = torch.histc(a, 10, 0, 1)
    assert float(((counts - 1800) / 1800**0.5).abs().max()) < 5
    assert abs(float(torch.corrcoef(torch.stack([a, b]))[0, 1])) < 5 / 18_000**0.5


def test_evaluation_uses_the_bound_of_the_model_itself() -> None:
    toy, test = BernoulliVae(), grey(6)
    found = evaluate.run(toy, test, samples=11).likelihood
    x = presentation(toy, test).x(test.pixels)  # type: ignore[arg-type]
    assert found is not None
    assert torch.allclose(found.nats, bounds.importance_bound(toy, x, samples=11, rng=generator(0, "score")))
