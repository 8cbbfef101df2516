"""Influence maps against derivatives that are known: the weights of a linear model, and autograd."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

import imprior as package
from conftest import Ended
from imprior.errors import CapabilityError, DataError
from imprior.models import vae
from imprior.nn.dense import Dense
from imprior.tasks import influence
from toys import LinearGaussian, Pixels

Command = Callable[..., Ended]
DOUBLE = torch.float64


def test_of_a_linear_model_the_maps_are_its_weights() -> None:
    """x̂ = W z + offset and z = Wᵀ(x - offset) / (|w|² + σ²): both derivatives are constants."""
    model = LinearGaussian(dtype=DOUBLE)
    x = torch.rand(30, 1, 3, 3, dtype=DOUBLE)
    found = influence.run(model, x, units=[1, 0])
    weight = model.weight.abs().T[[1, 0]]
    assert found.units == (1, 0) and found.n == 30
    torch.testing.assert_close(found.moves.flatten(1), weight, rtol=1e-10, atol=1e-12)
    total = (model.weight.square().sum(0) + model.sigma**2)[[1, 0], None]
    torch.testing.assert_close(found.moved_by.flatten(1), weight / total, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(found.deviation, model.encode(x).std(0, correction=0)[[1, 0]])


def test_float32_is_enough_for_differences() -> None:
    model = LinearGaussian()
    found = influence.run(model, torch.rand(30, 1, 3, 3), units=2)
    torch.testing.assert_close(found.moves.flatten(1), model.weight.abs().T[list(found.units)], rtol=1e-4, atol=1e-5)


def test_of_a_curved_model_they_are_what_autograd_says(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = vae.Config((1, 4, 3), Dense((9,), activation="tanh"), latent=3).build().double().eval()
    x = torch.rand(7, 1, 4, 3, dtype=DOUBLE)
    monkeypatch.setattr(influence, "BATCH", 3)
    found = influence.run(model, x, units=[0, 1, 2])
    with torch.no_grad():
        z = model.encode(x)
    moves = torch.func.vmap(torch.func.jacrev(lambda one: model.decode(one[None])[0]))(z)  # [N, C, H, W, U]
    moved = torch.func.vmap(torch.func.jacrev(lambda one: model.encode(one[None])[0]))(x)  # [N, U, C, H, W]
    torch.testing.assert_close(found.moved_by, moved.abs().mean(0), rtol=1e-9, atol=1e-12)
    # A twentieth of a deviation: the square of the step times a third derivative of order one.
    torch.testing.assert_close(found.moves, moves.abs().mean(0).permute(3, 0, 1, 2), rtol=1e-2, atol=1e-6)
    assert all(p.grad is None for p in model.parameters())


def test_those_that_vary_most_come_first_and_idle_units_are_dark() -> None:
    class Idle(LinearGaussian):
        def encode(self, x: Tensor) -> Tensor:
            return super().encode(x) * torch.tensor([0.0, 1.0])

    found = influence.run(Idle(), torch.rand(9, 1, 3, 3), units=2)
    assert found.units == (1, 0) and float(found.deviation[1]) == 0
    moves, moved_by = found.pictures()
    assert moves.shape == moved_by.shape == (2, 1, 3, 3)
    for shown in (moves, moved_by):
        assert float(shown[0].max()) == 1 and float(shown[1].max()) == 0 and float(shown.min()) >= 0


def test_conditional_decoders_are_given_the_labels() -> None:
    class Conditional(LinearGaussian):
        classes: int | None = 2

        def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
            assert labels is not None
            return super().decode(z * labels[:, None])

    labels = torch.tensor([0, 1, 1, 1])
    x = torch.rand(4, 1, 3, 3)
    found = influence.run(Conditional(), x, units=2, labels=labels)
    whole = influence.run(LinearGaussian(), x, units=2)
    torch.testing.assert_close(found.moves, 0.75 * whole.moves, rtol=1e-4, atol=1e-5)
    with pytest.raises(DataError, match="images with labels"):
        package.influence(Conditional(), x)


def test_refusals() -> None:
    with pytest.raises(CapabilityError, match="Encodes"):
        influence.run(Pixels(), torch.rand(4, 1, 3, 3))
    with pytest.raises(DataError, match="no unit 5"):
        influence.run(LinearGaussian(), torch.rand(4, 1, 3, 3), units=[5])
    with pytest.raises(DataError, match="at least two"):
        influence.run(LinearGaussian(), torch.rand(1, 1, 3, 3))


def test_the_command_draws_two_rows(imprior: Command, bars: Path, tmp_path: Path) -> None:
    out = tmp_path / "i.png"
    done = imprior("influence", "mnist-vae", "--data", bars, "--units", 3, "--limit", 20, "-o", out, "--json")
    found = json.loads(done.out)
    same = package.influence("mnist-vae", bars, units=3, limit=20)
    assert found["units"] == same.record()["units"] and found["n"] == 20
    with Image.open(out) as picture:
        assert picture.height > 2 * 28 and picture.width > 3 * 28
    for args, word in (
        (["influence", "mnist-vae", "--data", bars, "-o", tmp_path / "i.txt"], ".png"),
        (["influence", "mnist-vae", "--data", bars, "--unit", 999, "-o", out], "no unit 999"),
        (["influence", "wavelets", "--data", bars, "-o", out], "Encodes"),
    ):
        ended = imprior(*args)
        assert ended.code == 2 and word in ended.line
