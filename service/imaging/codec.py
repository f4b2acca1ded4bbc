"""Bytes ↔ pixels: everything the service knows about image files.

    ImageError
    ├── UnsupportedFormatError   not a kind of image we read         (HTTP 415)
    ├── TooManyPixelsError       larger than we decode, or can write (HTTP 413)
    └── BrokenImageError         one of ours, but damaged            (HTTP 422)

The messages are shown to clients.

A file becomes lightness in this order: orientation applied, ICC profile to sRGB, alpha split off, L*.
"""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from io import BytesIO
from typing import BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import BITSPERSAMPLE, PHOTOMETRIC_INTERPRETATION, TILELENGTH, TILEWIDTH, TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile
from torch import Tensor

from service.imaging.color import gray_to_lightness
from service.imaging.kernels import lightness_of
from service.imaging.kinds import unread_kind


class ImageError(Exception):
    """The root of all that can be wrong with a client's image; its text may be shown to the client."""


class UnsupportedFormatError(ImageError):
    """The bytes are no image format, or a pixel type, that is read here."""


class TooManyPixelsError(ImageError):
    """The header declares more pixels than may be decoded, or a side is longer than the output format allows."""


class BrokenImageError(ImageError):
    """The bytes begin like an image that is read here, but cannot be decoded to the end."""


class ImageFormat(StrEnum):
    """The formats written; the values are the names clients use."""

    PNG = "png"
    JPEG = "jpeg"
    WEBP = "webp"

    @classmethod
    def _missing_(cls, value: object) -> "ImageFormat | None":
        return cls.JPEG if value == "jpg" else None

    @property
    def media_type(self) -> str:
        """The format's media type, such as "image/png"."""
        return f"image/{self.value}"


@dataclass(frozen=True, slots=True)
class Photograph:
    """A decoded image, upright, of which only the lightness is kept.

    `lightness` is L* in [0, 100], float32 (H, W). `alpha` is uint8 (H, W), 255 opaque, or None where the file has no
    transparency. `format` is what a client gets who asks for none in particular.
    """

    lightness: Tensor
    alpha: Tensor | None
    format: ImageFormat


# Pillow's readers are called directly, not through Image.open: that one cannot tell an unknown format from a broken
# file, and it applies the process-wide limit Image.MAX_IMAGE_PIXELS (a warning, then an error) in place of ours.
_READERS: dict[re.Pattern[bytes], tuple[str, Callable[[BytesIO], ImageFile]]] = {
    re.compile(rb"\xff\xd8\xff"): ("JPEG", JpegImageFile),
    re.compile(rb"\x89PNG\r\n\x1a\n"): ("PNG", PngImageFile),
    re.compile(rb"RIFF.{4}WEBP", re.DOTALL): ("WebP", WebPImageFile),
    re.compile(rb"II[*+]\0|MM\0[*+]"): ("TIFF", TiffImageFile),
    re.compile(rb"BM"): ("BMP", BmpImageFile),
    re.compile(rb"GIF8[79]a"): ("GIF", GifImageFile),
}
_ACCEPTED = ", ".join(name for name, _ in _READERS.values())

_WRITTEN_AS_READ = {"JPEG": ImageFormat.JPEG, "WebP": ImageFormat.WEBP}

# What the codecs themselves can hold; PNG's own limit is far above any picture, and above this side none is read:
# what is enlarged to it would take more memory than its pixels.
_LONGEST_SIDE = {ImageFormat.PNG: 65_535, ImageFormat.JPEG: 65_500, ImageFormat.WEBP: 16_383}

BYTES_PER_PIXEL = {
    (ImageFormat.PNG, False): 18,
    (ImageFormat.PNG, True): 20,
    (ImageFormat.JPEG, False): 18,
    (ImageFormat.JPEG, True): 24,
    (ImageFormat.WEBP, False): 43,
    (ImageFormat.WEBP, True): 51,
}
"""The most that a photograph takes from decoding to its answer, the answer included, by the answer's format and whether
it is transparent. Measured on noise: see tests/unit/imaging/test_memory.py."""

