"""Pictures and figures of the textbook page: the tutorials' programs, as printed and mended, on the same images.

    python benchmarks/textbook_pictures.py [--data SRC] [--only NAME …] [--scale 0.1]

SRC is `digits` (7,000 digits that come with the package) or a folder with labels and a test part, such as that of the
four MNIST files. Writes docs/_static/textbook/NAME.png and benchmarks/results/textbook.json. Trainings are short
(minutes together) and kept in --runs; pictures of embedded models use those. What can't be made is named and left out.
"""

import argparse
from pathlib import Path

import textbook_autoencoder
import textbook_other
import textbook_vae
from textbook import Maker, Stage, keep

from imprior.errors import ImpriorError

MAKERS: dict[str, Maker] = {
    "plain": textbook_autoencoder.plain,
    "sizes": textbook_autoencoder.sizes,
    "deep": textbook_autoencoder.deep,
    "plane": textbook_autoencoder.plane,
    "pca": textbook_autoencoder.against_pca,
    "denoising": textbook_autoencoder.denoising,
    "fixed-noise": textbook_autoencoder.fixed_noise,
    "beta": textbook_vae.beta,
    "elbo": textbook_vae.parts,
    "scale": textbook_vae.sum_and_mean,
    "variance": textbook_vae.variance,
    "clipped": textbook_vae.clipped,
    "holes": textbook_vae.holes,
    "tune": textbook_vae.tuned,
    "nearest": textbook_vae.nearest,
    "flow": textbook_other.flow,
    "attention": textbook_other.attention,
    "classes": textbook_other.classes,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits", metavar="SRC")
    parser.add_argument("--runs", type=Path, default=Path("runs/textbook"), metavar="DIR")
    parser.add_argument("--scale", type=float, default=1.0, help="of the trainings' lengths")
    parser.add_argument("--only", nargs="*", choices=MAKERS, default=list(MAKERS), metavar="NAME")
    given = parser.parse_args()
    stage = Stage(given.data, given.runs, given.scale)
    missing = {}
    for name in given.only:
        print(name, flush=True)
        try:
            keep(name, MAKERS[name](stage), stage)
        except ImpriorError as error:
            missing[name] = error
    for name, error in missing.items():
        print(f"{name} is left out: {error}")


if __name__ == "__main__":
    main()
