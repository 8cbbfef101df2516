"""What a picture's file holds beside its pixels, and what a file made from it should keep: EXIF and colour profile."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import ExifTags, Image

_PREFIX = b"Exif\0\0"
# A TIFF keeps how its pixels are stored among the same tags as what EXIF tells of the picture.
_STORAGE = (
    *range(254, 267), 273, *range(277, 282), 284, *range(288, 294), 301, *range(317, 326), 330, *range(332, 348),
    *range(512, 522), *range(529, 533), 700, 33723, 34377, 34675,
)  # fmt: skip


@dataclass(frozen=True)
class Extras:
    """EXIF and colour profile of a picture.

    Attributes:
        exif: as in a JPEG's marker, beginning with "Exif", empty if there is none; of pictures that were turned
            upright the orientation is 1.
        profile: an ICC profile, empty if there is none.
        animated: whether more pictures follow the first one in the file.
    """

    exif: bytes = b""
    profile: bytes = b""
    animated: bool = False

    @classmethod
    def of(cls, image: Image.Image) -> Extras:
        """Those of an opened picture whose orientation is going to be applied."""
        animated = bool(getattr(image, "is_animated", False))
        return cls(_exif(image), image.info.get("icc_profile") or b"", animated)

    def profile_for(self, *, grey: bool) -> bytes:
        """The profile, if it tells of grey (or of RGB) pixels: CMYK that has become RGB must not keep its own."""
        return self.profile if self.profile[16:20] == (b"GRAY" if grey else b"RGB ") else b""


def _exif(image: Image.Image) -> bytes:
    raw: bytes = image.info.get("exif") or image.getexif().tobytes()  # the latter: TIFF, and PNG of old programs
    raw = _PREFIX + raw.removeprefix(_PREFIX)
    exif = Image.Exif()
    exif.load(raw)
    stored = [tag for tag in _STORAGE if tag in exif] if image.format == "TIFF" else []
    if not stored and exif.get(ExifTags.Base.Orientation, 1) == 1:
        return raw if len(exif) else b""
    for tag in stored:
        del exif[tag]
    if len(exif):
        exif[ExifTags.Base.Orientation] = 1
    return exif.tobytes() if len(exif) else b""


NONE = Extras()
