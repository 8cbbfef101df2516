"""Studies train several times: on the right images, comparably, and going on after a kill."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from conftest import shapes
from imprior import fit, loading, preview, recipes
from imprior.data.batches import Images
from imprior.data.settings import Data
from imprior.errors import CapabilityError, DataError, RecipeError, RunError
from imprior.models import autoencoder, vae
from imprior.nn.dense import Dense
from imprior.objectives.elbo import Elbo
from imprior.objectives.reconstruction import Reconstruction
from imprior.recipes import Recipe
from imprior.studies import depth, optimisers, tune
from imprior.studies.reach import reach
from imprior.tasks import evaluate
from imprior.training.settings import Fit, Gradient, Optimiser, Schedule


def bars(count: int, seed: int) -> Images:
    pixels, labels = shapes(count, seed)
    small = torch.from_numpy(pixels)[:, None, ::2, ::2].contiguous()  # 14x14 is enough to tell bars apart
    return Images(small, torch.from_numpy(labels), tuple("0123456789"), f"bars-{count}-{seed}")


VAE = Recipe(
    "small-vae",
    Data(binarize=True),
    vae.Config(network=Dense((24,)), latent=3),
    Gradient(Elbo(), Optimiser(rate=3e-3), images=960, batch=32, check=960),
)
AE = Recipe(
    "small-ae",
    Data(),
    autoencoder.Config(network=Dense((24,)), latent=4),
    Gradient(Reconstruction(), Optimiser(rate=3e-3), images=960, batch=32, check=480),
)


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes ten times as long as these trainings, and has tests of its own."""
    monkeypatch.setattr(preview, "write", lambda *_: None)


# Folds.


@pytest.mark.parametrize(("count", "folds"), [(10, 2), (103, 5), (7, 7)])
def test_folds_are_disjoint_and_complete(count: int, folds: int) -> None:
    parts = tune.split(count, folds, seed=0)
    assert torch.equal(torch.cat(parts).sort().values, torch.arange(count))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert not all(torch.equal(a, b) for a, b in zip(parts, tune.split(count, folds, seed=1), strict=True))


def test_a_part_has_a_fingerprint_of_its_own() -> None:
    images = bars(20, 0)
    one, two = (tune.subset(images, torch.arange(k, k + 10)) for k in (0, 10))
    assert len({images.fingerprint, one.fingerprint, two.fingerprint}) == 3
    assert tune.subset(images, torch.arange(10)).fingerprint == one.fingerprint
    assert one.labels is not None and torch.equal(one.labels, torch.arange(10))


# Tuning.


def test_a_search_trains_on_the_rest_and_judges_on_the_fold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, trained, real = bars(90, 0), [], fit.train

    def spy(recipe: Recipe, data: tuple[Images, Images | None], out: Path, **rest: Any) -> Any:
        trained.append(data)
        return real(recipe, data, out, **rest)

    monkeypatch.setattr(fit, "train", spy)
    grid = [("objective.beta", ["0.5", "1"]), ("model.latent", ["2", "3"])]
    said: list[tuple[int, int]] = []
    found = tune.run(VAE, grid, images, tmp_path, folds=3, samples=5, progress=lambda *at: said.append(at))
    wanted = list(itertools.product(("0.5", "1"), ("2", "3")))
    assert [tuple(value for _, value in cell.settings) for cell in found.cells] == wanted
    assert len(trained) == 12 and said[-1] == (12_000, 12_000) and said == sorted(said)
    for k, part in enumerate(tune.split(90, 3, seed=0)):
        held_out = tune.subset(images, part)
        rest, validation = trained[k]
        # No validation part where nothing asks for one, and none of the fold's images among those trained on.
        assert validation is None and len(rest) == 60
        alike = (rest.pixels[:, None] == held_out.pixels[None]).flatten(2).all(-1)  # type: ignore[index]
        assert not bool(alike.any())
        place = tmp_path / "objective.beta=0.5 model.latent=2" / f"fold-{k}"
        again = evaluate.run(loading.load(place), held_out, samples=5).record()["nats"]
        assert found.cells[0].values[k] == pytest.approx(again)
    assert loading.load(tmp_path / "objective.beta=1 model.latent=3" / "fold-0").config.latent == 3


def test_a_search_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, grid, real = bars(60, 0), [("optimiser.rate", ["1e-3", "3e-3"])], fit.train
    calls: list[Path] = []

    def killed(recipe: Recipe, data: Any, out: Path, **rest: Any) -> Any:
        calls.append(out)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(recipe, data, out, **rest)

    monkeypatch.setattr(fit, "train", killed)
    with pytest.raises(KeyboardInterrupt):
        tune.run(AE, grid, images, tmp_path / "a", folds=2, criterion="psnr")
    found = tune.run(AE, grid, images, tmp_path / "a", folds=2, criterion="psnr")
    assert len(calls) == 5  # three before, of which one was cut; two after
    monkeypatch.setattr(fit, "train", real)
    assert found == tune.run(AE, grid, images, tmp_path / "b", folds=2, criterion="psnr")
    with pytest.raises(RunError, match="differs in folds"):
        tune.run(AE, grid, images, tmp_path / "a", folds=3, criterion="psnr")
    with pytest.raises(RunError, match="differs in data"):
        tune.run(AE, grid, replace(images, fingerprint="other"), tmp_path / "a", folds=2, criterion="psnr")


