"""Which sheet an answer is written on, with its facts in the places that its format has for them."""

from dataclasses import dataclass

from service.imaging.formats import ImageFormat
from service.imaging.metadata.facts import Facts
from service.imaging.metadata.jpeg import jpeg_segments
from service.imaging.metadata.png import png_chunks
from service.imaging.metadata.tiff import tiff_entries
from service.imaging.metadata.webp import avif_blocks, webp_blocks
from service.imaging.profile import SRGB_BYTES
from service.imaging.writing.png import PngSheet
from service.imaging.writing.sheets import Layout, Sheet
from service.imaging.writing.tiff import Compression, TiffSheet
from service.imaging.writing.whole import AvifSheet, JpegSheet, WebpSheet

_MOST_JFIF = 65_535
"""Its resolution, in pixels per inch."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """How an answer is to be coded."""

    format: ImageFormat
    depth: int
    """Bits a sample, of those that the format has."""
    quality: int = 90
    """From 1 to 100, of JPEG, WebP and AVIF; the others are lossless."""
    compression: Compression = Compression.DEFLATE
    """Of TIFF."""

    def memory_bytes(self, pixels: int, transparent: bool) -> int:
        """The most that painting and coding so many takes beside L*, the file included, in bytes."""
        return BYTES_BESIDE_PIXELS + pixels * _BYTES_PER_PIXEL[self.format, transparent] * self.depth // 8


BYTES_BESIDE_PIXELS = 8 * 2**20
"""What a photograph takes whatever its size: its chroma is fitted on up to 896 × 896 of its pixels."""

_BYTES_PER_PIXEL = {
    (ImageFormat.PNG, False): 6,
    (ImageFormat.PNG, True): 8,
    (ImageFormat.TIFF, False): 6,
    (ImageFormat.TIFF, True): 8,
    (ImageFormat.JPEG, False): 10,
    (ImageFormat.JPEG, True): 14,
    (ImageFormat.WEBP, False): 40,
    (ImageFormat.WEBP, True): 50,
    (ImageFormat.AVIF, False): 50,
    (ImageFormat.AVIF, True): 60,
}
"""In 8 bits, by whether there is alpha. Measured on noise: see tests/unit/imaging/test_memory.py."""


def sheet(encoding: Encoding, layout: Layout, facts: Facts, *, colors: bool) -> Sheet:
    """An empty sheet for an answer.

    `colors`: whether the pixels are colours of sRGB, and not other numbers.
    """
    profile = SRGB_BYTES if colors else None
    match encoding.format:
        case ImageFormat.PNG:
            return PngSheet(layout, profile, png_chunks(facts))
        case ImageFormat.TIFF:
            return TiffSheet(layout, encoding.compression, profile, tiff_entries(facts))
        case ImageFormat.JPEG:
            return JpegSheet(layout, encoding.quality, profile, jpeg_segments(facts), _jfif(facts))
        case ImageFormat.WEBP:
            return WebpSheet(layout, encoding.quality, profile, *webp_blocks(facts))
        case ImageFormat.AVIF:
            return AvifSheet(layout, encoding.quality, profile, *avif_blocks(facts))


def _jfif(facts: Facts) -> tuple[int, int] | None:
    if facts.resolution is None:
        return None
    x, y = round(facts.resolution.x), round(facts.resolution.y)
    return (x, y) if min(x, y) > 0 and max(x, y) <= _MOST_JFIF else None
