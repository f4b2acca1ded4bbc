"""PNG, JPEG 2000, AVIF and HEIC of more than 8 bits a sample, which Pillow reads as 8 or not at all."""

import re
import struct
from typing import Any

import imagecodecs
import numpy as np
import pi_heif
from numpy.typing import NDArray

from service.imaging.errors import BrokenImageError, UnsupportedFormatError
from service.imaging.reading.pillow import open_with_pillow
from service.imaging.reading.raster import Raster, Space, at_once

_OTHER_COLORS = re.compile(rb"colr(?!\x01..\x00\x00\x00[\x10\x11]|\x02)", re.DOTALL)
"""A JP2's colours that are neither sRGB, nor grey, nor of a profile (ITU-T T.800, I.5.3.3)."""

_DEEP_AVIF_BYTES = 20
"""A pixel's, of planes and pixels of two bytes a sample."""

_HEIC_PICTURES = 4
"""Planes, and as many pixels for libheif, for pi-heif and to shift them; not measured, for want of an encoder."""

_PNG_COLOR, _PNG_ALPHA, _PNG_PALETTE = 2, 4, 1

pi_heif.options.DECODE_THREADS = 1  # who decodes has one core


def open_png(data: bytes, max_pixels: int) -> Raster:
    """Opens a PNG.

    Raises:
        UnsupportedFormatError: It is Apple's own kind.
    """
    if data[12:16] == b"CgBI":
        raise UnsupportedFormatError("This is a PNG of Apple's own kind (CgBI), which is not read here")
    raster = open_with_pillow("PNG", data, max_pixels)
    chunks = _png_chunks(data)
    raster.gamma = _png_gamma(chunks)
    depth, color = data[24], data[25]
    keyed = color & (_PNG_COLOR | _PNG_ALPHA | _PNG_PALETTE) == 0 and depth < 8 and b"tRNS" in chunks
    if depth == 16 or keyed:  # of less than 8 bits, Pillow compares the transparent grey with another one
        raster.depth = max(8, depth)
        raster.space = Space.RGB if color & _PNG_COLOR else Space.GRAY
        raster.decoder_bytes = raster.channels * raster.depth // 8
        raster.blocks = at_once(raster, raster.depth, lambda: imagecodecs.png_decode(data))
    return raster


def _png_chunks(data: bytes) -> dict[bytes, bytes]:
    """What comes before the pixels, by type."""
    found = {}
    place = 8
    while place + 12 <= len(data):
        length, kind = struct.unpack(">I4s", data[place : place + 8])
        if kind == b"IDAT":
            break
        found[kind] = data[place + 8 : place + 8 + length]
        place += 12 + length
    return found


def _png_gamma(found: dict[bytes, bytes]) -> float | None:
    """The exponent that values were coded with, where the file says it, and not that it is sRGB, nor a profile."""
    # PNG, third edition, 12.1: cICP, iCCP and sRGB go before gAMA.
    if b"gAMA" not in found or found.keys() & {b"sRGB", b"iCCP", b"cICP"} or len(found[b"gAMA"]) != 4:
        return None
    gamma = int.from_bytes(found[b"gAMA"]) / 100_000
    # Outside, no picture would be left of it; and sRGB's own is most often what 1/2.2 stands for.
    return gamma if 0.1 <= gamma <= 10 and abs(gamma - 1 / 2.2) > 0.01 else None


