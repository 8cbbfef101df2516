"""Autoencoders beside PCA with as many components: PSNR of the reconstructions on the test set.

    python benchmarks/autoencoder_vs_pca.py MNIST_FOLDER --models mnist-ae-conv mnist-ae mnist-vae --name mnist
    python benchmarks/autoencoder_vs_pca.py /usr/share/datasets/fashion-mnist --models fashion-ae-conv --name fashion

PCA is fitted to the whole training set; a model saw what its recipe left it of that. PSNR of each image after clipping
to [0, 1], averaged over images; the difference is paired, so its standard error is that of the differences.
"""

import argparse
import math
from pathlib import Path

import torch
from show import finish, standard_error, versions
from torch import Tensor

from imprior import opening
from imprior.data import prepare
from imprior.data.settings import Data
from imprior.errors import DataError
from imprior.models import pca
from imprior.tasks import reconstruct


def by_pca(train: list[Tensor], x: Tensor, components: int) -> Tensor:
    """PSNR of each image of x, [N]."""
    channels, height, width = x.shape[1:]
    model = pca.Config((channels, height, width), components).build()
    model.update(train)
    return reconstruct.run(model, x).psnr_db


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", metavar="SRC", help="images with a training and a test part")
    parser.add_argument("--models", nargs="+", required=True, help="names of embedded models, or run folders")
    parser.add_argument("--name", required=True, help="of the data set: results go to autoencoder_vs_pca_NAME.json")
    parser.add_argument("--n", type=int, default=None, help="test images, the first so many [all]")
    asked = parser.parse_args()

    test = prepare.load(asked.source, Data(), "test")
    train = prepare.load(asked.source, Data(validation=0), "train").chunks(1000)
    x = test.x(slice(0, asked.n))
    fitted: dict[int, Tensor] = {}
    rows = []
    for given in asked.models:
        model, name = opening.model(given).model, Path(given).name
        with torch.no_grad():
            components = math.prod(model.encode(x[:1]).shape[1:])
        if components > x[0].numel():
            raise DataError(f"{name} has codes of {components} numbers, more than an image of {x[0].numel()}")
        if components not in fitted:
            fitted[components] = by_pca(train, x, components)
        own, pca_db = reconstruct.run(model, x).psnr_db, fitted[components]
        rows.append(
            {
                "model": name,
                "numbers": components,
                "psnr_db": own.mean().item(),
                "standard_error": standard_error(own),
                "pca_psnr_db": pca_db.mean().item(),
                "gain_db": (own - pca_db).mean().item(),
                "gain_standard_error": standard_error(own - pca_db),
            }
        )
    protocol = {"source": asked.name, "fingerprint": test.fingerprint, "n": len(x), "versions": versions("imprior")}
    print(f"{asked.name}: {len(x)} test images, PCA fitted to {sum(map(len, train))} training images\n")
    finish(f"autoencoder_vs_pca_{asked.name}", protocol, rows)


if __name__ == "__main__":
    main()
