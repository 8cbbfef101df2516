"""How good samples are, of every family by one protocol: distances in the features of a frozen classifier.

    python benchmarks/sample_quality.py MNIST_FOLDER --models mnist-gan mnist-vae mnist-pixelcnn --name mnist

Beside each model stands what real images reach against other real images, the floor of that measure. The Fréchet
distance is named after the classifier (FD-mnist-v1), whose hash the protocol holds; it is not FID. Latent means are
judged beside grey digits, drawn binary digits beside binarized ones: compare models within one presentation only.
"""

import argparse
from typing import Any

from show import finish, progress_to_stderr

import imprior
from imprior import face
from imprior.tasks.sample import Tempered


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", metavar="SRC", help="images with a training and a test part")
    parser.add_argument("--models", nargs="+", required=True, help="names of embedded models, or run folders")
    parser.add_argument("--classifier", help="[the embedded one of these images]")
    parser.add_argument(
        "--temperatures", type=float, nargs="+", default=[1.0], help="of models that know one, the others have 1 [1]"
    )
    parser.add_argument("-n", type=int, help="samples of each model [half of the test images]")
    parser.add_argument("--name", required=True, help="results go to sample_quality_NAME.json")
    asked = parser.parse_args()

    rows: list[dict[str, Any]] = []
    protocols: dict[str, Any] = {}
    known = [
        (name, temperature)
        for name in asked.models
        for temperature in asked.temperatures
        if temperature == 1 or isinstance(imprior.load(name), Tempered)
    ]
    for name, temperature in known:
        found = face.quality(
            name,
            asked.source,
            classifier=asked.classifier,
            n=asked.n,
            temperature=temperature,
            progress=progress_to_stderr(name),
        ).record()
        drawn, real = found["samples"], found["real"]
        copies = found["memory"].get("features", {})
        rows.append(
            {"model": name, "temperature": temperature, "n": found["n"]}
            | {"fd": drawn["fd"], "fd_of_real": real["fd"], "ratio": found["fd_ratio"]}
            | {key: drawn[key] for key in ("kid", "kid_standard_error", "precision", "recall", "density", "coverage")}
            | {key: found.get(key) for key in ("accuracy", "class_divergence")}
            | {f"memory_{key}": value for key, value in copies.items() if isinstance(value, float)}
            | {"seconds_per_image": found["seconds_per_image"]}
        )
        if temperature == 1:
            protocols[name] = {"measure": found["measure"]} | found["protocol"]
    finish(f"sample_quality_{asked.name}", {"classifier": asked.classifier}, rows, protocols=protocols)


if __name__ == "__main__":
    main()
