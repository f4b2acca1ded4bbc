"""The pixels of a file as they lie in it, before they become a photograph."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

_BLOCK_PIXELS = 2**17


class Space(Enum):
    """What the channels mean; the value is how many there are beside alpha."""

    GRAY = 1
    RGB = 3
    CMYK = 4
    """Ink: 0 is none."""
    LAB = 0
    """CIELAB, of which only L* is handed out."""

    @property
    def channels(self) -> int:
        """Beside alpha."""
        return self.value or 1


class Block(NamedTuple):
    """A rectangle of the picture."""

    top: int
    left: int
    pixels: NDArray[Any]
    """(h, w, channels), uint8 or uint16 by the raster's depth; 0 is black, or no ink; alpha is last."""


@dataclass(slots=True)
class Raster:
    """An opened picture: what its header says, and a way to its pixels, which may lie turned."""

    kind: str
    """The file's, such as "TIFF"."""
    width: int
    height: int
    space: Space
    depth: int
    """Bits of what is handed out: 8 or 16."""
    blocks: Callable[[], Iterator[Block]] = lambda: iter(())
    """Each pixel is in one of them. Raises whatever decoding it raises."""
    decoder_bytes: int = 0
    """The most that reading the blocks takes, of a pixel, beside what is handed out at a time."""
    alpha: bool = False
    premultiplied: bool = False
    """Whether colours were multiplied by alpha."""
    icc: bytes | None = None
    gamma: float | None = None
    """The exponent from light to values, where it is not sRGB's and no profile says it."""
    orientation: int | None = None
    """As EXIF counts, 1 to 8; None: the file's EXIF block says it."""
    page: int = 1
    pages: int = 1
    directory: int | None = None
    """Of a TIFF: where the page's directory begins."""

    @property
    def channels(self) -> int:
        """Of a block's pixels."""
        return self.space.channels + self.alpha


def at_once(raster: Raster, bits: int, decode: Callable[[], NDArray[Any]]) -> Callable[[], Iterator[Block]]:
    """The blocks of a raster that is decoded at once, to values of so many bits."""
    # Not the raster itself: it knows the blocks.
    height, width, channels = raster.height, raster.width, raster.channels

    def blocks() -> Iterator[Block]:
        pixels = decode().reshape(height, width, channels)
        rows = max(1, _BLOCK_PIXELS // width)
        for top in range(0, height, rows):
            block = pixels[top : top + rows]
            yield Block(top, 0, block if bits in (8, 16) else to_16_bits(block, 2**bits - 1))

    return blocks


def upright(array: NDArray[Any], orientation: int) -> NDArray[Any]:
    """The view, (height, width, …) as stored, of an array that is upright: written into it, pixels are turned.

    Orientations are EXIF's (JEITA CP-3451, tag 274); what is none of them counts as 1.
    """
    match orientation:
        case 2:
            return array[:, ::-1]
        case 3:
            return array[::-1, ::-1]
        case 4:
            return array[::-1]
        case 5:
            return array.swapaxes(0, 1)
        case 6:
            return array[:, ::-1].swapaxes(0, 1)
        case 7:
            return array[::-1, ::-1].swapaxes(0, 1)
        case 8:
            return array[::-1].swapaxes(0, 1)
    return array


def turned(orientation: int) -> bool:
    """Whether width and height change places."""
    return orientation in (5, 6, 7, 8)


def to_16_bits(levels: NDArray[Any], largest: float) -> NDArray[np.uint16]:
    """Values from 0 to `largest` → 0 to 65535."""
    return (levels * np.float64(65_535 / largest) + 0.5).clip(0, 65_535).astype(np.uint16)
