"""The demonstration's sections about photographs: each a function from embedded photographs to a `Section`.

They are given as batches of one, [1, 3, H, W], by name; what is shown of each is its middle.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from imprior import face, opening, runs
from imprior.coding import classical
from imprior.data.images import from_batch
from imprior.face.compressing import CODEC
from imprior.face.pictures import COLOUR
from imprior.metrics.psnr import psnr_db
from imprior.randomness import generator
from imprior.report import grid
from imprior.report import page as parts

if TYPE_CHECKING:
    from imprior.face.pictures import Picture

SHOWN = 10  # pieces in a row
SIGMA = 25.0  # of white noise, on the 8-bit scale
PHOTONS, READING = 60.0, 0.02  # of a dark night: light at white, and noise of the electronics on the [0, 1] scale
QUALITY = 30  # of the photo codec
OTHERS = ("avif", "jpeg")
CROP = 128  # pixels of a photograph that are shown


def noisy(photographs: dict[str, Tensor]) -> parts.Section:
    """White noise, cleaned by the photo denoiser if it is embedded, and without any training."""
    ours = _embedded()
    told = f"Gaussian noise of standard deviation {SIGMA:g} on the 8-bit scale, which every method is told. "
    told += (
        f"{ours[0]} has seen other photographs, and learned what theirs have in common; the others learned nothing."
        if ours
        else "These three methods learned nothing; they are what a learned denoiser has to beat."
    )
    pictures = {
        title: face.corrupt(from_batch(_middle(photograph), np.float32), "gaussian", SIGMA)
        for title, photograph in photographs.items()
    }
    command = f"imprior denoise photographs/ -o cleaned/ --sigma {SIGMA:g}" + " --model non-local-means" * (not ours)
    return _cleaned("Noisy, cleaned, clean: photographs", told, photographs, pictures, SIGMA, command)


def taken_at_night(photographs: dict[str, Tensor]) -> parts.Section | None:
    """Noise as of a camera's sensor in little light, its level to be found out; None without the photo denoiser."""
    if not _embedded():
        return None
    told = (
        "What these would look like, taken in little light. The photographs are real, the noise is made: photons that "
        f"arrive at random, {PHOTONS:g} of them at white, and white noise of the electronics (Poisson-Gaussian noise), "
        "cut to 8 bits. It is stronger where it is bright, and no method is told how strong."
    )
    rng = generator(0, "demo night")
    pictures = {}
    for title, photograph in photographs.items():
        counted = torch.poisson(PHOTONS * _middle(photograph), generator=rng) / PHOTONS
        y = counted + READING * torch.randn(counted.shape, generator=rng)
        pictures[title] = from_batch(y.clamp(0, 1).mul(255).round() / 255, np.float32)
    command = "imprior denoise photographs/ -o cleaned/"
    return _cleaned("Taken at night", told, photographs, pictures, None, command)


def in_few_bytes(photographs: dict[str, Tensor]) -> parts.Section | None:
    """The photo codec beside AVIF and JPEG at equal bytes; None without it."""
    if CODEC not in runs.embedded():
        return None
    rows: list[Tensor] = []
    table: list[list[parts.Cell]] = []
    for name, photograph in photographs.items():
        picture = from_batch(photograph)
        files = {CODEC: face.compress(picture, QUALITY)}
        shown = [face.decompress(files[CODEC])]
        for other in OTHERS:
            files[other] = _in_bytes(classical.codec(other), picture, len(files[CODEC]))
            shown.append(classical.codec(other).decode(files[other], 3))
        batches = [torch.from_numpy(np.array(one)).permute(2, 0, 1)[None] / 255 for one in shown]
        rows.append(torch.cat([_middle(batch) for batch in (photograph, *batches)]))
        figures = [(len(files[one]), float(psnr_db(photograph, x))) for one, x in zip(files, batches, strict=True)]
        table.append([name, *(value for pair in figures for value in pair)])
    columns = ["original", CODEC, *OTHERS]
    drawn = grid.rows(rows, captions=list(photographs), columns=columns, scale=1)
    told = (
        f"Each photograph at quality {QUALITY}, and as AVIF and JPEG of at most as many bytes (or as few as they can "
        "be): a codec that learned from other photographs what images look like keeps more of these."
    )
    heads = [f"{one} {unit}" for one in columns[1:] for unit in ("[bytes]", "[dB]")]
    return parts.Section(
        "Photographs in few bytes",
        [
            told,
            parts.Picture(grid.encoded(drawn, "drawn.webp"), "The middle of each photograph"),
            parts.Table(["photograph", *heads], table, "Whole files, and the PSNR of the whole photograph"),
            parts.Code(f"imprior compress photographs/ -o packed/ --quality {QUALITY}"),
        ],
    )


