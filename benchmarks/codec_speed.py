"""Megapixels a second: the photo codec beside JPEG and Pillow's AVIF, arrays to bytes and back, warm, in one run.

    python benchmarks/codec_speed.py
    python benchmarks/codec_speed.py --pictures kodak/ --threads 2

Pictures of 768 x 512 pixels (embedded photographs, mirrored until they are large enough, unless others are named). Each
codec runs at the setting whose PSNR is nearest to 34 dB over all of them, with so many threads; the fastest of several
turns through all pictures counts, since everything else that runs on the machine only adds. Then one frame of 640 x 480
with one thread, in milliseconds; and the decoder in plain NumPy (tests/numpy_decoder.py, written from docs/format.md:
container, entropy coder, integers and pixels), in a process that never imports torch.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import photo_codecs
import torch
from denoise_speed import fastest, mirrored
from photo_codecs import Levels
from show import finish, table

from imprior import runs
from imprior.coding.classical import Codec
from imprior.promises import CodesTiles
from imprior.tasks import photo_file

TARGET_DB = 34.0
SIZE = (512, 768)
FRAME = (480, 640)
PLAIN = Path(__file__).parents[1] / "tests" / "numpy_decoder.py"

# A file decoded by the plain decoder; torch must not come along.
CHILD = """
import json, sys, time
sys.path.insert(0, sys.argv[1])
started = time.perf_counter()
import numpy as np
import numpy_decoder
with np.load(sys.argv[2]) as found:
    weights = dict(found)