@pytest.mark.parametrize(
    ("recipe", "grid", "criterion", "error", "says"),
    [
        (VAE, [("objective.betta", ["1"])], "nats", RecipeError, "objective.beta"),
        (VAE, [("objective.beta", ["much"])], "nats", RecipeError, "much"),
        (VAE, [("model.likelihood", ["bernoulli", "gaussian"])], "nats", RecipeError, "binary and continuous"),
        (VAE, [("data.size", ["14", "7"])], "nats", RecipeError, "before folds are cut"),
        (VAE, [], "nats", RecipeError, "nothing to tune"),
        (VAE, [("objective.beta", [])], "nats", RecipeError, "nothing to tune"),
        (VAE, [("objective.beta", ["1"])], "loss", RecipeError, "no criterion"),
        (AE, [("model.latent", ["2"])], "nats", CapabilityError, "Scores"),
    ],
)
def test_mistakes_show_before_any_training(
    recipe: Recipe, grid: Any, criterion: Any, error: type[Exception], says: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(fit, "train", lambda *_, **__: pytest.fail("trained"))
    with pytest.raises(error, match=says):
        tune.run(recipe, grid, bars(40, 0), tmp_path / "out", folds=2, criterion=criterion)
    assert not (tmp_path / "out").exists()


def test_too_few_images_or_folds_are_refused(tmp_path: Path) -> None:
    grid = [("model.latent", ["2"])]
    with pytest.raises(DataError, match="too few"):
        tune.run(VAE, grid, bars(5, 0), tmp_path, folds=3)
    with pytest.raises(DataError, match="wants labels"):
        tune.run(VAE, grid, replace(bars(40, 0), labels=None), tmp_path, folds=2, criterion="probe")
    with pytest.raises(RecipeError, match="at least 2"):
        tune.run(VAE, grid, bars(40, 0), tmp_path, folds=1)


def test_a_search_by_probe_prefers_codes_that_were_trained(tmp_path: Path) -> None:
    """A code of one number can't tell ten classes apart as one of eight can."""
    pytest.importorskip("sklearn")
    recipe = replace(AE, training=replace(AE.training, images=9600))
    found = tune.run(recipe, [("model.latent", ["1", "8"])], bars(300, 0), tmp_path, folds=2, criterion="probe")
    assert dict(found.best.settings) == {"model.latent": "8"} and not found.lower_is_better
    assert found.best.mean > found.cells[0].mean + 0.1
    # 30 images a class, half of them in the other fold, give or take the draw of the folds.
    assert 8 <= found.protocol["labels a class"] <= 15


def test_a_denoiser_is_tuned_by_what_it_denoises(tmp_path: Path) -> None:
    recipe = AE.with_overrides(["data.corruption.kind=gaussian", "model.denoises=true"])
    found = tune.run(recipe, [("model.latent", ["4"])], bars(40, 0), tmp_path, folds=2, criterion="psnr")
    assert found.unit == "dB of the denoised image" and found.protocol["samples"] is None


def test_early_stopping_sees_a_part_of_the_rest_and_never_the_fold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[Images, Images | None]] = []
    real = fit.train
    monkeypatch.setattr(fit, "train", lambda r, d, o, **rest: (seen.append(d), real(r, d, o, **rest))[1])
    recipe = AE.with_overrides(["training.patience=1", "data.validation=0.25"])
    tune.run(recipe, [("model.latent", ["4"])], bars(40, 0), tmp_path, folds=2, criterion="psnr")
    for rest, validation in seen:
        assert validation is not None and (len(rest), len(validation)) == (15, 5)


def test_the_best_cell_the_paired_gaps_and_the_record() -> None:
    cells = tuple(tune.Cell((("k", v),), values) for v, values in [("a", (10.0, 20.0)), ("b", (9.0, 18.0))])
    low = tune.Tuning(cells, "nats", "nats", True, {"folds": 2})
    assert low.best is cells[1] and replace(low, lower_is_better=False).best is cells[0]
    assert low.behind(cells[0]) == (1.5, pytest.approx(0.5)) and low.behind(cells[1]) == (0.0, 0.0)
    assert cells[0].standard_error == pytest.approx(5.0)  # of the mean; the paired gap is ten times tighter
    record = low.record()
    assert json.loads(json.dumps(record)) == record and record["best"] == {"k": "b"}
    assert "| b | 13.5 | 4.5 | +0 ± 0 | best |" in low.markdown()


