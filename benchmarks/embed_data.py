"""Make the embedded sets in src/imprior/embedded/data: digits (from MNIST's four files) and photos (from scikit-image).

    python benchmarks/embed_data.py MNIST_FOLDER

Digits: 600 training images and 100 test images of each class, from MNIST's training and test set, chosen by
the hash that also holds out validation images (so neither the first ones, which are easier in the test set, nor picked
by eye), in their original order, as IDX files packed with xz.
"""

import argparse
import io
import lzma
import shutil
import struct
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image

from imprior.data.arrays import read_idx
from imprior.data.prepare import mixed
from imprior.runs import EMBEDDED

PER_CLASS = {"train": 600, "t10k": 100}


def pack(path: Path, array: np.ndarray) -> int:
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    packed = lzma.compress(header + array.astype(np.uint8).tobytes(), preset=9 | lzma.PRESET_EXTREME)
    path.write_bytes(packed)
    return len(packed)


def digits(mnist: Path) -> int:
    size = 0
    for stem, count in PER_CLASS.items():
        images = read_idx(mnist / f"{stem}-images-idx3-ubyte.gz")
        labels = read_idx(mnist / f"{stem}-labels-idx1-ubyte.gz")
        order = np.argsort(mixed(len(labels)), kind="stable")
        chosen = np.sort(np.concatenate([order[labels[order] == label][:count] for label in range(10)]))
        size += pack(EMBEDDED / "data" / "digits" / f"{stem}-images-idx3-ubyte.xz", images[chosen])
        size += pack(EMBEDDED / "data" / "digits" / f"{stem}-labels-idx1-ubyte.xz", labels[chosen])
    return size


def photos() -> int:
    folder = EMBEDDED / "data" / "photos"
    for name in ("chelsea", "coffee"):
        out = io.BytesIO()
        Image.fromarray(getattr(skimage.data, name)()).save(out, "WEBP", lossless=True, quality=100, method=6)
        (folder / f"{name}.webp").write_bytes(out.getvalue())
    shutil.copyfile(Path(skimage.data.__file__).parent / "rocket.jpg", folder / "rocket.jpg")
    return sum(path.stat().st_size for path in folder.glob("*.[wj]*"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mnist", type=Path)
    print(f"digits {digits(parser.parse_args().mnist):,} bytes, photos {photos():,} bytes")
