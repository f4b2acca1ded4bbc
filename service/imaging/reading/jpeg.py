"""JPEG's many kinds (ITU-T T.81 and T.87), told apart by their headers."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import imagecodecs
import numpy as np

from service.imaging.errors import BrokenImageError, UnsupportedFormatError
from service.imaging.reading.pillow import open_with_pillow
from service.imaging.reading.raster import Block, Raster, Space, at_once

_END_MARKER = b"\xff\xd9"
_FILLINGS = (b"", b"\xff\0" * 32, b"\x55" * 64, b"\xaa" * 64)
"""Of different bits; by itself, a decoder goes on with zeros."""

_START_OF_SCAN, _END = 0xDA, 0xD9
_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD9)}
_HUFFMAN, _LOSSLESS, _ARITHMETIC, _LS = {0xC0, 0xC1, 0xC2}, {0xC3}, {0xC9, 0xCA}, {0xF7}
_SEQUENTIAL = {0xC0, 0xC1}
_INKS = 4
_SPACES = {1: Space.GRAY, 3: Space.RGB}


@dataclass(frozen=True, slots=True)
class Frame:
    """What a frame header says."""

    process: int
    """The second byte of its marker."""
    depth: int
    """Bits a sample."""
    height: int
    width: int
    components: int


def segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """The marker segments before the first scan: the marker's second byte, and where the payload begins and ends."""
    place = 2
    while 0 <= (place := data.find(b"\xff", place)) < len(data) - 1:
        marker = data[place + 1]
        if marker in (0x00, 0xFF) or marker in _WITHOUT_LENGTH:
            place += 1 if marker == 0xFF else 2
            continue
        length = int.from_bytes(data[place + 2 : place + 4])
        end = place + 2 + length
        if marker == _END or length < 2 or end > len(data):
            return
        yield marker, place + 4, end
        if marker == _START_OF_SCAN:
            return
        place = end


def frame(data: bytes) -> Frame | None:
    """The first frame header."""
    for marker, begin, end in segments(data):
        if (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)) or marker in _LS:
            header = data[begin:end]
            if len(header) < 6:
                return None
            return Frame(marker, header[0], int.from_bytes(header[1:3]), int.from_bytes(header[3:5]), header[5])
    return None


def is_whole(data: bytes) -> bool:
    """Whether the data go on to an end marker, which entropy-coded data cannot contain."""
    # A thumbnail's, in a segment before the first scan, is not meant.
    scan = next((end for marker, _, end in segments(data) if marker == _START_OF_SCAN), len(data))
    return data.find(_END_MARKER, scan) >= 0


def open_jpeg(data: bytes, max_pixels: int) -> Raster:
    """Opens a JPEG: what Pillow does not read, or not whole, goes to libjpeg-turbo's and CharLS's own interfaces.

    Raises:
        UnsupportedFormatError: It is of a kind that is not read.
        BrokenImageError: It has no header, or is of a kind that would come back half, and ends early.
    """
    header = frame(data)
    if header is None:
        return open_with_pillow("JPEG", data, max_pixels)
    if header.width == 0:
        raise BrokenImageError("The JPEG image is damaged: it has no width")
    if header.height == 0:
        raise UnsupportedFormatError(
            "This is a JPEG that tells its height only at its end (DNL), which is not read here"
        )
    if header.process not in _HUFFMAN | _LOSSLESS | _ARITHMETIC | _LS:
        raise UnsupportedFormatError(f"This is a JPEG of the kind SOF{header.process - 0xC0}, which is not read here")
    whole = is_whole(data)
    if header.process in _HUFFMAN and header.depth == 8:
        if header.components == _INKS and not _is_adobes(data):
            raise UnsupportedFormatError(
                "This is a JPEG of four inks that does not say whether 0 or 255 is none (Adobe's marker), which is not "
                "read here"
            )
        if whole or header.process not in _SEQUENTIAL:
            raster = open_with_pillow("JPEG", data, max_pixels)
            if header.process in _SEQUENTIAL and header.components in _SPACES:
                # The same decoder without Pillow's copies: two thirds of the time.
                shape = (raster.height, raster.width, raster.channels)[: 2 + (raster.channels > 1)]
                decode = imagecodecs.jpeg8_decode
                raster.blocks = at_once(raster, 8, lambda: decode(data, out=np.empty(shape, np.uint8)))
            return raster
        data = data.rstrip(b"\xff")  # the first half of a marker
        raster = open_with_pillow("JPEG", data + _END_MARKER, max_pixels)
        raster.decoder_bytes = 2 * header.components + 2 + _share(2 * len(data), header)
        raster.blocks = _checked(data, raster.blocks)
        return raster
    if not whole:
        raise BrokenImageError("The JPEG image is incomplete: it has no end")
    if header.components not in _SPACES or not 8 <= header.depth <= 16:
        raise UnsupportedFormatError(
            f"This is a JPEG of {header.depth} bits and {header.components} components, coded in a way that is not "
            "read here with so many"
        )
    raster = Raster(
        "JPEG",
        header.width,
        header.height,
        _SPACES[header.components],
        16 if header.depth > 8 else 8,
        icc=_profile(data),
    )
    raster.decoder_bytes = raster.channels * raster.depth // 8 + 2
    if header.process in _LS:
        raster.decoder_bytes += _share(len(data), header)
        # Where the data end without a marker, CharLS goes on for seconds.
        raster.blocks = at_once(raster, header.depth, lambda: imagecodecs.jpegls_decode(data + _END_MARKER))
    else:
        raster.blocks = at_once(raster, header.depth, lambda: imagecodecs.jpeg_decode(data))
    return raster


def _share(size: int, header: Frame) -> int:
    """Of so many bytes, a pixel's."""
    return -(-size // max(1, header.width * header.height))


def _is_adobes(data: bytes) -> bool:
    # Adobe's programs invert the inks, and readers are of two minds about those of others.
    return any(marker == 0xEE and data[begin : begin + 5] == b"Adobe" for marker, begin, _ in segments(data))


def _checked(data: bytes, blocks: Callable[[], Iterator[Block]]) -> Callable[[], Iterator[Block]]:
    """The blocks of a JPEG without its end marker, if nothing else is missing."""

    def checked() -> Iterator[Block]:
        # Where the data of the picture are all there, what follows them makes no difference.
        pictures = (imagecodecs.jpeg8_decode(data + filling + _END_MARKER) for filling in _FILLINGS)
        picture = next(pictures)
        if not all(np.array_equal(picture, other) for other in pictures):
            raise BrokenImageError("The JPEG image is incomplete: it has no end")
        del picture
        yield from blocks()

    return checked


def _profile(data: bytes) -> bytes | None:
    """The ICC profile, of the parts that it is stored in (ICC.1:2022, annex B.4)."""
    parts = {}
    for marker, begin, end in segments(data):
        if marker == 0xE2 and data[begin : begin + 12] == b"ICC_PROFILE\0" and end - begin > 14:
            parts[data[begin + 12]] = data[begin + 14 : end]
    return b"".join(parts[number] for number in sorted(parts)) or None
