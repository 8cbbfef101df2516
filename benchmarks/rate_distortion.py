"""How small do photographs get? The photo codec beside the classical ones, by the bytes of real files.

    python benchmarks/rate_distortion.py kodak/
    python benchmarks/rate_distortion.py kodak/ --efforts 0             without the search, which takes hours on a CPU
    python benchmarks/rate_distortion.py photos/ --limit 2 --points 4 --efforts 0 --peers jpeg avif     to try it

Every picture is coded by every codec at every setting, written and read back. Of a codec and setting the means over
pictures of bits a pixel (the whole file), of PSNR and of MS-SSIM (both over red, green and blue) are a point. BD-rate
is over 27 to 39 dB, or as much of it as two curves have in common: PCHIP of the logarithm of the rate over PSNR. JPEG
has optimised Huffman tables; of its BD-rates with colour in half and in full resolution the one that is worse for a
codec is `bd_rate jpeg`. Speed is of this run and these threads, a call each; codec_speed.py measures it with care.

The curves in published_kodak.json are quoted beside: others measured them, and only on Kodak do they mean anything.
--keep FILE has a line for each file that was measured, and an interrupted run goes on from there.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import photo_codecs
import torch
from photo_codecs import Levels
from show import RESULTS, Kept, finish, progress_to_stderr, table

from imprior import runs
from imprior.coding.classical import Codec
from imprior.data.images import to_batch
from imprior.errors import DataError
from imprior.metrics.bd_rate import RANGE_DB, Curve, bd_rate
from imprior.metrics.ms_ssim import ms_ssim
from imprior.report import figures

PEERS = ("jpeg", "jpeg-444", "jpeg2000", "webp", "avif", "avif-slow", "jxl")
PUBLISHED = Path(__file__).parent / "published_kodak.json"
DRAWN = {  # quoted curves in the plot, and what they are called there
    "VTM 18 (VVC)": "VTM 18, published",
    "AV1, libaom at its slowest, 4:4:4": "AV1, published",
    "mean-scale hyperprior": "mean-scale, published",
    "factorized prior": "factorized, published",
}
NEAR_DB = 34.0  # where rates are compared in the table
SHOWN_DB = (26.0, 40.0)  # in the plot

Point = dict[str, Any]


def measure(codec: Codec, picture: Levels, quality: Any) -> Point:
    """One file: its size, what comes back, and seconds."""
    started = time.perf_counter()
    data = codec.encode(picture, quality)
    middle = time.perf_counter()
    found = codec.decode(data, 3)
    ended = time.perf_counter()
    return {
        "bits_per_pixel": 8 * len(data) / (picture.size // 3),
        "psnr_db": photo_codecs.db(picture, found),
        "ms_ssim": float(ms_ssim(to_batch(picture), to_batch(found))),
        "encode_seconds": middle - started,
        "decode_seconds": ended - middle,
    }


def points(
    found: list[Levels], codecs: Sequence[Codec], kept: Kept[Point], fingerprint: str, weights: str
) -> list[Point]:
    """A point for each codec and setting: means over the pictures."""
    tell = progress_to_stderr("files")
    done, total = 0, len(found) * sum(len(codec.qualities) for codec in codecs)
    measured: dict[tuple[str, Any], list[Point]] = {}
    for number, picture in enumerate(found):
        for codec in codecs:
            own = weights if codec.name.startswith("imprior") else ""
            for quality in codec.qualities:
                names = (fingerprint, number, codec.name, own, codec.label(quality, 3))
                point = kept.of(partial(measure, codec, picture, quality), *names)
                measured.setdefault((codec.name, quality), []).append(point)
                tell(done := done + 1, total)
    megapixels = [picture.size / 3e6 for picture in found]
    return [
        {"codec": name, "quality": quality}
        | {key: float(np.mean([p[key] for p in of])) for key in ("bits_per_pixel", "psnr_db", "ms_ssim")}
        | {
            f"{way}_megapixels_per_second": sum(megapixels) / sum(p[f"{way}_seconds"] for p in of)
            for way in ("encode", "decode")
        }
        for (name, quality), of in measured.items()
    ]


def curve(of: Sequence[Point]) -> Curve | None:
    """The curve of a codec's points; None where they are too few."""
    try:
        return Curve([p["bits_per_pixel"] for p in of], [p["psnr_db"] for p in of])
    except DataError as error:
        print(f"{of[0]['codec']}: {error}", file=sys.stderr)
        return None


def percent(anchor: Curve | None, other: Curve | None) -> float | None:
    """BD-rate; None where there is none."""
    try:
        return None if anchor is None or other is None else bd_rate(anchor, other).percent
    except DataError:
        return None


def summary(name: str, of: Sequence[Point], curves: dict[str, Curve | None]) -> dict[str, Any]:
    """A codec's row."""
    own = curves[name]
    jpegs = [percent(curves.get(jpeg), own) for jpeg in ("jpeg", "jpeg-444")]
    order = sorted(of, key=lambda p: p["psnr_db"])
    heights = [p["psnr_db"] for p in order]
    reached = heights[0] <= NEAR_DB <= heights[-1]
    row = {"codec": name, "settings": len(of)}
    row |= {"bd_rate jpeg": None if None in jpegs else max(j for j in jpegs if j is not None)}
    row |= {"bd_rate jpeg 4:2:0": jpegs[0], "bd_rate jpeg 4:4:4": jpegs[1]}
    row |= {f"bd_rate {anchor}": percent(curves.get(anchor), own) for anchor in ("avif", "imprior")}
    row |= {"range_db": None if own is None else f"{_low(heights):.1f} to {_high(heights):.1f}"}
    row |= {f"bits_per_pixel at {NEAR_DB:g} dB": None if own is None else own.bits_at(NEAR_DB)}
    quality = float(np.interp(NEAR_DB, heights, [p["ms_ssim"] for p in order])) if reached else None
    row |= {f"ms_ssim at {NEAR_DB:g} dB": quality}
    for way in ("encode", "decode"):  # as many files of each setting: the mean time, not the mean speed
        row[f"{way}_megapixels_per_second"] = 1 / float(np.mean([1 / p[f"{way}_megapixels_per_second"] for p in of]))
    return row


