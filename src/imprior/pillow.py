"""A plugin for Pillow: `import imprior.pillow` lets `PIL.Image` open and save .imp files, in any program.

    from PIL import Image
    import imprior.pillow
    Image.open("photo.imp").save("photo.png")          # the size is known at once, pixels are decoded when needed
    Image.open("photo.jpg").save("photo.imp", quality=60)

`save` takes quality, bpp, psnr, size, effort and model as `imprior.compress` does, and exif and icc_profile as
Pillow's own formats do.
"""

from __future__ import annotations

import io
from typing import IO, Any

import numpy as np
from PIL import Image, ImageFile

from imprior.coding.tiled import EXTRAS, MOST_PIXELS, SUFFIX, is_tiled, unpack
from imprior.errors import ImpriorError

FORMAT = "IMP"
MODES = {(True, False): "L", (True, True): "LA", (False, False): "RGB", (False, True): "RGBA"}  # by grey, alpha
MODEL: Any = None  # what decodes; None is the embedded model that made the file


class Photograph(ImageFile.ImageFile):
    """An opened .imp file."""

    format = FORMAT
    format_description = "imprior photograph"

    def _open(self) -> None:
        assert self.fp is not None
        data = self.fp.read()
        if not is_tiled(data):
            raise SyntaxError("not an .imp file")
        try:
            photograph = unpack(data, most_pixels=MOST_PIXELS)
        except ImpriorError as error:
            raise OSError(f"{FORMAT}: {error}") from None
        self._size = photograph.width, photograph.height
        self._mode = MODES[photograph.grey, "alpha" in photograph.extras]
        self.info |= {
            name: value
            for name, extra in (("icc_profile", "icc"), ("exif", "exif"))
            if (value := photograph.extras.get(extra))
        }
        if "exif" in self.info:
            self.info["exif"] = b"Exif\0\0" + self.info["exif"]
        self._data: bytes | None = data
        assert set(EXTRAS) == {"alpha", "icc", "exif"}
        self.tile = []

    def load(self) -> Any:
        """Decode the pixels, the first time."""
        if self._data is not None:
            from imprior import face

            try:
                picture = face.decompress(self._data, model=MODEL)
            except ImpriorError as error:
                raise OSError(f"{FORMAT}: {error}") from None
            self._data = None
            if self.fp is not None and self._exclusive_fp:
                self.fp.close()
            self.fp = io.BytesIO(picture.tobytes())
            self.tile = [ImageFile._Tile("raw", (0, 0, *self.size), 0, self.mode)]
        return super().load()


def save(image: Image.Image, file: IO[bytes], name: str | bytes) -> None:
    """Write an image; see the module for the options."""
    from imprior import face

    if image.mode not in MODES.values():
        raise OSError(f"cannot write mode {image.mode} as {FORMAT}")
    given = image.encoderinfo  # type: ignore[attr-defined]
    exif = given.get("exif", b"")
    wanted = {key: given[key] for key in ("quality", "bpp", "psnr", "size", "effort", "model") if key in given}
    try:
        data = face.compress(
            np.asarray(image),
            **wanted,
            exif=exif.tobytes() if isinstance(exif, Image.Exif) else exif,
            icc=given.get("icc_profile", image.info.get("icc_profile")) or b"",
        )
    except ImpriorError as error:
        raise OSError(f"{FORMAT}: {error}") from None
    file.write(data)


Image.register_open(FORMAT, Photograph, is_tiled)
Image.register_save(FORMAT, save)
Image.register_extension(FORMAT, SUFFIX)
Image.register_mime(FORMAT, "image/x-imprior")
