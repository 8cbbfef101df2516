"""Digits against clothes, and the reverse: how well each score of each embedded model tells them apart.

python benchmarks/anomaly.py MNIST_FOLDER FASHION_FOLDER

A model learned one of the two sets. Its detector is fitted to that set's validation images, which training held out;
separated are the test parts of both. The default score was chosen on validation images (`--split validation`).
"""

import argparse
from dataclasses import replace
from typing import Any, get_args

import torch
from show import finish, progress_to_stderr

from imprior import opening, runs
from imprior.errors import CapabilityError
from imprior.promises import Encodes, Scores
from imprior.tasks import anomaly


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mnist", metavar="MNIST", help="the folder of the four files")
    parser.add_argument("fashion", metavar="FASHION", help="the same of Fashion-MNIST")
    parser.add_argument("--models", nargs="+", help="names; all embedded ones that can by default")
    parser.add_argument("--scores", nargs="+", choices=get_args(anomaly.Kind), default=list(get_args(anomaly.Kind)))
    parser.add_argument("--split", choices=["test", "validation"], default="test")
    parser.add_argument("--false-alarms", type=float, default=0.01)
    parser.add_argument("--limit", type=int, help="of each set: only so many images")
    asked = parser.parse_args()

    sources = {"mnist": asked.mnist, "fashion": asked.fashion}
    rows: list[dict[str, Any]] = []
    for name in asked.models or list(runs.embedded()):
        family = name.partition("-")[0]
        opened = opening.model(name)
        if family not in sources or not isinstance(opened.model, Scores | Encodes):
            continue
        against, other = next((key, source) for key, source in sources.items() if key != family)
        normal = opening.images(sources[family], opened.data, split="validation", limit=asked.limit)
        sets = [
            opening.images(source, opened.data, split=asked.split, limit=asked.limit)
            for source in (sources[family], other)
        ]
        if asked.split == "validation":  # half of it for the fit, half to be separated
            normal, sets[0] = (replace(normal, pixels=normal.pixels[half::2], labels=None) for half in (0, 1))
        for score in asked.scores:
            try:
                detector = anomaly.fit(opened.model, normal, score=score, false_alarms=asked.false_alarms, name=name)
            except CapabilityError:
                continue
            found = anomaly.separation(detector, *sets, progress=progress_to_stderr(f"{name}, {score}"))
            figures = found.record()
            rows.append({
                "model": name,
                "against": against,
                "score": score + (" (default)" if score == "joint" else ""),
                "background": detector.background_name,
                "auroc": figures["auroc"],
                "standard_error": figures["standard_error"],
                "false_alarms": figures["false_alarms"],
                "detected": figures["detected"],
            })  # fmt: skip
    protocol = {"split": asked.split, "false_alarms_asked": asked.false_alarms, "limit": asked.limit, "samples": 1}
    protocol |= {"normal": "validation images for threshold and fit", "dtype": str(torch.get_default_dtype())}
    finish("anomaly" if asked.split == "test" else "anomaly_validation", protocol, rows)


if __name__ == "__main__":
    main()