def quoted(curves: dict[str, Curve | None]) -> list[dict[str, Any]]:
    """Rows of the published curves: BD-rate against the published JPEG, and against those measured here."""
    found = json.loads(PUBLISHED.read_text())["curves"]
    published = {one["name"]: Curve(one["bits_per_pixel"], one["psnr_db"]) for one in found}
    jpeg = next(iter(published.values()))
    rows = []
    for one in found:
        own = published[one["name"]]
        here = [percent(curves.get(name), own) for name in ("jpeg", "jpeg-444")]
        rows.append({
            "published curve": one["name"],
            "bd_rate published jpeg": percent(jpeg, own),
            "bd_rate jpeg": None if None in here else max(h for h in here if h is not None),
            "range_db": f"{_low(own.psnr_db):.1f} to {_high(own.psnr_db):.1f}",
            "source": f"[{one['source'].rsplit('/', 1)[1]}]({one['source']})",
        })  # fmt: skip
    return rows


def _low(heights: Sequence[float]) -> float:
    return max(RANGE_DB[0], min(heights))


def _high(heights: Sequence[float]) -> float:
    return min(RANGE_DB[1], max(heights))


def draw(of: dict[str, list[Point]], path: Path, title: str) -> None:
    """PSNR over bits a pixel, ours first, with some of the published curves."""

    def shown(name: str, pairs: Sequence[tuple[float, float]], quoted: bool = False) -> figures.RatePoints:
        inside = [(bits, psnr) for bits, psnr in pairs if SHOWN_DB[0] <= psnr <= SHOWN_DB[1]]
        return figures.RatePoints(name, [bits for bits, _ in inside], [psnr for _, psnr in inside], quoted)

    lines = [shown(name, [(p["bits_per_pixel"], p["psnr_db"]) for p in each]) for name, each in of.items()]
    for one in json.loads(PUBLISHED.read_text())["curves"]:
        if one["name"] in DRAWN:
            pairs = list(zip(one["bits_per_pixel"], one["psnr_db"], strict=True))
            lines.append(shown(DRAWN[one["name"]], pairs, True))
    runs.write_bytes(path, figures.rate_distortion([line for line in lines if line.psnr_db], title=title))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", metavar="SRC", help="folder or archive of pictures: the 24 of Kodak")
    parser.add_argument("--model", default=photo_codecs.OURS, help="embedded name or run folder [photo-codec]")
    parser.add_argument("--efforts", nargs="+", type=int, default=[0, 3], help="of the photo codec [0 3]")
    parser.add_argument("--search-points", type=int, default=7, help="settings where effort is above 0 [7]")
    parser.add_argument("--peers", nargs="*", default=list(PEERS), choices=PEERS, help="codecs beside it [all]")
    parser.add_argument("--points", type=int, help="at most so many settings of each codec")
    parser.add_argument("--limit", type=int, help="only the first so many pictures")
    parser.add_argument("--threads", type=int, default=1, help="of the networks; the others have one [1]")
    parser.add_argument("--device", default="cpu", help="where the networks run [cpu]")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="measurements, to go on from (.jsonl)")
    parser.add_argument("--name", default="rate_distortion", help="of the results [rate_distortion]")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(asked.threads)

    model = photo_codecs.opened(asked.model, asked.device)
    found, fingerprint = photo_codecs.pictures(asked.source, asked.limit)
    fewer = photo_codecs.thinned(photo_codecs.SETTINGS["imprior"], asked.search_points)
    codecs = [
        photo_codecs.ours(model, effort, fewer) if effort else photo_codecs.ours(model) for effort in asked.efforts
    ]
    codecs += photo_codecs.peers(*asked.peers)
    codecs = [replace(codec, qualities=photo_codecs.thinned(codec.qualities, asked.points)) for codec in codecs]
    for codec in codecs:  # what is loaded with the first call is no part of its time
        if codec.name == "imprior" or not codec.name.startswith("imprior"):
            codec.decode(codec.encode(found[0][:64, :64], codec.qualities[0]), 3)

    weights = photo_codecs.hash_of(model)
    kept = Kept[Point](asked.keep, photo_codecs.libraries())
    every = points(found, codecs, kept, fingerprint, weights)
    of = {codec.name: [p for p in every if p["codec"] == codec.name] for codec in codecs}
    curves = {name: curve(each) for name, each in of.items()}
    print(table(every), end="\n\n")
    published = quoted(curves)
    print(table(published), end="\n\n")
    draw(of, RESULTS / f"{asked.name}.png", f"A file for each picture, means over {len(found)}")
    protocol = {
        "pictures": len(found),
        "fingerprint": fingerprint,
        "model": weights,
        "psnr": "red, green and blue; mean over pictures",
        "bd_rate": f"percent, {RANGE_DB[0]:g} to {RANGE_DB[1]:g} dB, PCHIP of the logarithm of the rate",
        "device": asked.device,
        "versions": photo_codecs.libraries(),
    }
    rows = [summary(name, each, curves) for name, each in of.items()]
    finish(asked.name, protocol, rows, points=every, published={"rows": published})


if __name__ == "__main__":
    main()
