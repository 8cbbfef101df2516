"""Peak memory and time of `imprior compress` and `imprior decompress` on very large pictures.

    python benchmarks/codec_memory.py                     9 and 100 megapixels, as PNG and as TIFF
    python benchmarks/codec_memory.py --sides 1000 2000 --suffixes .png

A picture is made (an embedded photograph, mirrored and tiled, with a little noise), coded and decoded by the commands,
each in a process of its own, which tells the peak of its resident memory as it ends (VmHWM of /proc, Linux). What a
pixel takes is the difference to the first, small picture.
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import photo_codecs
from commands import measured
from denoise_memory import make
from show import finish

NOISE = 2.0  # sigma, 8-bit scale: no tile is a copy of another one


def both_ways(side: int, suffix: str, model: Sequence[str], quality: int) -> list[dict[str, Any]]:
    """A row for each direction."""
    with tempfile.TemporaryDirectory() as folder:
        source, file, out = (Path(folder) / name for name in (f"photo{suffix}", "photo.imp", f"again{suffix}"))
        make(source, side, NOISE)
        coded = measured("compress", str(source), "-o", str(file), *model, "--quality", str(quality))
        bits = 8 * file.stat().st_size / side**2
        back = measured("decompress", str(file), "-o", str(out), *model)
        assert out.stat().st_size
    return [
        {
            "command": command,
            "format": suffix,
            "megapixels": side**2 / 1e6,
            "bits_per_pixel": bits,
            "peak_gib": peak,
            "seconds": seconds,
            "megapixels_per_second": side**2 / 1e6 / seconds,
        }
        for command, (peak, seconds) in (("compress", coded), ("decompress", back))
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="+", default=[3_000, 10_000], help="pixels [3000 10000]")
    parser.add_argument("--suffixes", nargs="+", default=[".png", ".tif"], help="formats [.png .tif]")
    parser.add_argument("--model", default=photo_codecs.OURS, help="embedded name or run folder [photo-codec]")
    parser.add_argument("--quality", type=int, default=50, help="from 0 to 100 [50]")
    asked = parser.parse_args(arguments)
    weights = photo_codecs.hash_of(photo_codecs.opened(asked.model))
    named = [] if asked.model == photo_codecs.OURS else ["--model", asked.model]
    rows: list[dict[str, Any]] = []
    for suffix in asked.suffixes:
        small: dict[str, dict[str, Any]] = {}
        for side in asked.sides:
            for row in both_ways(side, suffix, named, asked.quality):
                first = small.setdefault(row["command"], row)
                more = (row["peak_gib"] - first["peak_gib"]) * 2**30
                pixels = 1e6 * (row["megapixels"] - first["megapixels"])
                rows.append(row | {"bytes_per_pixel": more / pixels if pixels else None})
    protocol = {"model": weights, "quality": asked.quality, "picture": "8-bit colour, a file to a file"}
    finish("codec_memory", protocol, rows)


if __name__ == "__main__":
    main()
