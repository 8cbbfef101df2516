"""What codes know about classes: linear classifiers on codes, raw pixels and PCA with 10, 100 and 1,000 labels a class.

python benchmarks/linear_probe.py MNIST_FOLDER --models mnist-vae mnist-ae-conv --name mnist
"""

import argparse

from show import finish, versions

from imprior import face


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", metavar="SRC", help="labelled images with a training and a test part")
    parser.add_argument("--models", nargs="+", required=True, help="names of embedded models, or run folders")
    parser.add_argument("--per-class", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--name", required=True, help="of the data set: results go to linear_probe_NAME.json")
    asked = parser.parse_args()

    rows, protocol = [], {}
    for model in asked.models:
        found = face.probe(model, asked.source, per_class=asked.per_class, seeds=asked.seeds)
        print(f"\n{model}\n{found.markdown()}", flush=True)
        rows += [{"model": model} | row for row in found.record()["rows"]]
        protocol = found.protocol
    print()
    finish(f"linear_probe_{asked.name}", protocol | versions("scikit-learn"), rows)


if __name__ == "__main__":
    main()
