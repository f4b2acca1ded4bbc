"""The formats that answers are written in, and what each can hold."""

from collections.abc import Mapping, Sequence
from enum import StrEnum

from service.imaging.errors import TooManyPixelsError


class ImageFormat(StrEnum):
    """The formats written; the values are the names clients use."""

    PNG = "png"
    JPEG = "jpeg"
    WEBP = "webp"
    TIFF = "tiff"
    AVIF = "avif"

    @classmethod
    def _missing_(cls, value: object) -> "ImageFormat | None":
        return {"jpg": cls.JPEG, "tif": cls.TIFF}.get(str(value))

    @property
    def media_type(self) -> str:
        """The format's media type, such as "image/png"."""
        return f"image/{self.value}"

    @property
    def depths(self) -> tuple[int, ...]:
        """Bits a sample that it is written with."""
        return (8, 16) if self in (ImageFormat.PNG, ImageFormat.TIFF) else (8,)

    @property
    def lossless(self) -> bool:
        """Whether every level comes back as it was."""
        return self in (ImageFormat.PNG, ImageFormat.TIFF)

    @property
    def longest_side(self) -> int:
        """In pixels. What the codecs themselves can hold; PNG's and TIFF's own limits are far above any picture."""
        return {ImageFormat.JPEG: 65_500, ImageFormat.WEBP: 16_383}.get(self, LONGEST_SIDE)

    def check_fits(self, width: int, height: int) -> None:
        """Raises TooManyPixelsError where a side is longer than it can hold."""
        if max(width, height) > self.longest_side:
            raise TooManyPixelsError(
                f"The answer would be {width} × {height} pixels, but {self} holds at most {self.longest_side} a side; "
                f"ask for {ImageFormat.PNG} instead"
            )


LONGEST_SIDE = 65_535
"""Above this side none is read: what is enlarged to it would take more memory than its pixels."""


def choose(
    own: ImageFormat, candidates: Sequence[ImageFormat], accepted: Mapping[ImageFormat, float] | None
) -> ImageFormat:
    """The candidate that is most welcome, by `accepted` from 0 to 1; among equals `own`, then the first.

    None: all are as welcome. So are they where not one of them is welcome at all: a picture in another format than was
    asked for is still a picture (RFC 9110, 12.4.1).
    """
    welcome = {format: 1.0 if accepted is None else accepted.get(format, 0.0) for format in candidates}
    most = max(welcome.values())
    best = [format for format in candidates if welcome[format] == most]
    return own if own in best else best[0]
