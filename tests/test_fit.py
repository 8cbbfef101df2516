"""From recipe and data to a run folder: what it holds, going on, several processes."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from imprior import fit, loading, recipes, runs
from imprior.data.batches import Images
from imprior.data.settings import Data
from imprior.errors import DataError, RecipeError, RunError
from imprior.fit import steps
from imprior.models import autoencoder, pca, vae
from imprior.nn.dense import Dense
from imprior.objectives.elbo import Elbo
from imprior.objectives.reconstruction import Reconstruction
from imprior.promises import kept
from imprior.randomness import generator
from imprior.recipes import Recipe
from imprior.training.settings import Fit, Gradient


def images(n=120, seed=0):
    pixels = (torch.rand(n, 1, 6, 6, generator=generator(seed)) * 255).byte()
    return Images(pixels, torch.arange(n) % 3, ("a", "b", "c"), f"synthetic {seed}")


AE = Recipe(
    name="mnist-ae",
    data=Data(),
    model=autoencoder.Config(network=Dense((8,)), latent=4),
    training=Gradient(Reconstruction(), images=1200, batch=20, check=400, average=100.0),
)
VAE = replace(
    AE,
    data=Data(binarize=True),
    model=vae.Config(network=Dense((8,)), latent=4),
    training=Gradient(Elbo(), images=1200, batch=20, check=400),
)
PCA = Recipe(name="mnist-pca", data=Data(), model=pca.Config(latent=4), training=Fit())
RECIPES = {"autoencoder": AE, "vae": VAE, "pca": PCA}


@pytest.mark.parametrize("name", RECIPES)
def test_a_run_folder_is_complete_and_loads(tmp_path, name):
    told = []
    run = fit.train(RECIPES[name], (images(), images(30, 1)), tmp_path / "run", watch=told.append)
    expected = {"recipe.json", "weights.safetensors", "card.json", "log.jsonl", "preview.png", "curves.png", "resume"}
    assert {p.name for p in run.path.iterdir()} == expected
    model, card = loading.load(run.path), run.read("card.json")
    assert not model.training and card["promises"] == kept(model) and card["shape"] == [1, 6, 6]
    assert card["training"]["finished"] and told[-1].done == told[-1].total
    x = images().x(slice(5))
    assert model.decode(model.encode(x)).shape == x.shape
    assert recipes.read(run.read("recipe.json")).model.shape == (1, 6, 6)


def test_a_second_training_does_not_overwrite_the_first(tmp_path):
    fit.train(AE, (images(), None), tmp_path)
    before = (tmp_path / "weights.safetensors").read_bytes()
    with pytest.raises(RunError, match="already holds a run"):
        fit.train(AE, (images(), None), tmp_path)
    fit.train(AE, (images(), None), tmp_path, resume=True)  # finished: nothing changes
    assert (tmp_path / "weights.safetensors").read_bytes() == before


def test_going_on_wants_the_same_recipe_and_data(tmp_path):
    fit.train(AE, (images(), None), tmp_path)
    with pytest.raises(RunError, match="other data"):
        fit.train(AE, (images(seed=5), None), tmp_path, resume=True)
    with pytest.raises(RecipeError, match=r"begun with training\.batch=20, not 10"):
        fit.train(AE.with_overrides(["training.batch=10"]), (images(), None), tmp_path, resume=True)


def test_going_on_wants_the_same_parts(tmp_path):
    short = VAE.with_overrides(["training.images=20"])
    fit.train(short, (images(), None), tmp_path)
    with pytest.raises(RecipeError, match=r"begun with model\.prior=standard"):
        fit.train(short.with_overrides(["model.prior=flow"]), (images(), None), tmp_path, resume=True)


def test_stopped_and_gone_on_with_equals_uninterrupted(tmp_path, monkeypatch):
    whole = fit.train(VAE, (images(), images(30, 1)), tmp_path / "whole")
    counter = iter(range(10**6))
    stops = lambda: next(counter) == 17  # noqa: E731

    class Interrupts:
        def __enter__(self):
            return stops

        def __exit__(self, *error):
            return None

    with monkeypatch.context() as patched:
        patched.setattr(steps, "interrupts", Interrupts)
        with pytest.raises(KeyboardInterrupt):
            fit.train(VAE, (images(), images(30, 1)), tmp_path / "two")
    assert runs.Run(tmp_path / "two").read("card.json")["training"]["finished"] is False
    loading.load(tmp_path / "two")  # what was stopped can be used as it is
    fit.train(VAE, (images(), images(30, 1)), tmp_path / "two", resume=True)
    for name in ("weights.safetensors", "recipe.json"):
        assert (tmp_path / "two" / name).read_bytes() == (whole.path / name).read_bytes()
    strip = lambda line: {k: v for k, v in line.items() if "second" not in k}  # noqa: E731
    assert [*map(strip, runs.Run(tmp_path / "two").log())] == [*map(strip, whole.log())]


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(tmp_path):
    files = [
        fit.train(replace(VAE, seed=seed), (images(), None), tmp_path / f"{i}").weights_file.read_bytes()
        for i, seed in enumerate((0, 0, 1))
    ]
    assert files[0] == files[1] != files[2]


def test_training_leaves_the_global_random_state_alone(tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    fit.train(AE, (images(), None), tmp_path)
    assert torch.equal(torch.rand(3), expected)


def test_training_goes_on_from_the_weights_of_another_run(tmp_path):
    first = fit.train(AE, (images(), None), tmp_path / "first")
    short = AE.with_overrides(["training.images=20", "optimiser.rate=1e-9", "training.average=none"])
    second = fit.train(short, (images(), None), tmp_path / "second", init=first.path)
    a, b = (runs.read_tensors(r.weights_file)[0]["encoder.1.weight"] for r in (first, second))
    assert torch.allclose(a, b, atol=1e-6)


def test_a_budget_in_minutes_becomes_images_and_is_written_down(tmp_path):
    run = fit.train(AE, (images(), None), tmp_path, minutes=0.01)
    settled = recipes.read(run.read("recipe.json")).training.images
    assert settled % 20 == 0 and settled != AE.training.images
    assert run.read("card.json")["training"]["images"] == settled
    assert run.read("card.json")["training"]["seconds"] < 10


def test_a_run_of_other_weights_is_refused(tmp_path):
    fit.train(AE, (images(), None), tmp_path / "a")
    other = AE.with_overrides(["model.latent=5"])
    fit.train(other, (images(), None), tmp_path / "b")
    (tmp_path / "a" / "weights.safetensors").write_bytes((tmp_path / "b" / "weights.safetensors").read_bytes())
    with pytest.raises(RunError, match="not the weights") as error:
        loading.load(tmp_path / "a")
    assert "\n" not in str(error.value)


def test_the_model_does_not_depend_on_its_data_being_of_another_size(tmp_path):
    with pytest.raises(RecipeError, match="1x5x5"):
        fit.train(replace(AE, model=replace(AE.model, shape=(1, 5, 5))), (images(), None), tmp_path)
    assert not tmp_path.joinpath("recipe.json").exists()


def test_validation_images_of_another_size_are_refused_before_the_training_begins(tmp_path):
    other = Images(torch.zeros(4, 1, 5, 5, dtype=torch.uint8), None, (), "")
    with pytest.raises(DataError, match=r"training of \(1, 6, 6\), but for validation of \(1, 5, 5\)"):
        fit.train(AE, (images(), other), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_part_that_the_model_lacks_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(RecipeError, match="only=nothing"):
        fit.train(AE.with_overrides(["training.only=nothing"]), (images(), images(30, 1)), tmp_path / "run")
    assert not (tmp_path / "run" / "recipe.json").exists()


WORKER = """
import json, sys
sys.path.insert(0, {tests!r})
from test_fit import RECIPES, images
from imprior import fit
fit.train(RECIPES[sys.argv[1]], (images(), images(30, 1)), sys.argv[2])
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["autoencoder", "vae"])
def test_two_processes_train_as_one(tmp_path, name):
    tests = str(Path(__file__).parent)
    worker = tmp_path / "worker.py"
    worker.write_text(WORKER.format(tests=tests))
    whole = fit.train(RECIPES[name], (images(), images(30, 1)), tmp_path / "one")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0"]
    command = [*torchrun, "--standalone", str(worker), name, str(tmp_path / "two")]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    for left in (1, 0):  # torchrun now and then loses its own port or connection, which is not what is tested
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
        if done.returncode == 0 or not left or not re.search("EADDRINUSE|Rendezvous|[Cc]onnection", done.stderr):
            break
        shutil.rmtree(tmp_path / "two", ignore_errors=True)
    assert done.returncode == 0, done.stderr[-3000:]
    shared = runs.Run(tmp_path / "two")
    assert shared.read("card.json")["training"]["processes"] == 2
    if name == "autoencoder":  # nothing random in a step: the weights agree to rounding
        a, b = (runs.read_tensors(r.weights_file)[0] for r in (whole, shared))
        for key in ("encoder.1.weight", "decoder.0.weight"):
            assert (a[key] - b[key]).abs().max() < 1e-5
    # Of a VAE the draws differ, so mean losses agree as two estimates of the same number do: to five standard errors.
    one, two = (torch.tensor([line["loss"] for line in r.log()][-30:]) for r in (whole, shared))
    error = ((one.var() + two.var()) / 30).sqrt()
    assert (one.mean() - two.mean()).abs() < (1e-4 if name == "autoencoder" else 5 * error)
    assert [line["images"] for line in whole.log()] == [line["images"] for line in shared.log()]
    assert json.loads((shared.path / "recipe.json").read_text()) == json.loads((whole.path / "recipe.json").read_text())


def test_nothing_need_be_held_out(tmp_path):
    pixels = images().pixels.numpy()
    source = tmp_path / "images.npy"
    np.save(source, pixels)
    run = fit.train(AE.with_overrides(["data.validation=0"]), source, tmp_path / "run")
    assert run.read("card.json")["data"]["images"] == len(pixels)
    assert not any("validation" in line for line in run.log())
