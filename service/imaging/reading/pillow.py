"""What Pillow reads: JPEG, PNG, WebP, AVIF, JPEG 2000, BMP and GIF of 8 bits a sample, and a few kinds of TIFF."""

from collections.abc import Callable, Iterator
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import AvifImagePlugin, ExifTags, Image
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from service.imaging.errors import TooManyPixelsError, UnsupportedFormatError
from service.imaging.reading.raster import Block, Raster, Space

# Pillow's readers are called directly, not through Image.open: that one cannot tell an unknown format from a broken
# file, and it applies the process-wide limit Image.MAX_IMAGE_PIXELS (a warning, then an error) in place of ours.
_READERS: dict[str, Callable[[BytesIO], ImageFile]] = {
    "JPEG": JpegImageFile,
    "PNG": PngImageFile,
    "WebP": WebPImageFile,
    "AVIF": AvifImageFile,
    "JPEG 2000": Jpeg2KImageFile,
    "BMP": BmpImageFile,
    "GIF": GifImageFile,
    "TIFF": TiffImageFile,
}

# The mode that pixels of each of Pillow's are handed out in.
_GRAY = {"1": "L", "L": "L", "LA": "LA", "La": "LA", "I;16": "L"}  # the last is for deep.py to read
_COLOR = {"P": "RGB", "PA": "RGBA", "RGB": "RGB", "RGBX": "RGB", "RGBA": "RGBA", "RGBa": "RGBA", "YCbCr": "RGB"}
_OTHER = {"CMYK": "CMYK", "LAB": "L"}
_SPACES = {"L": Space.GRAY, "LA": Space.GRAY, "RGB": Space.RGB, "RGBA": Space.RGB, "CMYK": Space.CMYK}
_TRANSPARENT = {"L": "LA", "RGB": "RGBA"}

_BMP_PACKED = {b"\4\0\0\0": "JPEG", b"\5\0\0\0": "PNG"}
"""Values of biCompression."""

# Bytes that a pixel takes in Pillow, and in the decoder besides: see tests/unit/imaging/test_memory.py.
_STORED = {"1": 1, "L": 1, "P": 1, "I;16": 2}
_STORED_ELSE = 4
_DECODED = {"WebP": 16, "AVIF": 12}
_DECODED_OF_A_CHANNEL = {"JPEG 2000": 8}
_COEFFICIENT = 2
"""Of each channel of a progressive JPEG."""

MAX_PIXELS_LIMIT = 300_000_000
"""More than are ever decoded."""

_STRIP_PIXELS = 2**17
"""Handed out at a time."""

# Pillow's own limit, which some readers apply before they tell the size: above any that the service is given.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS_LIMIT // 2

AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # who decodes has one core


def open_with_pillow(kind: str, data: bytes, max_pixels: int) -> Raster:
    """Opens the first picture of a file of a kind in `_READERS`; raises whatever Pillow raises of a broken header.

    Raises:
        UnsupportedFormatError: Its pixels are of a type that is not read.
        TooManyPixelsError: Pillow's own limit, which some readers apply before they tell the size.
    """
    if kind == "BMP" and data[30:34] in _BMP_PACKED:
        raise UnsupportedFormatError(f"This is a BMP with a {_BMP_PACKED[data[30:34]]} inside, which is not read here")
    try:
        image = _READERS[kind](BytesIO(data))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise TooManyPixelsError(f"The {kind} image declares far more than the {max_pixels} pixels accepted") from error
    except OSError as error:
        if "unsupported" in str(error).lower():
            raise UnsupportedFormatError(f"This is a {kind} image of a kind that is not read here: {error}") from error
        raise
    fills = kind != "GIF" or not image.tile or image.tile[0].extents == (0, 0, *image.size)
    if not fills and image.width * image.height <= max_pixels:
        raise UnsupportedFormatError("This is a GIF whose first picture does not fill it, which is not read here")
    mode = (_GRAY | _COLOR | _OTHER).get(image.mode)
    if mode is None:
        raise UnsupportedFormatError(f"The {kind} image holds pixels of the type {image.mode}, which is not read here")
    if image.has_transparency_data:
        mode = _TRANSPARENT.get(mode, mode)
    # Here Pillow says what the container itself asks for, and leaves it undone.
    orientation = image.getexif().get(ExifTags.Base.Orientation, 1) if kind == "AVIF" else None
    space = Space.LAB if image.mode == "LAB" else _SPACES[mode]
    channels = len(image.getbands())
    decoder_bytes = _STORED.get(image.mode, _STORED_ELSE) + _DECODED.get(kind, 0)
    decoder_bytes += channels * _DECODED_OF_A_CHANNEL.get(kind, 0)
    decoder_bytes += channels * _COEFFICIENT if "progressive" in image.info else 0
    return Raster(
        kind,
        image.width,
        image.height,
        space,
        8,
        lambda: _blocks(image, mode),
        decoder_bytes=decoder_bytes,
        alpha=mode in ("LA", "RGBA"),
        icc=image.info.get("icc_profile"),
        orientation=orientation,
    )


def open_webp(data: bytes, max_pixels: int) -> Raster:
    """Opens the first picture of a WebP (RFC 9649).

    Raises:
        TooManyPixelsError: It declares more than `max_pixels`: Pillow asks for their memory as soon as it has read so.
    """
    match data[12:16]:
        case b"VP8X":
            width, height = (1 + int.from_bytes(data[at : at + 3], "little") for at in (24, 27))
        case b"VP8L":
            bits = int.from_bytes(data[21:25], "little")
            width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        case _:
            width, height = (int.from_bytes(data[at : at + 2], "little") & 0x3FFF for at in (26, 28))
    if width * height > max_pixels:
        raise TooManyPixelsError(
            f"The WebP image declares {width} × {height} pixels; at most {max_pixels} pixels are accepted"
        )
    return open_with_pillow("WebP", data, max_pixels)


def _blocks(image: ImageFile, mode: str) -> Iterator[Block]:
    image.load()
    rows = max(1, _STRIP_PIXELS // image.width)
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(top + rows, image.height)))
        yield Block(top, 0, _pixels(strip, mode))


def _pixels(strip: Image.Image, mode: str) -> NDArray[np.uint8]:
    if strip.mode == "LAB":
        strip = strip.getchannel("L")
    elif strip.mode != mode:
        if strip.mode == "1":
            strip = strip.convert("L")  # the way from one bit to transparency
        strip = strip.convert(mode)
    pixels = np.asarray(strip)
    return pixels if pixels.ndim == 3 else pixels[..., None]