def test_a_model_fitted_in_passes_can_be_tuned_as_well(tmp_path: Path) -> None:
    recipe = recipes.find("mnist-pca")
    assert isinstance(recipe.training, Fit)
    found = tune.run(recipe, [("model.latent", ["1", "6"])], bars(60, 0), tmp_path, folds=2, criterion="psnr")
    assert dict(found.best.settings) == {"model.latent": "6"}


# Short trainings in memory.


def test_a_short_training_is_a_function_of_recipe_and_images() -> None:
    one, two = (reach(AE, bars(100, 0), bars(40, 1)) for _ in range(2))
    assert one.loss == two.loss < one.start and one.images == 960
    assert all(torch.equal(a, b) for a, b in zip(one.model.parameters(), two.model.parameters(), strict=True))
    assert reach(replace(AE, seed=1), bars(100, 0), bars(40, 1)).loss != one.loss


def test_a_training_that_breaks_down_has_an_infinite_loss() -> None:
    wild = replace(AE.training, optimiser=Optimiser("sgd", rate=1e30, momentum=0.0), clip=None)
    recipe = replace(AE, training=wild, model=replace(AE.model, output="linear"))
    assert math.isinf(reach(recipe, bars(100, 0), bars(40, 1)).loss)


def test_what_is_fitted_in_passes_has_no_gradient_steps() -> None:
    with pytest.raises(RecipeError, match="gradient steps"):
        reach(replace(AE, training=Fit()), bars(40, 0), bars(40, 1))
    with pytest.raises(RecipeError, match="gradient steps"):
        optimisers.run(replace(AE, training=Fit()), bars(40, 0), bars(40, 1))


# Depth.


def norms(block: depth.Block, layers: int, activation: Any = "sigmoid") -> Sequence[float]:
    recipe = depth.stack_recipe(layers, block, width=24, activation=activation, budget=1)
    return depth.gradient_norms(recipe, bars(200, 0))


@pytest.mark.parametrize("block", depth.BLOCKS)
def test_every_layer_has_its_norm(block: depth.Block) -> None:
    # Hidden layers, the code and the image: two more.
    assert len(norms(block, 8)) >= 10 and all(norm >= 0 for norm in norms(block, 8))


def test_gradients_vanish_in_plain_stacks_and_do_not_in_residual_ones() -> None:
    plain, residual = norms("plain", 32), norms("residual", 32)
    assert plain[0] < 1e-6 * plain[-1]
    assert residual[0] > 1e-2 * residual[-1]


def test_the_depth_study_covers_blocks_and_depths_and_is_json() -> None:
    said: list[tuple[int, int]] = []
    found = depth.run(
        bars(200, 0), bars(50, 1), depths=(2, 4), width=16, budget=1280, progress=lambda *at: said.append(at)
    )
    assert [(s.block, s.depth) for s in found.stacks] == list(itertools.product(depth.BLOCKS, (2, 4)))
    assert said == [(k, 6) for k in range(1, 7)] and all(s.loss < s.start for s in found.stacks)
    record = found.record()
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert len(found.markdown().splitlines()) == 4


# Optimisers.


def test_each_optimiser_keeps_its_best_rate_and_meets_all_schedules() -> None:
    contenders = (
        optimisers.Contender("Adam", Optimiser("adam"), (1e-5, 3e-3)),
        optimisers.Contender("descent", Optimiser("sgd", momentum=0.0), (1e-3, 1e-2), batch=0),
    )
    schedules = (Schedule("cosine"), Schedule("plateau", warmup=0.0, patience=0))
    train, validation = bars(100, 0), bars(40, 1)
    found = optimisers.run(AE, train, validation, budget=960, contenders=contenders, schedules=schedules)
    adam = [r for r in found.rows if r.label == "Adam"]
    assert [(r.rate, r.schedule, r.chosen) for r in adam] == [
        (1e-5, "cosine", False),
        (3e-3, "cosine", True),
        (3e-3, "plateau", True),
    ]
    assert {r.steps for r in adam} == {30}
    # A full batch is one step for every hundred images; all see the budget, to a step.
    assert {r.steps for r in found.rows if r.label == "descent"} == {10}
    assert [r.label for r in found.rows[-3:]] == ["Adam, averaged weights", "Adam, early stopping", "Adam, bfloat16"]
    assert [r.precision for r in found.rows].count("bfloat16") == 1
    record = found.record()
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert len(found.markdown().splitlines()) == 2 + sum(r.chosen for r in found.rows)


def test_an_optimiser_that_breaks_down_is_shown_as_such() -> None:
    wild = optimisers.Contender("wild", Optimiser("sgd", momentum=0.0), (1e30,))
    calm = optimisers.Contender("Adam", Optimiser("adam"), (3e-3,))
    recipe = replace(AE, model=replace(AE.model, output="linear"))
    schedule = (Schedule("constant", warmup=0.0),)
    found = optimisers.run(recipe, bars(100, 0), bars(40, 1), budget=320, contenders=(wild, calm), schedules=schedule)
    assert math.isinf(found.rows[0].loss) and found.record()["rows"][0]["loss"] is None
    assert found.rows[-1].label == "Adam, bfloat16"
