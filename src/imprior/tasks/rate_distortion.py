"""Rate and distortion: how many bytes a codec really writes, and how much of the picture comes back.

Every point is made of finished files that were read back: learned codecs by `coding.container` (tables belong to the
model and are not counted, headers and checksums are), classical ones by their libraries. Two modes:

* "image": each image is a file of its own; small images then cost mostly headers, whatever the codec;
* "set": all images are one file: one stream of a learned codec, one mosaic picture of a classical one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from imprior.bounds import check_levels
from imprior.coding.classical import Codec, Picture, Quality, codec
from imprior.coding.container import compress, decompress, weights_hash
from imprior.data.batches import Images, as_float
from imprior.errors import DataError
from imprior.metrics.psnr import psnr_db
from imprior.promises import Codes, require
from imprior.tasks.protocol import evaluating

Mode = Literal["image", "set"]
MODES: tuple[Mode, ...] = ("image", "set")


@dataclass(frozen=True)
class Point:
    """One codec at one setting.

    Attributes:
        codec: the model's or codec's name.
        setting: "rate 3", "quality 50", "lossless".
        mode: one file for each image, or one for the whole set.
        learned: whether the codec is a model.
        lossless: whether every image comes back equal, by construction; it has been checked on these.
        bits_per_pixel: 8 x bytes of all files / (images x height x width): all channels of a pixel together.
        psnr_db: mean over the images; infinite if lossless.
        encode_seconds: for one image on average, networks included.
        decode_seconds: as well.
    """

    codec: str
    setting: str
    mode: Mode
    learned: bool
    lossless: bool
    bits_per_pixel: float
    psnr_db: float
    encode_seconds: float
    decode_seconds: float

    def record(self) -> dict[str, Any]:
        """As JSON values; `psnr_db` is null if lossless."""
        return asdict(self) | {"psnr_db": None if self.lossless else self.psnr_db}


@dataclass(frozen=True)
class RateDistortion:
    """All points, and what they were measured on.

    Attributes:
        points: by mode, then codec, then setting (worst picture first).
        images: how many.
        shape: (channels, height, width) of each; height and width None where they differ.
        data: fingerprint of the images, or "".
    """

    points: tuple[Point, ...]
    images: int
    shape: tuple[int, int | None, int | None]
    data: str

    def curve(self, codec: str, mode: Mode) -> tuple[Point, ...]:
        """The points of one codec in one mode, its lossless one left out."""
        return tuple(p for p in self.points if (p.codec, p.mode, p.lossless) == (codec, mode, False))

    def record(self) -> dict[str, Any]:
        """As JSON values."""
        protocol = {"images": self.images, "shape": list(self.shape), "data": self.data}
        return {"protocol": protocol, "points": [point.record() for point in self.points]}

    def markdown(self) -> str:
        """A table with a line for each codec and setting, and the rates of both modes side by side."""
        found = {(p.codec, p.setting, p.mode): p for p in self.points}
        modes = [mode for mode in MODES if any(p.mode == mode for p in self.points)]
        heads = "".join(f" bits/pixel, one file {'an image' if m == 'image' else 'for all'} | PSNR dB |" for m in modes)
        lines = [f"| codec | setting |{heads}", "| --- | --- |" + " ---: | ---: |" * len(modes)]
        for name, setting in dict.fromkeys((p.codec, p.setting) for p in self.points):
            points = [found.get((name, setting, mode)) for mode in modes]
            cells = [_cells(point) for point in points]
            lines.append(f"| {name} | {setting} |{''.join(cells)}")
        return "\n".join(lines)


def run(
    models: Mapping[str, object],
    images: Images | Tensor,
    *,
    codecs: Sequence[str | Codec] = (),
    modes: Sequence[Mode] | None = None,
    limit: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> RateDistortion:
    """Compress and restore images with every codec at every setting.

    Args:
        models: by name; each keeps `Codes` and is for images of this shape.
        images: 8 bits a channel, of one size unless each is a file of its own; or float32 [N, C, H, W] in [0, 1] of
            whole 8-bit levels.
        codecs: names of classical codecs (`coding.classical.CODECS`), or codecs.
        modes: which of "image" and "set"; None takes both where images are of one size, else "image".
        limit: take the first so many images only.
        progress: told (points done, points in all) after each point.

    Raises:
        CapabilityError: a model does not keep `Codes`, or its tables are not fitted.
        DataError: no images, of different sizes in one file, of another shape than a model's, not of 8 bits; an
            unknown codec.
        MissingExtraError: a codec's library is not installed.
    """
    given = images.pixels if isinstance(images, Images) else images
    x = [as_float(given[i : i + 1] if isinstance(given, Tensor) else given[i][None]).cpu() for i in range(len(given))]
    x = x[:limit]
    if len(x) == 0:
        raise DataError("no images to compress")
    for image in x:
        check_levels(image, 256)
    same = len({image.shape for image in x}) == 1
    if modes is None:
        modes = MODES if same else ("image",)
    if "set" in modes and not same:
        raise DataError("images of different sizes don't go into one file: a file for each (--mode image) does")
    wanted = [codec(one) if isinstance(one, str) else one for one in codecs]
    _, channels, height, width = x[0].shape
    if wanted and channels not in (1, 3):
        raise DataError(f"classical codecs want 1 or 3 channels, these images have {channels}")
    learned = {name: require(model, Codes, name=name) for name, model in models.items()}  # type: ignore[type-abstract]
    for name, model in learned.items():
        for shape in {image.shape[1:] for image in x}:
            if any(mine not in (None, theirs) for mine, theirs in zip(model.shape, shape, strict=True)):
                raise DataError(f"the images are {tuple(shape)}, but {name} is for {model.shape} (channels first)")
    total = len(modes) * (sum(m.rates for m in learned.values()) + sum(len(c.qualities) for c in wanted))
    points: list[Point] = []

    def add(point: Point) -> None:
        points.append(point)
        if progress is not None:
            progress(len(points), total)

    for mode in modes:
        for name, model in learned.items():
            with evaluating(model) as device:
                weights = weights_hash(model)
                for rate in range(model.rates):
                    add(_learned(name, model, [image.to(device) for image in x], rate, mode, weights))
        for each in wanted:
            for quality in each.qualities:
                add(_classical(each, x, quality, mode))
    fingerprint = images.fingerprint if isinstance(images, Images) else ""
    size = (height, width) if same else (None, None)
    return RateDistortion(tuple(points), len(x), (channels, *size), fingerprint)


def _learned(name: str, model: Codes, x: list[Tensor], rate: int, mode: Mode, weights: bytes) -> Point:
    pieces = x if mode == "image" else [torch.cat(x)]
    start = time.perf_counter()
    files = [compress(model, piece, rate, weights=weights) for piece in pieces]
    middle = time.perf_counter()
    decoded = [decompress(model, file, weights=weights) for file in files]
    times = ((middle - start) / len(x), (time.perf_counter() - middle) / len(x))
    back = decoded if mode == "image" else list(torch.split(decoded[0], 1))
    psnr = _psnr(x, back, name if model.lossless else None)
    return Point(name, f"rate {rate}", mode, True, model.lossless, _bits_per_pixel(x, files), psnr, *times)


def _classical(codec: Codec, x: list[Tensor], quality: Quality, mode: Mode) -> Point:
    channels = x[0].shape[1]
    pictures = [_picture(image[0]) for image in x] if mode == "image" else [_picture(mosaic(torch.cat(x)))]
    start = time.perf_counter()
    files = [codec.encode(picture, quality) for picture in pictures]
    middle = time.perf_counter()
    decoded = [codec.decode(file, channels) for file in files]
    times = ((middle - start) / len(x), (time.perf_counter() - middle) / len(x))
    back = [_image(picture)[None] for picture in decoded]
    if mode == "set":
        back = list(torch.split(cut(back[0][0], torch.cat(x).shape), 1))
    lossless = codec.lossless(quality, channels)
    psnr = _psnr(x, back, codec.name if lossless else None)
    label = codec.label(quality, channels)
    return Point(codec.name, label, mode, False, lossless, _bits_per_pixel(x, files), psnr, *times)


def _bits_per_pixel(x: list[Tensor], files: Sequence[bytes]) -> float:
    return 8 * sum(map(len, files)) / sum(image.shape[2] * image.shape[3] for image in x)


def _psnr(x: list[Tensor], back: list[Tensor], lossless: str | None) -> float:
    """Mean PSNR; `lossless` is the name of a codec that must give every level back."""
    if lossless is not None:
        same = (torch.equal((255 * a).round(), (255 * b).round()) for a, b in zip(x, back, strict=True))
        assert all(same), f"{lossless} is said to be lossless and is not"
        return math.inf
    # An image that happens to come back equal counts as if one level of one pixel were off by one: else a single
    # blank image would make the mean infinite.
    found = [
        min(float(psnr_db(a, b.to(a.device))), 10 * math.log10(255**2 * a.numel()))
        for a, b in zip(x, back, strict=True)
    ]
    return sum(found) / len(found)


def mosaic(x: Tensor) -> Tensor:
    """All images [N, C, H, W] as one [C, rows·H, columns·W], nearly square; places left over are black."""
    n, channels, height, width = x.shape
    columns = math.ceil(math.sqrt(n * height / width))
    rows = math.ceil(n / columns)
    full = torch.cat([x, x.new_zeros(rows * columns - n, channels, height, width)])
    grid = full.view(rows, columns, channels, height, width).permute(2, 0, 3, 1, 4)  # [C,rows,H,columns,W]
    return grid.reshape(channels, rows * height, columns * width)


def cut(picture: Tensor, shape: Sequence[int]) -> Tensor:
    """The images of `shape` [N, C, H, W] out of their mosaic."""
    n, channels, height, width = shape
    rows, columns = picture.shape[1] // height, picture.shape[2] // width
    grid = picture.view(channels, rows, height, columns, width).permute(1, 3, 0, 2, 4)
    return grid.reshape(rows * columns, channels, height, width)[:n]


def _picture(image: Tensor) -> Picture:
    """[C, H, W] in [0, 1] -> 8-bit [H, W] or [H, W, 3]."""
    levels = (255 * image).round().to(torch.uint8).numpy()
    return levels[0] if len(levels) == 1 else np.ascontiguousarray(levels.transpose(1, 2, 0))


def _image(picture: Picture) -> Tensor:
    """8-bit [H, W] or [H, W, 3] -> [C, H, W] in [0, 1]."""
    levels = torch.from_numpy(picture.astype(np.float32)) / 255
    return levels[None] if levels.dim() == 2 else levels.permute(2, 0, 1)


def _cells(point: Point | None) -> str:
    if point is None:
        return " | |"
    return f" {point.bits_per_pixel:.3f} | {'lossless' if point.lossless else f'{point.psnr_db:.2f}'} |"
