"""Rows of images as one picture, with Pillow alone: no plotting library is needed to look at what a model does.

[N,C,H,W] rows ──► cells (enlarged by whole factors, nearest neighbour) ──► rows and columns, captions ──► Image
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import PurePath

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from imprior.errors import ImpriorError

PAPER, INK = (255, 255, 255), (40, 40, 40)
TEXT_SIZE = 15
# Small images are enlarged until a side has about so many pixels: a digit of 28 is shown at 56.
COMFORTABLE = 56


def rows(
    images: Sequence[Tensor],
    *,
    captions: Sequence[str] = (),
    columns: Sequence[str] = (),
    scale: int | None = None,
    gap: int = 2,
) -> Image.Image:
    """Draw rows of images.

    Args:
        images: a batch [n, C, H, W] in [0, 1] for each row (clipped), grey or colour; rows may differ in all of it,
            and smaller images are enlarged further, by the whole factor that fits.
        captions: a text left of each row, or none.
        columns: a text above each column, or none.
        scale: whole factor by which the largest is enlarged; None chooses one that makes small images comfortable.
        gap: white pixels between images.

    Returns:
        An RGB picture; grey ("L") where all images are grey.

    Example:
        >>> rows([torch.rand(5, 1, 28, 28), torch.rand(3, 1, 28, 28)]).size
        (292, 118)
    """
    assert images and all(len(row) for row in images), "a grid wants at least one image in each row"
    assert len(captions) in (0, len(images)), f"{len(captions)} captions for {len(images)} rows"
    colour = any(row.shape[1] == 3 for row in images)
    height, width = (max(row.shape[axis] for row in images) for axis in (2, 3))
    factor = scale or max(1, round(COMFORTABLE / max(height, width)))
    cell_h, cell_w = height * factor + gap, width * factor + gap
    across = max(len(row) for row in images)
    left = _text_width(captions) + 14 if any(captions) else 0
    top = TEXT_SIZE + 8 if any(columns) else 0
    if any(columns):
        cell_w = max(cell_w, _text_width(columns) + 8)
    canvas = Image.new("RGB", (left + across * cell_w + gap, top + len(images) * cell_h + gap), PAPER)
    for down, row in enumerate(images):
        for right, picture in enumerate(_pictures(row, height * factor, width * factor)):
            x = left + gap + right * cell_w + (cell_w - gap - picture.width) // 2
            y = top + gap + down * cell_h + (cell_h - gap - picture.height) // 2
            canvas.paste(picture, (x, y))
    pen = ImageDraw.Draw(canvas)
    for down, text in enumerate(captions):
        y = top + gap + down * cell_h + (cell_h - gap) // 2
        pen.multiline_text((left - 8, y), text, fill=INK, font=_font(), anchor="rm", align="right")
    for right, text in enumerate(columns):
        pen.text(
            (left + gap + right * cell_w + (cell_w - gap) // 2, top - 4), text, fill=INK, font=_font(), anchor="ms"
        )
    return canvas if colour else canvas.convert("L")


def wrapped(images: Tensor, *, columns: int | None = None, scale: int | None = None, gap: int = 2) -> Image.Image:
    """Draw one batch [N, C, H, W] as a block with `columns` images a row; None makes it about square.

    >>> wrapped(torch.rand(10, 3, 8, 8), scale=1, gap=0).size
    (32, 24)
    """
    across = columns or int(np.ceil(np.sqrt(len(images))))
    return rows(list(torch.split(images, across)), scale=scale, gap=gap)


def picture(image: Tensor) -> Image.Image:
    """One image [C, H, W] in [0, 1] (clipped, rounded to the nearest of 256 levels) for Pillow.

    >>> picture(torch.full((1, 1, 1), 0.5)).getpixel((0, 0))
    128
    """
    assert not bool(torch.isnan(image).any()), "an image with NaN can't be shown"
    levels = (image.detach().float().cpu().clamp(0, 1) * 255).round().to(torch.uint8)
    return Image.fromarray(levels[0].numpy() if len(levels) == 1 else levels.permute(1, 2, 0).contiguous().numpy())


def encoded(drawn: Image.Image, name: str | PurePath = "picture.png") -> bytes:
    """The bytes of a picture file in the format that the suffix of `name` says.

    Raises:
        ImpriorError: no such format, or none that can be written.
    """
    Image.init()
    suffix = PurePath(name).suffix.lower()
    kind = Image.registered_extensions().get(suffix)
    if kind not in Image.SAVE:
        raise ImpriorError(f"{name}: '{suffix}' is no picture format that can be written; try .png")
    file = io.BytesIO()
    drawn.save(file, kind, **({"quality": 95} if kind in ("JPEG", "WEBP", "AVIF") else {}))
    return file.getvalue()


def _pictures(row: Tensor, height: int, width: int) -> list[Image.Image]:
    factor = max(1, min(height // row.shape[2], width // row.shape[3]))
    shown = [picture(image) for image in row]
    return [p.resize((p.width * factor, p.height * factor), Image.Resampling.NEAREST) for p in shown]


def _text_width(texts: Sequence[str]) -> int:
    lines = [line for text in texts for line in text.splitlines()]
    return int(np.ceil(max((_font().getlength(line) for line in lines), default=0)))


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(TEXT_SIZE)