def open_jpeg2000(data: bytes, max_pixels: int) -> Raster:
    """Opens a JPEG 2000 codestream or file (ITU-T T.800).

    Raises:
        UnsupportedFormatError: It is of a kind that is not read.
        BrokenImageError: It has no codestream.
    """
    size = data.find(b"\xff\x4f\xff\x51")
    components = data[size + 42 : size + 42 + 3 * int.from_bytes(data[size + 40 : size + 42])]
    if size < 0 or not components:
        raise BrokenImageError("The JPEG 2000 image is damaged: it has no header")
    depths = {1 + (bits & 127) for bits in components[::3]}
    channels = {1: (Space.GRAY, False), 2: (Space.GRAY, True), 3: (Space.RGB, False), 4: (Space.RGB, True)}
    plain = len(depths) == 1 and max(depths) <= 16 and not any(bits & 128 for bits in components[::3])
    known = _OTHER_COLORS.search(data[:size]) is None
    whole = set(components[1::3]) | set(components[2::3]) == {1}
    if not plain or not known or not whole or len(components) // 3 not in channels:
        raise UnsupportedFormatError("This is a JPEG 2000 image with components of a kind that is not read here")
    raster = open_with_pillow("JPEG 2000", data, max_pixels)
    if depths == {8}:
        return raster
    raster.space, raster.alpha = channels[len(components) // 3]
    raster.depth = 16
    raster.blocks = at_once(raster, max(depths), lambda: imagecodecs.jpeg2k_decode(data))
    return raster


def open_avif(data: bytes, max_pixels: int) -> Raster:
    """Opens an AVIF (AV1 Image File Format, version 1.1).

    Raises:
        UnsupportedFormatError: It is of a kind that is not read.
    """
    try:
        raster = open_with_pillow("AVIF", data, max_pixels)
    except SyntaxError as error:
        # Libavif takes no file that breaks a rule of the standard's, and many do.
        raise UnsupportedFormatError(f"This is a damaged AVIF, or of a kind that is not read here: {error}") from error
    configuration = data.find(b"av1C")
    flags = data[configuration + 6] if 0 <= configuration < len(data) - 6 else 0
    if flags & 0x40:
        if b"moov" in data:  # imagecodecs writes beyond its memory where there are several pictures
            raise UnsupportedFormatError("This is an animated AVIF of more than 8 bits, which is not read here")
        raster.depth = 16
        raster.decoder_bytes = _DEEP_AVIF_BYTES
        channels = raster.channels
        raster.blocks = at_once(raster, 12 if flags & 0x20 else 10, lambda: _avif(data, channels))
    return raster


def _avif(data: bytes, channels: int) -> NDArray[Any]:
    pixels: NDArray[Any] = imagecodecs.avif_decode(data, index=0, numthreads=1)
    if pixels.ndim == 2:
        pixels = pixels[..., None].repeat(3, axis=2)  # Pillow calls grey ones RGB, too
    return pixels[..., :channels]


def open_heic(data: bytes, max_pixels: int) -> Raster:  # noqa: ARG001 - as the others
    """Opens a HEIC (ISO/IEC 23008-12); what it asks to be turned or cropped is.

    Raises:
        UnsupportedFormatError: Its pixels are of a type that is not read.
    """
    try:
        pictures = pi_heif.open_heif(data, convert_hdr_to_8bit=False)
    except (SyntaxError, RuntimeError) as error:
        if "unsupported feature" in str(error).lower():
            raise UnsupportedFormatError(f"This is a HEIF image of a kind that is not read here: {error}") from error
        raise
    if not len(pictures):
        raise UnsupportedFormatError("This is a HEIF image without HEVC, which is not read here")
    image = pictures[pictures.primary_index]
    kind, _, bits = image.mode.partition(";")
    # The names are Pillow's; a and A tell whether colours were multiplied by alpha.
    spaces = {"L": Space.GRAY, "I": Space.GRAY, "LA": Space.GRAY, "RGB": Space.RGB, "RGBA": Space.RGB}
    premultiplied = kind.endswith("a")
    if (space := spaces.get(kind.replace("a", "A"))) is None:
        raise UnsupportedFormatError(f"The HEIC image holds pixels of the type {image.mode}, which is not read here")
    depth = 16 if bits.startswith("16") else 8
    width, height = image.size
    coded = image.info["bit_depth"] if depth == 16 else 8

    def decode() -> NDArray[Any]:
        pixels = np.asarray(image)[:height, :width]
        return pixels >> (16 - coded) if depth == 16 else pixels  # they have been shifted to the left

    channels = space.channels + kind.endswith(("a", "A"))
    raster = Raster(
        "HEIC",
        width,
        height,
        space,
        depth,
        decoder_bytes=channels * depth // 8 * _HEIC_PICTURES,
        alpha=kind in ("LA", "RGBA", "RGBa"),
        premultiplied=premultiplied,
        icc=image.info.get("icc_profile"),
        orientation=1,
    )
    raster.blocks = at_once(raster, coded, decode)
    return raster