data = open(sys.argv[3], "rb").read()
loaded = time.perf_counter()
picture = numpy_decoder.decode(data, weights)
ended = time.perf_counter()
np.save(sys.argv[4], picture)
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
assert "torch" not in sys.modules
print(json.dumps([loaded - started, ended - loaded, int(peak.split()[1]) / 2**20]))
"""


@dataclass(frozen=True)
class Method:
    """A codec at one setting."""

    name: str
    setting: str
    write: Callable[[Levels], bytes]
    read: Callable[[bytes], Levels]


def at_target(codec: Codec, found: Sequence[Levels]) -> Method:
    """The codec at the setting whose mean PSNR is nearest to the target; PSNR grows with the setting."""

    def db(place: int) -> float:
        quality = codec.qualities[place]
        return float(np.mean([photo_codecs.db(x, codec.decode(codec.encode(x, quality), 3)) for x in found]))

    known: dict[int, float] = {}
    low, high = 0, len(codec.qualities) - 1
    while low <= high:
        middle = (low + high) // 2
        known[middle] = db(middle)
        low, high = (middle + 1, high) if known[middle] < TARGET_DB else (low, middle - 1)
    best = codec.qualities[min(known, key=lambda place: abs(known[place] - TARGET_DB))]
    return Method(codec.name, codec.label(best, 3), lambda x: codec.encode(x, best), lambda data: codec.decode(data, 3))


def row(method: Method, found: Sequence[Levels], turns: int) -> dict[str, Any]:
    """Megapixels a second both ways, and what was coded."""
    written, files = fastest(lambda: [method.write(x) for x in found], turns)
    read, back = fastest(lambda: [method.read(data) for data in files], turns)
    pixels = sum(x.size // 3 for x in found)
    return {
        "codec": method.name,
        "setting": method.setting,
        "encode_megapixels_per_second": pixels / 1e6 / written,
        "decode_megapixels_per_second": pixels / 1e6 / read,
        "bits_per_pixel": 8 * sum(map(len, files)) / pixels,
        "db": float(np.mean([photo_codecs.db(a, b) for a, b in zip(found, back, strict=True)])),
    }


def frame(method: Method, picture: Levels, turns: int) -> dict[str, Any]:
    """Milliseconds of one picture both ways."""
    written, data = fastest(lambda: method.write(picture), turns)
    read, _ = fastest(lambda: method.read(data), turns)
    return {"codec": method.name, "setting": method.setting, "encode_ms": 1000 * written, "decode_ms": 1000 * read}


def without_torch(model: CodesTiles, picture: Levels) -> dict[str, Any]:
    """Size and time of the plain decoder; the pixels must be ours."""
    data = photo_file.encode(model, picture, photo_file.Target(50)).data
    weights = {name: tensor.cpu().numpy() for name, tensor in model.decoder.state_dict().items()}
    with tempfile.TemporaryDirectory() as folder:
        arrays, file, out = Path(folder) / "weights.npz", Path(folder) / "photo.imp", Path(folder) / "photo.npy"
        np.savez_compressed(arrays, **weights)
        file.write_bytes(data)
        command = [sys.executable, "-c", CHILD, *map(str, (PLAIN.parent, arrays, file, out))]
        ended = subprocess.run(command, capture_output=True, text=True)
        if ended.returncode:
            raise SystemExit(f"the plain decoder failed: {ended.stderr}")
        load, seconds, peak = json.loads(ended.stdout)
        same = np.array_equal(np.load(out), photo_file.decode(model, data).picture)
        assert same, "the plain decoder gives other pixels"
        height, width = picture.shape[:2]
        return {
            "picture": f"{width} x {height}",
            "decoder_lines": len(PLAIN.read_text().splitlines()),
            "decoder_kb": PLAIN.stat().st_size / 1000,
            "weights_mb": arrays.stat().st_size / 1e6,
            "load_seconds": load,
            "decode_seconds": seconds,
            "megapixels_per_second": height * width / 1e6 / seconds,
            "peak_gib": peak,
        }


def embedded(size: tuple[int, int]) -> list[Levels]:
    """The embedded photographs, mirrored and cut."""
    folder = runs.EMBEDDED / "data" / "photos"
    found = []
    for path in sorted(p for p in folder.iterdir() if p.suffix in (".webp", ".jpg")):
        (picture,), _ = photo_codecs.pictures(str(path))
        found.append(np.ascontiguousarray(mirrored(picture, max(size))[: size[0], : size[1]]))
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=photo_codecs.OURS, help="embedded name or run folder [photo-codec]")
    parser.add_argument("--pictures", metavar="SRC", help="folder or archive of pictures [embedded photographs]")
    parser.add_argument("--limit", type=int, help="only the first so many pictures")
    parser.add_argument("--threads", type=int, default=2, help="of the networks and of AVIF [2]")
    parser.add_argument("--turns", type=int, default=5, help="through all pictures [5]")
    parser.add_argument("--plain-side", type=int, default=256, help="of what the plain decoder decodes, 0: none [256]")
    asked = parser.parse_args(arguments)
    model = photo_codecs.opened(asked.model)
    named = photo_codecs.pictures(asked.pictures, asked.limit)[0] if asked.pictures else embedded(SIZE)[: asked.limit]

    torch.set_num_threads(asked.threads)
    codecs = [photo_codecs.ours(model), photo_codecs.avif(asked.threads), *photo_codecs.peers("jpeg")]
    rows = [row(at_target(codec, named), named, asked.turns) for codec in codecs]
    print(table(rows), end="\n\n")

    torch.set_num_threads(1)
    still = np.ascontiguousarray(mirrored(named[0], max(FRAME))[: FRAME[0], : FRAME[1]])
    codecs = [photo_codecs.ours(model), photo_codecs.avif(1), *photo_codecs.peers("jpeg")]
    frames = [frame(at_target(codec, [still]), still, asked.turns) for codec in codecs]
    print(table(frames), end="\n\n")
    plain = [without_torch(model, still[: asked.plain_side, : asked.plain_side])] if asked.plain_side else []
    print(table(plain), end="\n\n")
    protocol = {
        "pictures": len(named),
        "megapixels": sum(x.size // 3 for x in named) / 1e6,
        "turns": asked.turns,
        "threads_of_codecs": asked.threads,
        "frame": f"{FRAME[1]} x {FRAME[0]}, one thread",
        "model": photo_codecs.hash_of(model),
        "versions": photo_codecs.libraries(),
    }
    torch.set_num_threads(asked.threads)
    finish("codec_speed", protocol, rows, frame=frames, without_torch=plain)


if __name__ == "__main__":
    main()
