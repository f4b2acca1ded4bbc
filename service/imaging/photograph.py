"""Bytes → a photograph: upright, with L* alone, and alpha."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from service.imaging.errors import (
    BrokenImageError,
    ImageError,
    NoSuchPageError,
    TooManyPixelsError,
    UnsupportedFormatError,
)
from service.imaging.formats import LONGEST_SIDE, ImageFormat
from service.imaging.kinds import kind_of
from service.imaging.metadata.facts import Facts, orientation
from service.imaging.metadata.reading import read_facts
from service.imaging.reading.deep import open_avif, open_heic, open_jpeg2000, open_png
from service.imaging.reading.jpeg import open_jpeg
from service.imaging.reading.lightness import lightness_reader
from service.imaging.reading.pillow import open_webp, open_with_pillow
from service.imaging.reading.raster import Block, Raster, Space, turned, upright
from service.imaging.reading.tiff import open_tiff
from service.imaging.upsample import resample

_OPENERS: dict[str, Callable[[bytes, int], Raster]] = {
    "JPEG": open_jpeg,
    "PNG": open_png,
    "WebP": open_webp,
    "AVIF": open_avif,
    "HEIC": open_heic,
    "JPEG 2000": open_jpeg2000,
    "BMP": partial(open_with_pillow, "BMP"),
    "GIF": partial(open_with_pillow, "GIF"),
}
_ACCEPTED = ", ".join((*_OPENERS, "TIFF"))

# What a client gets who asks for no format: what came in, or what is nearest to it among those written here.
_WRITTEN_AS = {
    "JPEG": ImageFormat.JPEG,
    "WebP": ImageFormat.WEBP,
    "TIFF": ImageFormat.TIFF,
    "AVIF": ImageFormat.AVIF,
    "HEIC": ImageFormat.JPEG,
    "JPEG 2000": ImageFormat.TIFF,
}

_NARROW = 2**12
"""Levels of 16 bits that are all below are those of a scanner or camera that has only so many, or it is night."""

_LIGHTNESS_BYTES = 4
"""A pixel's."""

# Colour is converted this many pixels at a time, so that its floats need a few megabytes whatever the photograph.
_STRIP_PIXELS = 2**17


@dataclass(frozen=True, slots=True)
class Photograph:
    """A decoded image, upright, of which only the lightness is kept."""

    lightness: Tensor
    """L* in [0, 100], float32 (H, W)."""
    alpha: Tensor | None
    """(H, W), uint8 or uint16, the largest value opaque; None where the file has no transparency."""
    notes: tuple[str, ...] = ()
    """What whoever sent the file should know of how it was read."""

    def shrunk(self, width: int, height: int) -> "Photograph":
        """The same in fewer pixels."""
        lightness = resample(self.lightness, height, width)
        if self.alpha is None:
            return Photograph(lightness.clamp(0, 100), None, self.notes)
        # What cannot be seen has no part in what can.
        largest = torch.iinfo(self.alpha.dtype).max
        weights = self.alpha.float().div_(largest)
        shares = resample(weights, height, width)
        seen = resample(weights.mul_(self.lightness), height, width) / shares
        lightness = torch.where(shares * largest >= 1, seen, lightness)
        alpha = shares.mul_(largest).round_().clamp_(0, largest).to(self.alpha.dtype)
        return Photograph(lightness.clamp(0, 100), alpha, self.notes)