BYTES_BESIDE_PIXELS = 8 * 2**20
"""Bytes that a photograph takes beside, whatever its size: its chroma is fitted on up to 896 × 896 of its pixels."""

_GRAY_MODES = {"1", "L", "LA", "La", "I;16", "I;16B"}
_WIDE_MODES = {"I": "32-bit integers", "F": "32-bit floating-point numbers"}

# Colour is converted this many pixels at a time, so that its floats need a few megabytes whatever the photograph.
_STRIP_PIXELS = 2**17

_SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))

# Programs with colour management guess at files without a profile; 588 bytes spare them that. Bytes 24 to 36 are the
# time at which the profile was made: without them, the same photograph gives the same bytes in every replica.
_SRGB_BYTES = _SRGB.tobytes()[:24] + bytes(12) + _SRGB.tobytes()[36:]


def decode(data: bytes, max_pixels: int) -> Photograph:
    """Reads the first picture of a JPEG, PNG, WebP, TIFF, BMP or GIF file.

    `max_pixels` bounds width × height as declared in the header; nothing is decoded above it.

    Raises UnsupportedFormatError, TooManyPixelsError or BrokenImageError.
    """
    with _opened(data, max_pixels) as (name, image):
        image.load()
        _turn_upright(image)
        lightness, alpha = _separate(image)
    return Photograph(
        lightness=torch.from_numpy(lightness),
        alpha=None if alpha is None else torch.from_numpy(alpha),
        format=_WRITTEN_AS_READ.get(name, ImageFormat.PNG),
    )


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says of itself before its pixels are decoded."""

    width: int
    height: int
    transparent: bool
    format: ImageFormat
    """What a client gets who asks for none in particular."""

    @property
    def pixels(self) -> int:
        """Width × height."""
        return self.width * self.height

    def memory_bytes(self, format: ImageFormat) -> int:
        """The most that the photograph takes in memory from decoding to its answer in a format, in bytes."""
        return BYTES_BESIDE_PIXELS + self.pixels * BYTES_PER_PIXEL[format, self.transparent]

    def check_fits(self, format: ImageFormat) -> None:
        """Raises TooManyPixelsError where a side is longer than the format can hold."""
        _check_sides(self.width, self.height, format)


def inspect(data: bytes, max_pixels: int) -> Header:
    """Reads the header alone; raises what `decode` would raise of it."""
    with _opened(data, max_pixels) as (name, image):
        return Header(
            image.width,
            image.height,
            image.has_transparency_data,
            _WRITTEN_AS_READ.get(name, ImageFormat.PNG),
        )


def encode(rgb: Tensor, alpha: Tensor | None, format: ImageFormat, quality: int) -> bytes:
    """Writes a picture, tagged as sRGB.

    `rgb` is uint8 (H, W, 3), `alpha` uint8 (H, W) or None. `quality` from 1 to 100 is for JPEG and WebP; PNG is
    lossless. JPEG knows no transparency: there the picture is blended over white, as paper would show it.

    Raises TooManyPixelsError where a side is longer than the format can hold.
    """
    height, width, _ = rgb.shape
    _check_sides(width, height, format)
    image = Image.fromarray(rgb.numpy())
    mask = None if alpha is None else Image.fromarray(alpha.numpy())
    if mask is not None:
        if format is ImageFormat.JPEG:
            image = Image.composite(image, Image.new("RGB", image.size, "white"), mask)
        else:
            image.putalpha(mask)
    with _file_in_memory() as file:
        match format:
            case ImageFormat.JPEG:
                # 4:4:4, because chroma is what we add: the default would halve its resolution again.
                image.save(file, "JPEG", quality=quality, subsampling="4:4:4", icc_profile=_SRGB_BYTES)
            case ImageFormat.WEBP:
                image.save(file, "WEBP", quality=quality, icc_profile=_SRGB_BYTES)
            case ImageFormat.PNG:
                # Level 1 takes a third of the default's time or less, for a file about a tenth larger.
                image.save(file, "PNG", compress_level=1, icc_profile=_SRGB_BYTES)
        file.seek(0)
        return file.read()


def _file_in_memory() -> BinaryIO:
    # Into a real file Pillow writes a JPEG without the interpreter lock; into any other it holds the lock until the
    # last byte is written, and everybody else waits. Not every Python can make a file in memory.
    return os.fdopen(os.memfd_create("photograph"), "w+b") if hasattr(os, "memfd_create") else BytesIO()


def _check_sides(width: int, height: int, format: ImageFormat) -> None:
    if max(height, width) > _LONGEST_SIDE[format]:
        raise TooManyPixelsError(
            f"The image is {width} × {height} pixels, but {format} holds at most {_LONGEST_SIDE[format]} a side; "
            f"ask for {ImageFormat.PNG} instead"
        )


@contextmanager
def _opened(data: bytes, max_pixels: int) -> Iterator[tuple[str, ImageFile]]:
    """The image with its header read and found good; whatever goes wrong with it becomes an ImageError."""
    name, reader = _reader(data)
    try:
        with reader(BytesIO(data)) as image:
            _check_header(image, name, max_pixels)
            yield name, image
    except (ImageError, MemoryError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        # Some readers apply Pillow's limit by themselves, before they tell the size.
        raise TooManyPixelsError(f"The {name} image declares far more than the {max_pixels} pixels accepted") from error
    except Exception as error:
        # Pillow documents no closed list: OSError, SyntaxError, ValueError, struct.error, zlib.error and more are seen.
        raise BrokenImageError(f"The {name} image is damaged or incomplete and cannot be decoded") from error


def _reader(data: bytes) -> tuple[str, Callable[[BytesIO], ImageFile]]:
    """The format's name and its reader, told from the first bytes."""
    for signature, reader in _READERS.items():
        if signature.match(data):
            return reader
    if (kind := unread_kind(data)) is not None:
        raise UnsupportedFormatError(f"This is {kind}, which is not read here; send {_ACCEPTED}")
    found = f"The data begin with {data[:12]!r}" if data else "The data are empty"
    raise UnsupportedFormatError(f"{found}, which is no image format read here; accepted are {_ACCEPTED}")


