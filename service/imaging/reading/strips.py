"""A TIFF's strips and tiles, decoded one after the other."""

import math
import struct
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from tifffile import COMPRESSION, PLANARCONFIG, TiffPage

from service.imaging.errors import BrokenImageError, UnsupportedFormatError
from service.imaging.reading.jpeg import frame, is_whole
from service.imaging.reading.pillow import open_webp, open_with_pillow
from service.imaging.reading.raster import Raster

SELF_DESCRIBED: dict[int, str] = {COMPRESSION.WEBP: "WebP", COMPRESSION.PNG: "PNG", COMPRESSION.JPEG2000: "JPEG 2000"}
"""Compressions whose strips say their own size."""

_FAX = {COMPRESSION.CCITTRLE, COMPRESSION.CCITTFAX3, COMPRESSION.CCITTFAX4}
_FAX_OPTIONS = 292
_MORE_CODES = b"\xff" * 8 + b"\0\1" + b"\xff" * 54
"""Wrong ones within a line; behind its end, CCITT G3 looks for the mark of another one, which is there."""

_LARGER = 4
"""So many times as many pixels as are asked for a strip may say that it has: those at the edges may be whole tiles."""


_COPIES: dict[int, int] = {COMPRESSION.NONE: 2, COMPRESSION.JPEG2000: 8, COMPRESSION.WEBP: 6, COMPRESSION.PNG: 3}
_COPIES_ELSE = 3
"""So many times the size of its samples a strip takes while it is decoded: see tests/unit/imaging/test_memory.py."""


class Strip(NamedTuple):
    """A rectangle of the page."""

    top: int
    left: int
    samples: NDArray[Any]
    """(h, w, samples a pixel), as stored; it may reach beyond the page."""


def decoder_of(page: TiffPage) -> Callable[..., Any]:
    """What decodes the page's strips: tifffile reads some of what it needs for that from the file."""
    tables = (
        {"jpegtables": page.jpegtables, "jpegheader": page.jpegheader} if page.compression == COMPRESSION.JPEG else {}
    )
    return partial(page.decode, **tables)


def strips(data: bytes, page: TiffPage, decode: Callable[..., Any]) -> Iterator[Strip]:
    """All of them; the page's file may have been closed.

    Raises:
        BrokenImageError: One is not whole.
    """
    planes = page.samplesperpixel if page.planarconfig == PLANARCONFIG.SEPARATE else 1
    count = math.prod(page.chunked)
    if min(len(page.dataoffsets), len(page.databytecounts)) < count:
        raise BrokenImageError("The TIFF image is incomplete: it has fewer strips than its size asks for")
    read = _raw if _is_raw(page) else partial(_decoded, decode)
    each = count // planes
    for number in range(each):
        parts = [read(data, page, number + plane * each) for plane in range(planes)]
        samples = parts[0].samples if planes == 1 else np.concatenate([part.samples for part in parts], axis=2)
        yield parts[0]._replace(samples=samples)


def chunk_bytes(page: TiffPage) -> int:
    """What decoding a strip or tile takes at a time, in bytes for each pixel of the page."""
    if _is_raw(page) and page.planarconfig == PLANARCONFIG.CONTIG:
        return 0
    height, width = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, page.imagewidth)
    if not page.is_tiled:
        height = min(height, page.imagelength)
    samples: int = page.samplesperpixel * (page.dtype.itemsize if page.dtype is not None else 1)
    taken: int = height * width * samples * _COPIES.get(page.compression, _COPIES_ELSE)
    return math.ceil(taken / (page.imagelength * page.imagewidth))


def _is_raw(page: TiffPage) -> bool:
    """Whether the samples lie in the file as an array."""
    return (
        page.compression == COMPRESSION.NONE
        and page.predictor == page.fillorder == 1
        and page.dtype is not None
        and page.bitspersample == 8 * page.dtype.itemsize
    )


def _raw(data: bytes, page: TiffPage, index: int) -> Strip:
    """Not copied: a strip may be the whole of a large picture."""
    contiguous = page.samplesperpixel if page.planarconfig == PLANARCONFIG.CONTIG else 1
    if page.is_tiled:
        across, height, width = -(-page.imagewidth // page.tilewidth), page.tilelength, page.tilewidth
        down = -(-page.imagelength // height)
        row, column = divmod(index % (across * down), across)
    else:
        height, width, column = page.rowsperstrip, page.imagewidth, 0
        row = index % -(-page.imagelength // height)
    top = row * height
    if not page.is_tiled:
        height = min(height, page.imagelength - top)
    size = height * width * contiguous
    offset = page.dataoffsets[index]
    assert page.dtype is not None
    if offset + size * page.dtype.itemsize > len(data) or page.databytecounts[index] < size * page.dtype.itemsize:
        raise _lost()
    samples = np.frombuffer(data, page.dtype.newbyteorder(page.parent.byteorder), size, offset)
    return Strip(top, column * width, samples.reshape(height, width, contiguous))


def _decoded(decode: Callable[..., Any], data: bytes, page: TiffPage, index: int) -> Strip:
    offset, count = page.dataoffsets[index], page.databytecounts[index]
    if count == 0 or offset + count > len(data):
        raise _lost()
    packed = data[offset : offset + count]
    _check(packed, page)
    samples, (_, _, top, left, _), _ = decode(packed, index)
    if samples is None:
        raise _lost()
    if page.compression in _FAX and not np.array_equal(samples.squeeze(), _by_libtiff(packed, page, samples).squeeze()):
        raise BrokenImageError("The TIFF image is damaged or incomplete: some of its CCITT codes are none")
    return Strip(top, left, samples[0])


def _check(packed: bytes, page: TiffPage) -> None:
    """Refuses what a decoder would fill up, or make larger than it may be."""
    height, width = page.chunks[-2:] if page.planarconfig == PLANARCONFIG.SEPARATE else page.chunks[:2]
    if page.compression == COMPRESSION.JPEG:
        header = frame(packed)
        if header is None or not is_whole(packed):
            raise _lost()
        size = header.width * header.height
    elif kind := SELF_DESCRIBED.get(page.compression):
        most = _LARGER * height * width
        raster: Raster = open_webp(packed, most) if kind == "WebP" else open_with_pillow(kind, packed, most)
        size = raster.width * raster.height
    else:
        return
    if size > _LARGER * height * width:
        raise UnsupportedFormatError("This is a TIFF whose strips are larger than it says, which is not read here")


def _by_libtiff(packed: bytes, page: TiffPage, samples: NDArray[Any]) -> NDArray[Any]:
    """What libtiff makes of a strip of CCITT codes, were there more of them behind it.

    Decoders go on after a wrong code, and at the end of the data, as if nothing were amiss, but each in its own way:
    what two of them see alike was neither damaged nor cut.
    """
    if page.fillorder == 2:
        packed = bytes(imagecodecs.bitorder_decode(packed))
    packed += _MORE_CODES
    height, width = samples.shape[1:3]
    entries = {
        256: width, 257: height, 258: 1, 259: page.compression, 262: 1, 277: 1, 278: height, 279: len(packed),
        _FAX_OPTIONS: page.tags.valueof(_FAX_OPTIONS, 0),
    }  # fmt: skip
    entries[273] = 8 + 2 + 12 * (len(entries) + 1) + 4
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(entries.items()))
    head = b"II*\0" + struct.pack("<IH", 8, len(entries)) + directory + bytes(4)
    decoded: NDArray[Any] = imagecodecs.tiff_decode(head + packed)
    return decoded


def _lost() -> BrokenImageError:
    return BrokenImageError("The TIFF image is incomplete: a part of it is missing")
