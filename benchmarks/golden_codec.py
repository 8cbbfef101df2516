"""Make the golden files of the embedded photo codec: what it wrote once must decode to the same pixels for ever.

    python benchmarks/golden_codec.py

From the first tagged release on, weights that are replaced stay in the package under another name, and their golden
files in the tests; until then new weights make new files. Pictures are crops of an embedded photograph.
"""

import hashlib
import json

import numpy as np
from PIL import Image

from imprior import runs
from imprior.face import compressing
from imprior.tasks.photo_file import Target, encode

FOLDER = runs.EMBEDDED.parents[2] / "tests" / "golden"
CASES = {  # height, width, quality, side of a tile, grey
    "small": (64, 64, 40, 1024, False),
    "fine": (136, 200, 95, 1024, False),
    "tiles": (300, 400, 60, 256, False),
    "coarse": (200, 300, 5, 1024, False),
    "grey": (90, 70, 50, 1024, True),
}


def main() -> None:
    source = runs.EMBEDDED / "data" / "photos" / "chelsea.webp"
    with Image.open(source) as image:
        photograph = np.asarray(image.convert("RGB"))
    model = compressing.codec()
    written = {}
    FOLDER.mkdir(exist_ok=True)
    for name, (height, width, quality, side, grey) in CASES.items():
        picture = photograph[:height, :width, 0] if grey else photograph[:height, :width]
        coded = encode(model, picture, Target(quality), side=side)
        runs.write_bytes(FOLDER / f"{name}.imp", coded.data)
        pixels = compressing.decompress(coded.data)
        written[name] = {"shape": list(pixels.shape), "sha256": hashlib.sha256(pixels.tobytes()).hexdigest()}
        print(f"{name}: {len(coded.data):,} bytes")
    runs.write_text(FOLDER / "pixels.json", json.dumps(written, indent=1) + "\n")


if __name__ == "__main__":
    main()