def _check_header(image: ImageFile, name: str, max_pixels: int) -> None:
    """Refuses, before any pixel is decoded, what is too large or of a pixel type that is not read."""
    sizes = [image.size]
    if isinstance(image, TiffImageFile) and TILEWIDTH in image.tag_v2:
        # A tile is decoded whole, even where the picture is but a corner of it.
        sizes.append((image.tag_v2[TILEWIDTH], image.tag_v2[TILELENGTH]))
    for width, height in sizes:
        if width * height > max_pixels:
            raise TooManyPixelsError(
                f"The {name} image declares {width} × {height} pixels; at most {max_pixels} pixels are accepted"
            )
        if max(width, height) > _LONGEST_SIDE[ImageFormat.PNG]:
            raise TooManyPixelsError(
                f"The {name} image declares {width} × {height} pixels; "
                f"at most {_LONGEST_SIDE[ImageFormat.PNG]} a side are accepted"
            )
    if image.mode in _WIDE_MODES:
        raise UnsupportedFormatError(
            f"The {name} image holds {_WIDE_MODES[image.mode]} (mode {image.mode}); "
            "8 bits a channel, or 16 bits of grey, are accepted"
        )


def _turn_upright(image: ImageFile) -> None:
    try:
        ImageOps.exif_transpose(image, in_place=True)
    except MemoryError:
        raise
    except Exception:
        return  # a broken EXIF block is no reason to refuse a good picture


