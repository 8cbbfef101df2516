"""Likelihood on a whole test set: exact where a family has it, else a bound; binarized digits beside published figures.

    python benchmarks/likelihood.py MNIST_FOLDER --models mnist-vae mnist-vae-standard
    python benchmarks/likelihood.py MNIST_FOLDER --models mnist-flow mnist-pixelcnn-8bit --name likelihood_mnist_8bit

Models over binary images and over 8-bit ones want tables of their own. Bits are drawn once from the grey test images
(see imprior.tasks.protocol); the record has their hash. All models are scored on the same bits, so their differences
are paired. Published figures were measured by others, on other draws of the bits and sometimes on other quantities:
they stand apart, each with its protocol, and are not ranked with ours.
"""

import argparse
import time

from show import finish, progress_to_stderr, table

from imprior import face, opening
from imprior.tasks import compare

# Of binarized digits: (model, nats, protocol, source). Dynamic: bits redrawn from the grey levels at every presentation
# in training.
PUBLISHED = [
    ("VAE, one layer, 200-200-z50", 86.76, "dynamic, bound k=5000", "Burda et al. 2016, table 1"),
    ("IWAE, the same net, K=50", 84.78, "dynamic, bound k=5000", "Burda et al. 2016, table 1"),
    ("IWAE, two stochastic layers, K=50", 82.90, "dynamic, bound k=5000", "Burda et al. 2016, table 1"),
    ("VAE, gated 300-300-z40, standard prior", 84.50, "dynamic, bound k=5000", "Tomczak & Welling 2018, table 1"),
    ("VAE, gated 300-300-z40, VampPrior", 82.38, "dynamic, bound k=5000", "Tomczak & Welling 2018, table 1"),
    ("pythae MIWAE", 85.09, "dynamic, bound k=5000", "pythae README, reproductions"),
    ("pythae CIWAE", 84.74, "dynamic, bound k=5000", "pythae README, reproductions"),
    ("pythae PIWAE", 84.58, "dynamic, bound k=5000", "pythae README, reproductions"),
    ("pytorch-generative, small convolutional VAE", 86.77, "dynamic, ELBO", "pytorch-generative README, 457 epochs"),
    ("pytorch-generative, small VD-VAE", 80.72, "dynamic, ELBO", "pytorch-generative README, 500 epochs"),
    ("pythae VAE 400-z40", 89.78, "static, bound k=200", "pythae README, reproductions"),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", metavar="SRC", help="images with a test part")
    parser.add_argument("--models", nargs="+", required=True, help="names of embedded models, or run folders")
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--limit", type=int, help="test images, the first so many [all]")
    parser.add_argument("--name", default="likelihood", help="results go to NAME.json")
    asked = parser.parse_args()

    evaluations, rows = {}, []
    for name in asked.models:
        started = time.perf_counter()
        found = face.evaluate(
            name, asked.source, samples=asked.samples, limit=asked.limit, progress=progress_to_stderr(name)
        )
        record = found.record()
        evaluations[name] = found
        rows.append(
            {"model": name, "nats": record["nats"], "standard_error": record["standard_error"]}
            | {"bits_per_dim": record["bits_per_dim"], "kind": record["kind"]}
            | {key: record["parts"][key] for key in ("reconstruction", "kl") if "parts" in record}
            | {key: record[key] for key in ("units", "active_units", "collapsed") if key in record}
            | {"parameters": sum(p.numel() for p in opening.model(name).model.parameters())}
            | {"seconds": time.perf_counter() - started, "protocol": record["protocol"]}
        )
    compared = compare.run(evaluations)
    published = [
        {"model": model, "nats": nats, "protocol": protocol, "source": source}
        for model, nats, protocol, source in PUBLISHED
        if rows[0]["protocol"]["binarization"] == "dynamic"
    ]
    print(compared.markdown())
    if published:
        print(f"\nPublished by others (not measured here, other draws of the bits):\n\n{table(published)}")
    print()
    shown = [{k: v for k, v in row.items() if k != "protocol"} for row in rows]
    protocol = {"quantity": "-log p(x), or a bound on it", "samples": asked.samples, "limit": asked.limit}
    finish(asked.name, protocol | rows[0]["protocol"], shown, comparison=compared.record(), published=published)


if __name__ == "__main__":
    main()