class Original:
    """A file whose header was read and found good.

    `inspect` makes it; the pixels are decoded by `decode`.
    """

    def __init__(self, raster: Raster, facts: Facts) -> None:
        self._raster = raster
        self._orientation = raster.orientation or orientation(facts)
        self.facts = facts
        """What the file says beside its pixels."""
        sides = raster.width, raster.height
        self.width, self.height = sides[::-1] if turned(self._orientation) else sides
        """Of the upright picture."""
        self.transparent = raster.alpha
        self.depth = raster.depth
        """Bits a sample that are worth keeping: 8 or 16."""
        self.format = _WRITTEN_AS.get(raster.kind, ImageFormat.PNG)
        """What a client gets who asks for none in particular."""

    @property
    def pixels(self) -> int:
        """Width × height."""
        return self.width * self.height

    @property
    def kept_bytes(self) -> int:
        """What the photograph takes, L* and alpha."""
        return self.pixels * (_LIGHTNESS_BYTES + self.transparent * self.depth // 8)

    @property
    def decoder_bytes(self) -> int:
        """The most that decoding takes beside."""
        return self.pixels * self._raster.decoder_bytes

    def decode(self) -> Photograph:
        """Decodes the pixels, and gives back what that took; so it can be done once.

        Raises:
            ImageError: They cannot be decoded to the end.
        """
        raster = self._raster
        lightness = np.empty((self.height, self.width), np.float32)
        alpha = np.empty(lightness.shape, f"u{raster.depth // 8}") if raster.alpha else None
        stored = upright(lightness, self._orientation)
        stored_alpha = None if alpha is None else upright(alpha, self._orientation)
        to_lightness = lightness_reader(raster)
        covered, highest = 0, 0
        for top, left, levels in _strips(raster):
            height, width = levels.shape[:2]
            covered += height * width
            place = slice(top, top + height), slice(left, left + width)
            if stored_alpha is not None:
                stored_alpha[place] = levels[..., -1]
                levels = _straight(levels) if raster.premultiplied else levels[..., :-1]
            stored[place] = to_lightness(levels)
            if raster.space in (Space.GRAY, Space.RGB) and highest < _NARROW:
                highest = max(highest, int(levels.max()))
        raster.blocks = _spent
        if covered != self.pixels:
            raise BrokenImageError(f"The {raster.kind} image is incomplete")
        notes: list[str] = []
        if raster.depth == 16 and 0 < highest < _NARROW:
            notes.append(f"no level is above {highest} of 65535, as if fewer bits than 16 were meant")
        if raster.pages > 1:
            notes.insert(0, f"page {raster.page} of {raster.pages}")
        return Photograph(torch.from_numpy(lightness), None if alpha is None else torch.from_numpy(alpha), tuple(notes))


def inspect(data: bytes, max_pixels: int, page: int | None = None) -> Original:
    """Reads the header of a file: of its first picture, or of a page, the first of which is 1.

    `max_pixels` bounds width × height; nothing is decoded above it.

    Raises:
        UnsupportedFormatError, TooManyPixelsError, NoSuchPageError, BrokenImageError: See service.imaging.errors.
    """
    kind = kind_of(data)
    if kind not in _OPENERS and kind != "TIFF":
        if kind is not None:
            raise UnsupportedFormatError(f"This is {kind}, which is not read here; send {_ACCEPTED}")
        found = f"The data begin with {data[:12]!r}" if data else "The data are empty"
        raise UnsupportedFormatError(f"{found}, which is no image format read here; accepted are {_ACCEPTED}")
    with _told(kind):
        raster = open_tiff(data, max_pixels, page) if kind == "TIFF" else _OPENERS[kind](data, max_pixels)
        if page is not None and page > raster.pages:
            raise NoSuchPageError(f"The {kind} image has one picture, and no page {page}")
        _check_size(raster, max_pixels)
        return Original(raster, read_facts(data, kind, raster.directory))


@contextmanager
def _told(kind: str) -> Iterator[None]:
    """Whatever goes wrong with a file becomes an ImageError."""
    try:
        yield
    except (ImageError, MemoryError):
        raise
    except Exception as error:
        # The decoders document no closed list: OSError, SyntaxError, ValueError, struct.error and more are seen.
        raise BrokenImageError(f"The {kind} image is damaged or incomplete and cannot be decoded") from error


def _spent() -> Iterator[Block]:
    raise RuntimeError("the photograph was decoded before")


def _check_size(raster: Raster, max_pixels: int) -> None:
    size = f"The {raster.kind} image declares {raster.width} × {raster.height} pixels"
    if raster.width * raster.height == 0:
        raise BrokenImageError(size)
    if raster.width * raster.height > max_pixels:
        raise TooManyPixelsError(f"{size}; at most {max_pixels} pixels are accepted")
    if max(raster.width, raster.height) > LONGEST_SIDE:
        raise TooManyPixelsError(f"{size}; at most {LONGEST_SIDE} a side are accepted")


def _strips(raster: Raster) -> Iterator[Block]:
    """The blocks in strips of `_STRIP_PIXELS`.

    What is raised in between, by who asks for them, is nobody's fault but ours.
    """
    with _told(raster.kind):
        for top, left, levels in raster.blocks():
            rows = max(1, _STRIP_PIXELS // levels.shape[1])
            for begin in range(0, len(levels), rows):
                yield Block(top + begin, left, levels[begin : begin + rows])


def _straight(levels: NDArray[Any]) -> NDArray[Any]:
    """Colours that were multiplied by alpha, which is last, divided by it again."""
    largest = np.iinfo(levels.dtype).max
    colors, alpha = levels[..., :-1].astype(np.float64), levels[..., -1:]
    divided: NDArray[Any] = np.minimum(colors * largest / np.maximum(alpha, 1) + 0.5, largest).astype(levels.dtype)
    return divided