def _separate(image: ImageFile) -> tuple[NDArray[np.float32], NDArray[np.uint8] | None]:
    """L* (H, W), and alpha (H, W) where the image has transparency."""
    width, height = image.size
    lightness = np.empty((height, width), np.float32)
    alpha = np.empty((height, width), np.uint8) if image.has_transparency_data else None
    read_lightness = _lightness_reader(image)
    rows = max(1, _STRIP_PIXELS // width)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        strip = image.crop((0, top, width, bottom))
        if strip.mode == "La":
            strip = strip.convert("LA")  # the one conversion that Pillow has for premultiplied grey
        if alpha is not None:
            alpha[top:bottom] = _read_alpha(strip)
            strip.info.pop("transparency", None)  # with it, later conversions would try to carry it along
        lightness[top:bottom] = read_lightness(strip)
    return lightness, alpha


def _read_alpha(strip: Image.Image) -> NDArray[np.uint8]:
    """The alpha of a strip that has transparency, be it a channel, a palette's, or one transparent colour."""
    if strip.mode.startswith("I;16"):
        return np.where(np.asarray(strip) == strip.info["transparency"], 0, 255).astype(np.uint8)
    return np.asarray(strip.convert("RGBA").getchannel("A"))


def _lightness_reader(image: ImageFile) -> Callable[[Image.Image], NDArray[np.float32]]:
    """What turns a strip of this image, of its mode, into L* (rows, W)."""
    icc = image.info.get("icc_profile")
    if image.mode == "LAB":
        return lambda strip: np.asarray(strip.getchannel("L")) * np.float32(100 / 255)
    if image.mode in _GRAY_MODES:
        # Profiles of scanners and cameras are a few kilobytes: what is larger is not kept.
        tone_curve = _tone_curve if icc is None or len(icc) <= _LONGEST_KEPT_PROFILE else _tone_curve.__wrapped__
        table = tone_curve(icc, *_levels_of(image))
        return lambda strip: table[np.asarray(strip if strip.mode.startswith("I;16") else strip.convert("L"))]
    mode = "CMYK" if image.mode == "CMYK" else "RGB"
    to_srgb = _srgb_converter(icc, mode)
    return lambda strip: lightness_of(np.asarray(to_srgb(strip.convert(mode))))


def _levels_of(image: ImageFile) -> tuple[int, float, bool]:
    """How many values a pixel of grey can hold, which of them is the far end from 0, and whether 0 is white."""
    if not image.mode.startswith("I;16"):
        return 256, 255, False
    if isinstance(image, TiffImageFile):
        # Above 8 bits Pillow hands out TIFF's values as stored: neither scaled from 12 bits nor, for white at zero,
        # inverted.
        white_at_zero = image.tag_v2.get(PHOTOMETRIC_INTERPRETATION) == 0
        return 65_536, 2 ** image.tag_v2[BITSPERSAMPLE][0] - 1, white_at_zero
    return 65_536, 65_535, False


_LONGEST_KEPT_PROFILE = 2**16


# Photographs mostly come one like the other, and this takes some twenty calls of torch.
@lru_cache(maxsize=16)
def _tone_curve(icc: bytes | None, count: int, end: float, white_at_zero: bool) -> NDArray[np.float32]:
    """L* of each of the values that a pixel of grey can hold; see `_levels_of`."""
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    curve = np.asarray(_srgb_converter(icc, "L")(ramp))[0, :, 0] / 255
    levels = np.arange(count) * (255 / end)
    gray = np.interp(255 - levels if white_at_zero else levels, np.arange(256), curve)
    return gray_to_lightness(torch.from_numpy(gray).float()).numpy()


def _srgb_converter(icc: bytes | None, mode: str) -> Callable[[Image.Image], Image.Image]:
    """What turns pictures of `mode` ("L", "RGB" or "CMYK") into sRGB; a profile that cannot be used is left aside."""
    if icc:
        with suppress(Exception):
            profile = ImageCms.ImageCmsProfile(BytesIO(icc))
            # A ramp of grey costs nothing unoptimised, and the optimised curve is far too dark next to black.
            flags = ImageCms.Flags.NOOPTIMIZE if mode == "L" else ImageCms.Flags.NONE
            return ImageCms.ImageCmsTransform(profile, _SRGB, mode, "RGB", flags=flags).apply
    return lambda image: image.convert("RGB")
