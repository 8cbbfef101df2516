"""Passes over the data: what a model that is fitted by them is given, and that it can be stopped and gone on with."""

import pytest
import torch

from imprior import fit, loading, runs
from imprior.data.batches import Batches, Images
from imprior.data.settings import Data
from imprior.fit import passes
from imprior.fit.passes import Pass
from imprior.models import bernoulli_mixture, gaussian_mixture, hidden_markov, patch_mixture, pca
from imprior.randomness import generator
from imprior.recipes import Recipe
from imprior.training.settings import Fit

PASSES = Fit(iterations=4, tolerance=0.0, batch=30)
RECIPES = {
    "bernoulli": Recipe("mnist-bernoulli-mixture", Data(binarize=True), bernoulli_mixture.Config(components=3), PASSES),
    "hmm": Recipe("mnist-hmm", Data(binarize=True), hidden_markov.Config(states=3), PASSES),
    "gmm": Recipe("mnist-gmm", Data(dequantise=True), gaussian_mixture.Config(components=3, rank=2), PASSES),
    "patches": Recipe("photo-epll", Data(crop=5, dequantise=True), patch_mixture.Config(components=3, patch=2), PASSES),
}


def images(n=70, seed=0):
    pixels = (torch.rand(n, 1, 6, 6, generator=generator(seed)) * 255).byte()
    return Images(pixels, None, (), f"synthetic {seed}")


def test_a_pass_holds_every_image_once_and_in_order():
    given = Pass(Batches(images(), Data(), batch=30, seed=0), 3)
    assert [len(x) for x in given] == [30, 30, 10]
    assert torch.equal(torch.cat(list(given)), images().x(slice(None)))


def test_bits_are_the_same_within_a_pass_and_others_in_the_next():
    batches = Batches(images(), Data(binarize=True), batch=30, seed=0)
    first, again, second = (torch.cat(list(Pass(batches, number))) for number in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, second)
    assert set(first.unique().tolist()) == {0.0, 1.0}
    # Binomial errors of the mean over 70 x 36 bits are 0.01 at most.
    assert abs(float(first.mean() - images().x(slice(None)).mean())) < 0.05


@pytest.mark.parametrize("name", RECIPES)
def test_stopped_and_gone_on_with_equals_uninterrupted(tmp_path, monkeypatch, name):
    whole = fit.train(RECIPES[name], (images(), images(10, 1)), tmp_path / "whole")
    counter = iter(range(10**6))

    class Interrupts:
        def __enter__(self):
            return lambda: next(counter) == 2

        def __exit__(self, *error):
            return None

    with monkeypatch.context() as patched:
        patched.setattr(passes, "interrupts", Interrupts)
        with pytest.raises(KeyboardInterrupt):
            fit.train(RECIPES[name], (images(), images(10, 1)), tmp_path / "two")
    assert len(runs.Run(tmp_path / "two").log()) == 2
    fit.train(RECIPES[name], (images(), images(10, 1)), tmp_path / "two", resume=True)
    assert (tmp_path / "two" / "weights.safetensors").read_bytes() == whole.weights_file.read_bytes()
    assert [line["loss"] for line in runs.Run(tmp_path / "two").log()] == [line["loss"] for line in whole.log()]
    loading.load(tmp_path / "two")


def test_what_has_converged_is_not_gone_on_with(tmp_path):
    recipe = Recipe("mnist-pca", Data(), pca.Config(latent=4), Fit(iterations=10))
    run = fit.train(recipe, (images(), None), tmp_path)
    assert len(run.log()) == 2  # the second pass changes nothing
    fit.train(recipe, (images(), None), tmp_path, resume=True)
    assert len(run.log()) == 2


def test_another_seed_begins_elsewhere(tmp_path):
    one, other = (
        fit.train(Recipe(**(vars(RECIPES["gmm"]) | {"seed": seed})), (images(), None), tmp_path / str(seed))
        for seed in (0, 1)
    )
    assert one.log()[0]["loss"] != other.log()[0]["loss"]
