"""How small do digits get? Autoencoder, VAE and PCA as codecs beside the classical ones, by the bytes of real files.

    python benchmarks/rate_distortion_digits.py SRC [--models mnist-ae-conv,mnist-vae,mnist-pca] [--limit 1000]

SRC is a folder of the four MNIST files (or anything with a test part); only test images are used. Prints the bits per
pixel that each codec needs for a PSNR, then every setting, and writes both to benchmarks/results/. A learned codec's
tables belong to the model and are not counted, as an implementation of JPEG is not counted either.
"""

import argparse
import json
import platform
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np

import imprior

RESULT = Path(__file__).parent / "results" / "rate_distortion_digits.json"
TARGETS_DB = (16, 18, 20, 22, 24, 26, 30)


def rate_at(points, target: float) -> float | None:
    """Bits per pixel at a PSNR, interpolated on the codec's curve; None where the curve does not reach it."""
    curve = sorted((p.psnr_db, p.bits_per_pixel) for p in points)
    if not curve or not curve[0][0] <= target <= curve[-1][0]:
        return None
    return float(np.interp(target, *zip(*curve, strict=True)))


def summary(found, mode) -> list[dict]:
    """A row for each codec: its rate at the targets, and its lossless rate."""
    rows = []
    for name in dict.fromkeys(p.codec for p in found.points):
        lossless = [p for p in found.points if (p.codec, p.mode, p.lossless) == (name, mode, True)]
        of = [p for p in found.points if (p.codec, p.mode) == (name, mode)]
        rows.append({
            "codec": name,
            "mode": mode,
            "bits_per_pixel_at_db": {str(t): rate_at(found.curve(name, mode), t) for t in TARGETS_DB},
            "lossless_bits_per_pixel": lossless[0].bits_per_pixel if lossless else None,
            "encode_ms": 1000 * float(np.mean([p.encode_seconds for p in of])),
            "decode_ms": 1000 * float(np.mean([p.decode_seconds for p in of])),
        })  # fmt: skip
    return rows


def show(rows: list[dict]) -> str:
    def cell(value: float | None) -> str:
        return f"{value:9.3f}" if value is not None else f"{'-':>9}"

    head = f"{'codec':16}" + "".join(f"{t:>6} dB" for t in TARGETS_DB) + f"{'lossless':>10}{'ms in':>9}{'ms out':>9}"
    lines = [
        f"{r['codec']:16}"
        + "".join(map(cell, [*r["bits_per_pixel_at_db"].values()]))
        + f"{cell(r['lossless_bits_per_pixel']):>10}{r['encode_ms']:9.2f}{r['decode_ms']:9.2f}"
        for r in rows
    ]
    return "\n".join([head, *lines])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", metavar="SRC")
    parser.add_argument("--models", default="mnist-ae-conv,mnist-vae,mnist-pca", help="names or run folders")
    parser.add_argument("--codecs", default="png,gif,webp,jpeg,jpeg2000,avif,jxl,huffman,lzw,rle")
    parser.add_argument("--limit", type=int, default=1000, help="the first so many test images")
    parser.add_argument("--out", type=Path, default=RESULT)
    given = parser.parse_args()
    models, codecs = ([name for name in text.split(",") if name] for text in (given.models, given.codecs))
    if "jxl" in codecs and find_spec("imagecodecs") is None:
        codecs.remove("jxl")
        print("jxl is left out: imagecodecs is not installed (pip install 'imprior[bench]')")
    found = imprior.rd_curve(given.source, models, codecs, limit=given.limit)
    rows = {mode: summary(found, mode) for mode in ("image", "set")}
    for mode, title in (("image", "a file for each image"), ("set", "one file for all images")):
        print(f"\nBits per pixel at a PSNR (mean over {found.images:,} images), {title}:\n{show(rows[mode])}")
    print(f"\nEvery setting:\n{found.markdown()}")
    packages = [
        name for name in ("torch", "numpy", "pillow", "constriction", "imagecodecs") if find_spec(import_name(name))
    ]
    record = found.record() | {
        "summary": rows["image"] + rows["set"],
        "versions": {name: version(name) for name in packages},
        "machine": f"{platform.machine()}, {platform.system()}",
    }
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n")
    print(f"\n{given.out}")


def import_name(package: str) -> str:
    return {"pillow": "PIL"}.get(package, package)


if __name__ == "__main__":
    main()
