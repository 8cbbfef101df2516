"""Peak memory and time of `imprior denoise` on a very large picture.

    python benchmarks/denoise_memory.py                     100 megapixels as PNG and as TIFF
    python benchmarks/denoise_memory.py --side 2000 --suffixes .png

A picture is made (an embedded photograph, mirrored and tiled, with noise), then cleaned by the command in a process of
its own, which tells the peak of its resident memory as it ends (VmHWM of /proc, Linux). sigma is given, then estimated.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from commands import measured
from PIL import Image
from show import finish

from imprior import runs
from imprior.data.images import read_picture
from imprior.data.writing import write_picture


def make(path: Path, side: int, sigma: float) -> None:
    """A noisy colour picture of side x side pixels."""
    picture = read_picture(runs.EMBEDDED / "data" / "photos" / "coffee.webp")[..., :3]
    twice = np.concatenate([picture, picture[::-1]])
    four = np.concatenate([twice, twice[:, ::-1]], axis=1)
    rng, rows = np.random.default_rng(0), []
    for top in range(0, side, len(four)):
        part = np.tile(four, (1, -(-side // four.shape[1]), 1))[: side - top, :side]
        noise = sigma * rng.standard_normal(part.shape, np.float32)
        rows.append(np.rint(np.clip(part + noise, 0, 255)).astype(np.uint8))
    Image.MAX_IMAGE_PIXELS = None
    write_picture(path, np.concatenate(rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=10_000, help="of the picture, pixels [10000]")
    parser.add_argument("--suffixes", nargs="+", default=[".png", ".tif"], help="formats [.png .tif]")
    parser.add_argument("--model", default="photo-denoiser", help="embedded name or run folder")
    parser.add_argument("--sigma", type=float, default=25.0, help="of the noise, 8-bit scale [25]")
    asked = parser.parse_args()
    rows = []
    for suffix in asked.suffixes:
        with tempfile.TemporaryDirectory() as folder:
            source, out = Path(folder) / f"noisy{suffix}", Path(folder) / f"clean{suffix}"
            make(source, asked.side, asked.sigma)
            for told, options in ((True, ("--sigma", f"{asked.sigma:g}")), (False, ())):
                peak, seconds = measured("denoise", str(source), "-o", str(out), "--model", asked.model, *options)
                out.unlink()
                megapixels = asked.side**2 / 1e6
                rows.append({
                    "format": suffix,
                    "sigma": "told" if told else "estimated",
                    "megapixels": megapixels,
                    "peak_gib": peak,
                    "seconds": seconds,
                    "megapixels_per_second": megapixels / seconds,
                })  # fmt: skip
    finish("denoise_memory", {"model": asked.model, "picture": "8-bit colour"}, rows)


if __name__ == "__main__":
    main()