def _in_bytes(codec: classical.Codec, picture: classical.Picture, most: int) -> bytes:
    """The best file of at most so many bytes, by the codec's quality from 1 to 95; else its smallest."""
    low, high = 1, 95
    best = codec.encode(picture, low)
    while low < high:
        quality = (low + high + 1) // 2
        data = codec.encode(picture, quality)
        if len(data) <= most:
            low, best = quality, data
        else:
            high = quality - 1
    return best


def through_a_vae(photographs: dict[str, Tensor]) -> parts.Section | None:
    """Pieces of photographs coded, decoded, drawn; None without the VAE."""
    if "photo-vae" not in runs.embedded():
        return None
    model = face.load("photo-vae")
    side = model.shape[1]
    pieces = [_pieces(photograph, side)[:4] for photograph in photographs.values()]
    found = face.reconstruct(model, torch.cat(pieces)[:SHOWN])
    drawn = face.sample(model, len(found.x), seed=1)
    told = (
        f"What a VAE can and cannot do with natural images: pieces of {side}x{side} pixels come back blurred, at "
        f"{float(found.psnr_db.mean()):.1f} dB on average, and what it draws by itself has the colours and the light "
        "of a photograph but no things in it. A code this short holds the layout of a scene, not its texture."
    )
    rows = grid.rows([found.x, found.mean, drawn], captions=["original", "recovered", "drawn"])
    return parts.Section(
        "Photographs through a VAE", [told, parts.Picture(grid.encoded(rows), "Pieces of photographs")]
    )


def _cleaned(
    title: str,
    told: str,
    photographs: dict[str, Tensor],
    pictures: dict[str, Picture],
    sigma: float | None,
    command: str,
) -> parts.Section:
    """A section with noisy pictures [H, W, 3], what each method makes of them, and the clean ones."""
    methods = [*_embedded(), *opening.CLASSICAL]
    models = {name: face.load(name) for name in methods}
    rows: list[Tensor] = []
    table: list[list[parts.Cell]] = []
    for name, picture in pictures.items():
        clean = _middle(photographs[name])
        shown = [picture, *(face.denoise(picture, sigma, model=model) for model in models.values())]
        batches = [torch.from_numpy(one).permute(2, 0, 1)[None] for one in shown]
        rows.append(torch.cat([*batches, clean]))
        table.append([name, *(float(psnr_db(clean, batch)) for batch in batches)])
    columns = ["noisy", *methods, "clean"]
    drawn = grid.rows(rows, captions=list(pictures), columns=columns, scale=1)
    return parts.Section(
        title,
        [
            told,
            parts.Picture(grid.encoded(drawn, "drawn.webp"), "The middle of each photograph"),
            parts.Table(["photograph", *(f"{name} [dB]" for name in columns[:-1])], table, "PSNR of what is shown"),
            parts.Code(command),
        ],
    )


def _embedded() -> Sequence[str]:
    """The photo denoiser, if it comes with the package."""
    return [COLOUR] if COLOUR in runs.embedded() else []


def _middle(photograph: Tensor) -> Tensor:
    """[1, C, H, W] -> [1, C, CROP, CROP]."""
    height, width = photograph.shape[2:]
    top, left = (height - CROP) // 2, (width - CROP) // 2
    return photograph[..., top : top + CROP, left : left + CROP]


def _pieces(photograph: Tensor, side: int) -> Tensor:
    """The half-size photograph [1, C, H, W] cut into pieces that don't overlap: [n, C, side, side]."""
    small = interpolate(photograph, scale_factor=0.5, mode="area")
    cut = small.unfold(2, side, side).unfold(3, side, side)  # [1, C, h, w, side, side]
    return cut.permute(0, 2, 3, 1, 4, 5).reshape(-1, small.shape[1], side, side)
