"""The README's picture, from embedded models and embedded test digits alone: docs/_static/demo.png.

python benchmarks/readme_picture.py
"""

from pathlib import Path

import torch

import imprior
from imprior import runs
from imprior.data import prepare
from imprior.data.corrupt import corrupt
from imprior.data.settings import Corruption, Data
from imprior.randomness import generator
from imprior.report import grid

SHOWN = 12
PICTURE = Path(__file__).parents[1] / "docs" / "_static" / "demo.png"

if __name__ == "__main__":
    digits = prepare.load("digits", Data(), "test")
    assert digits.labels is not None
    one_of_each = [int((digits.labels == label % 10).nonzero()[label // 10]) for label in range(SHOWN)]
    x = digits.x(torch.tensor(one_of_each))
    autoencoder, denoiser = imprior.load("mnist-ae-conv"), imprior.load("mnist-dae")
    noisy, _ = corrupt(x, Corruption("gaussian", 0.5, 0.5), generator(0, "readme"))
    with torch.no_grad():
        rows = {
            "original": x,
            "from 32 numbers": autoencoder.decode(autoencoder.encode(x)),
            "noisy": noisy,
            "cleaned": denoiser.denoise(noisy),
            "drawn: digits": imprior.sample("mnist-vae", SHOWN, seed=1),
            "drawn: clothes": imprior.sample("fashion-vae", SHOWN, seed=1),
        }
    runs.write_bytes(PICTURE, grid.encoded(grid.rows(list(rows.values()), captions=list(rows))))
    print(f"written to {PICTURE.relative_to(Path.cwd())}" if PICTURE.is_relative_to(Path.cwd()) else PICTURE)
