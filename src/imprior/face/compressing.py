"""Photographs to bytes and back."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from imprior.errors import BitstreamError, DataError, RunError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from imprior.coding.tiled import Photograph
    from imprior.face.pictures import Picture
    from imprior.promises import CodesTiles
    from imprior.tasks.compress import Area

CODEC = "photo-codec"  # what codes pictures unless another model is named


def compress(
    image: Picture,
    quality: int = 50,
    *,
    bpp: float | None = None,
    psnr: float | None = None,
    size: int | None = None,
    effort: int = 0,
    model: Any = None,
    strict: bool = False,
    exif: bytes = b"",
    icc: bytes = b"",
) -> bytes:
    """A picture as the bytes of an .imp file.

    Args:
        image: [H, W] or [H, W, C], transparency (stored without loss) last; uint8, or uint16 or float in [0, 1], which
            are reduced to 8 bits.
        quality: from 0 (smallest) to 100 (best), where none of the following is given.
        bpp: at most so many bits a pixel, all of the file counted.
        psnr: decibels that the picture shall have, within 0.1.
        size: at most so many bytes.
        effort: from 0 (fast) to 3 (a long search for what takes fewer bytes); decoding is the same.
        model: keeps `CodesTiles`; None takes the photo codec.
        strict: whether more than 8 bits are refused instead of reduced.
        exif: to be kept in the file, beginning with "Exif" as in a JPEG.
        icc: colour profile to be kept, if it is one for such pictures (grey or RGB).

    Raises:
        CapabilityError: the model is no such codec.
        DataError: no picture, or a target out of reach.
        RunError: no model is given, and the photo codec is not there.
    """
    from imprior.data.extras import Extras
    from imprior.tasks import photo_file as task

    target = task.Target(quality, bpp=bpp, psnr_db=psnr, size=size)
    return task.encode(codec(model), image, target, extras=Extras(exif, icc), effort=effort, strict=strict).data


def decompress(data: bytes, *, region: tuple[int, int, int, int] | None = None, model: Any = None) -> NDArray[np.uint8]:
    """The picture of an .imp file.

    Args:
        data: the file.
        region: (x, y, width, height) of the part to decode, None for all.
        model: keeps `CodesTiles`, or wrote the file otherwise; None takes the one that made it, if it comes with
            imprior.

    Returns:
        uint8 [H, W] if grey, [H, W, 3] in colour; transparency is one channel more ([H, W, 2], [H, W, 4]).

    Raises:
        BitstreamError: no such file, damaged, of a later version or of another model.
        DataError: a region that is not in the picture.
        RunError: the model that made it is not there.
    """
    from imprior.coding import tiled

    if is_small(data):
        if region is not None:
            raise DataError("small files of small models are decoded as a whole")
        return decode_small(data, model)
    photograph = tiled.unpack(data)  # what is wrong with a header is said before anything heavy is loaded
    from imprior.tasks import photo_file as task

    return task.decode(maker(photograph, model), data, region=area(region)).picture


def codec(model: Any = None) -> CodesTiles:
    """A model that codes pictures tile by tile; None is the photo codec.

    Raises:
        CapabilityError: it does not.
        RunError: no such model.
    """
    from imprior import opening, runs
    from imprior.promises import CodesTiles

    if model is not None:
        opened: CodesTiles = opening.model(model, CodesTiles).model
        return opened
    if CODEC not in runs.embedded():
        raise RunError(f"the model {CODEC} does not come with this version: name a trained codec as the model")
    return _embedded(CODEC)


def maker(photograph: Photograph, model: Any = None) -> CodesTiles:
    """The codec that made a photograph: the model that is named, or the embedded one whose hash is in the file.

    Raises:
        BitstreamError: no embedded one has it.
        CapabilityError: the named one is no such codec.
        RunError: no such model, or no codec comes with this version.
    """
    if model is not None:
        return codec(model)
    from imprior.coding.container import weights_hash

    hashes = codecs()
    if not hashes:
        return codec()
    for name in sorted(hashes, key=lambda name: hashes[name] != photograph.weights.hex()):  # the likely one first
        found = _embedded(name)
        if weights_hash(found.decoder) == photograph.weights:
            return found
    raise BitstreamError(
        f"written with another model (of hash {photograph.weights.hex()}) than those that come with this version: "
        "name that model, or take a newer imprior"
    )


def codecs() -> dict[str, str]:
    """Names of the embedded models that code pictures tile by tile, and the hashes of their decoders."""
    from imprior import runs

    cards = {name: run.read("card.json") for name, run in runs.embedded().items()}
    return {name: card.get("decoder", "") for name, card in cards.items() if "CodesTiles" in card["promises"]}


def area(region: tuple[int, int, int, int] | None) -> Area | None:
    """(x, y, width, height) as the tasks want it."""
    from imprior.tasks.compress import Area

    if region is None:
        return None
    x, y, width, height = region
    return Area(y, y + height, x, x + width)


def is_small(data: bytes) -> bool:
    """Whether it is a file of format version 1: images of a small model, in one piece."""
    return data[:2] == b"\x8fI" and len(data) > 2 and data[2] & 0x8F == 1


def decode_small(data: bytes, model: Any = None) -> NDArray[np.uint8]:
    """The one image of a file of version 1, uint8 [H, W] or [H, W, C].

    Raises:
        BitstreamError: damaged, of another model or one that is not known, or of several images.
    """
    from imprior import opening, runs
    from imprior.coding import container
    from imprior.data.images import from_batch
    from imprior.promises import Codes
    from imprior.tasks.protocol import evaluating

    header, _ = container.unpack(data)
    if header.images != 1:
        raise BitstreamError(f"it holds {header.images:,} images of a small model: imprior.coding.container reads them")
    if model is None and header.name not in runs.embedded():
        named = f"'{header.name}', which does not come with this version" if header.name else "which it does not name"
        raise BitstreamError(f"written with a small model, {named} (of hash {header.weights.hex()}): say which")
    found = opening.model(model or header.name, Codes).model
    with evaluating(found):
        return from_batch(container.decompress(found, data, weights=container.weights_hash(found)))


@cache
def _embedded(name: str) -> CodesTiles:
    from imprior import opening
    from imprior.promises import CodesTiles

    opened: CodesTiles = opening.model(name, CodesTiles).model
    return opened
