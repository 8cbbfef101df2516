"""A small world for tests of face and command line: a data set that is drawn here, and runs trained on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from imprior.cli import main

SMALL_VAE = ("model.network.widths=32", "model.latent=4", "model.prior=standard", "training.precision=float32")
SMALL_DAE = ("model.network.channels=8,8", "model.network.blocks=1", "model.latent=8", "training.precision=float32",
             "training.average=none", "optimiser.rate=1e-2")  # fmt: skip
SHORT = ("training.images=1920", "training.batch=64", "training.check=1920")


@dataclass(frozen=True)
class Ended:
    """How a command ended: exit code, stdout, stderr."""

    code: int
    out: str
    err: str

    @property
    def line(self) -> str:
        """The one line that a refused command leaves on stderr."""
        lines = self.err.splitlines()
        assert len(lines) == 1 and lines[0].startswith("imprior: error: "), self.err
        return lines[0].removeprefix("imprior: error: ")


@pytest.fixture
def imprior(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Run a command in this process."""

    def call(*args: object) -> Ended:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(arg) for arg in args])
        out, err = capsys.readouterr()
        return Ended(ended.value.code, out, err)  # type: ignore[arg-type]

    return call


def shapes(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Ten classes of 28x28 grey images: a bright bar whose place and direction are the class, with some jitter."""
    rng = np.random.default_rng(seed)
    images, labels = np.zeros((count, 28, 28)), np.arange(count) % 10
    for image, label in zip(images, labels, strict=True):
        row, column = 4 + 4 * (label % 5) + rng.integers(-1, 2, 2)
        if label < 5:
            image[row : row + 4, 4:24] = rng.uniform(0.7, 1.0)
        else:
            image[4:24, column : column + 4] = rng.uniform(0.7, 1.0)
    noisy = images + 0.05 * rng.standard_normal(images.shape)
    return np.rint(255 * noisy.clip(0, 1)).astype(np.uint8), labels


@pytest.fixture(scope="session")
def bars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An NPZ of 300 training and 60 test images with labels."""
    path = tmp_path_factory.mktemp("data") / "bars.npz"
    (x, y), (x_test, y_test) = shapes(300, 0), shapes(60, 1)
    np.savez(path, x_train=x, y_train=y, x_test=x_test, y_test=y_test)
    return path


@pytest.fixture(scope="session")
def trained(bars: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs of an autoencoder, a denoising one and a VAE."""
    from imprior import face

    place = tmp_path_factory.mktemp("runs")
    wanted = {"ae": ("mnist-ae", ()), "dae": ("mnist-dae", SMALL_DAE), "vae": ("mnist-vae", SMALL_VAE)}
    for name, (recipe, overrides) in wanted.items():
        face.train(recipe, bars, place / name, overrides=(*overrides, *SHORT))
    return {name: place / name for name in wanted}
