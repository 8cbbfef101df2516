"""Pictures that no camera took, drawn by Pillow from a seed: screens, drawings, pages of text as scanners see them."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

Levels = NDArray[np.uint8]
TEXT = (
    "image prior model rate noise pixel tile level code file size light shadow paper ink river house window train "
    "every which under where about again between through open save print find first later small large fine coarse"
)
WORDS = TEXT.split()
FINER = 4  # drawings are made so many times as large and reduced, which smooths their edges


def sentence(rng: np.random.Generator, length: int) -> str:
    """Some words, at most so many letters."""
    found = ""
    while len(found) < length:
        found += str(rng.choice(WORDS)) + " "
    return found[:length].rstrip().capitalize()


def screen(seed: int, inset: Levels | None = None, size: tuple[int, int] = (768, 512)) -> Levels:
    """A window with menus, a list, lines of text and buttons, and a photograph in it if one is given: [H, W, 3]."""
    rng = np.random.default_rng(seed)
    dark = seed % 2 == 1
    paper, ink, shade = (
        ((30, 32, 38), (220, 220, 215), (48, 52, 60)) if dark else ((255,) * 3, (25,) * 3, (236, 238, 242))
    )
    image = Image.new("RGB", size, paper)
    draw, font, small = ImageDraw.Draw(image), ImageFont.load_default(14), ImageFont.load_default(11)
    width, height = size
    draw.rectangle((0, 0, width, 27), fill=(60, 96, 160))
    draw.text((10, 5), sentence(rng, 30), font=font, fill=(255, 255, 255))
    for place, colour in enumerate(((235, 90, 80), (240, 190, 70), (100, 200, 90))):
        draw.ellipse((width - 70 + 22 * place, 7, width - 57 + 22 * place, 20), fill=colour)
    draw.rectangle((0, 28, width, 49), fill=shade)
    for place, word in enumerate(rng.choice(WORDS, 6, replace=False)):
        draw.text((12 + 80 * place, 32), str(word).capitalize(), font=small, fill=ink)
    draw.rectangle((0, 50, 170, height), fill=shade)
    for row, top in enumerate(range(60, height - 20, 22)):
        if row == 3:
            draw.rectangle((4, top - 3, 166, top + 16), fill=(60, 96, 160))
        draw.rectangle((12, top + 1, 22, top + 11), fill=tuple(int(v) for v in rng.integers(60, 230, 3)))
        draw.text((30, top), sentence(rng, 18), font=small, fill=(255, 255, 255) if row == 3 else ink)
    colours = (
        ((40, 110, 60), (150, 50, 120), (40, 80, 170), ink) if not dark else ((130, 200, 140), (220, 150, 200), ink)
    )
    for top in range(62, height - 60, 17):
        if rng.random() < 0.85:
            left = 186 + 24 * int(rng.integers(0, 3))
            draw.text(
                (left, top),
                sentence(rng, int(rng.integers(15, 70))),
                font=small,
                fill=colours[rng.integers(len(colours))],
            )
    for place in range(3):
        left = width - 110 * (place + 1)
        draw.rounded_rectangle((left, height - 38, left + 96, height - 12), 6, fill=shade, outline=(120, 125, 135))
        draw.text((left + 24, height - 32), str(rng.choice(WORDS)).capitalize(), font=small, fill=ink)
    if inset is not None:
        image.paste(Image.fromarray(inset).resize((300, 200), Image.Resampling.LANCZOS), (width - 320, 70))
    return np.asarray(image)


def drawing(seed: int, *, shaded: bool = False, size: tuple[int, int] = (640, 480)) -> Levels:
    """Polygons, discs and curves in flat colours, on a gradient if shaded: [H, W, 3]."""
    rng = np.random.default_rng(seed)
    width, height = (FINER * side for side in size)
    colours = [tuple(int(v) for v in rng.integers(30, 256, 3)) for _ in range(7)]
    image = Image.new("RGB", (width, height), (250, 248, 240))
    if shaded:
        ends = rng.integers(90, 256, (2, 3))
        rows = np.linspace(0, 1, height)[:, None, None]
        image = Image.fromarray(
            np.broadcast_to(ends[0] + rows * (ends[1] - ends[0]), (height, width, 3)).astype(np.uint8)
        )
    draw = ImageDraw.Draw(image)
    for _ in range(14):
        middle, radius = rng.uniform((0, 0), (width, height)), rng.uniform(0.04, 0.16) * width
        colour = colours[rng.integers(len(colours))]
        line = {"outline": (20, 20, 25), "width": 3 * FINER}
        if rng.random() < 0.5:
            draw.ellipse((*(middle - radius), *(middle + radius)), fill=colour, **line)
        else:
            turns = np.sort(rng.uniform(0, 2 * np.pi, 6))
            corners = middle + radius * np.stack([np.cos(turns), np.sin(turns)], 1)
            draw.polygon([tuple(corner) for corner in corners.tolist()], fill=colour, **line)
    for _ in range(5):
        at = np.linspace(0, width, 60)
        wave = rng.uniform(0, height) + rng.uniform(20, 90) * FINER * np.sin(at / width * rng.uniform(3, 15))
        draw.line(list(zip(at.tolist(), wave.tolist(), strict=True)), fill=(20, 20, 25), width=2 * FINER, joint="curve")
    return np.asarray(image.resize(size, Image.Resampling.BOX))


def scan(seed: int, size: tuple[int, int] = (512, 704)) -> Levels:
    """A printed page: text that is not quite level, uneven light, blur and noise: grey, [H, W]."""
    rng = np.random.default_rng(seed)
    image = Image.new("L", size, 255)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(15)
    draw.text((48, 36), sentence(rng, 28), font=ImageFont.load_default(24), fill=20)
    for top in range(88, size[1] - 40, 21):
        if rng.random() < 0.9:
            draw.text((48, top), sentence(rng, int(rng.integers(40, 58))), font=font, fill=20)
    image = image.rotate(rng.uniform(-0.8, 0.8), Image.Resampling.BICUBIC, fillcolor=255)
    page = np.asarray(image.filter(ImageFilter.GaussianBlur(0.7)), np.float32)
    down, across = np.mgrid[0 : size[1], 0 : size[0]] / max(size)
    light = 0.93 - 0.12 * across - 0.05 * down**2
    return np.rint(np.clip(page * light + rng.normal(0, 2.5, page.shape), 0, 255)).astype(np.uint8)
