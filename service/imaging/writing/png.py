"""PNG (W3C Recommendation, third edition; ISO/IEC 15948), written in bands that know nothing of each other.

Rows are filtered by Paeth's predictor; only a band's first one is by what is to the left, because the row above it is
another thread's. Each band is compressed by itself and ends on a whole byte, with an empty stored block (RFC 1951), so
that one after the other they are one stream. Its checksum (RFC 1950) is put together from the bands' own.
"""

import struct
from collections.abc import Iterable
from io import BytesIO
from typing import Any

import numpy as np
from isal import isal_zlib
from numba import int64, types, uint8, void
from numpy.typing import NDArray

from service.imaging.compilation import compiled
from service.imaging.writing.sheets import BandedSheet, Layout

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}
_SUB, _PAETH = 1, 4

_LEVEL = 2
"""Of 0 to 3. Level 1 is a twentieth faster for a hundredth more, level 3 half as fast for nothing, and level 0 has a
table of codes that is made for other data than these."""

_ZLIB_HEADER = b"\x78\x01"
_LAST_BLOCK = b"\x03\x00"
_ADLER_BASE = 65_521

_u8, _i16 = np.uint8, np.int16


class PngSheet(BandedSheet):
    """A PNG file of any layout."""

    def __init__(
        self, layout: Layout, icc_profile: bytes | None = None, chunks: Iterable[tuple[bytes, bytes]] = ()
    ) -> None:
        """`chunks` are further ones, as type and data, such as eXIf, iTXt or pHYs; they stand before the pixels."""
        header = struct.pack(">2I5B", layout.width, layout.height, layout.depth, _COLOR_TYPES[layout.channels], 0, 0, 0)
        head = [_SIGNATURE, *_chunk(b"IHDR", header)]
        if icc_profile is not None:
            head += _chunk(b"iCCP", b"ICC Profile\0\0", isal_zlib.compress(icc_profile))
        for type_, data in chunks:
            head += _chunk(type_, data)
        super().__init__(layout, b"".join(head))
        self._pixel_bytes = layout.channels * layout.depth // 8
        self._checksums = [0] * layout.bands
        self._lengths = [0] * layout.bands

    def _encode(self, index: int, pixels: NDArray[Any]) -> bytes:
        stored = pixels if self.layout.depth == 8 else pixels.astype(">u2")
        filtered = _filter(np.ascontiguousarray(stored).view(np.uint8).reshape(len(pixels), -1), self._pixel_bytes)
        self._checksums[index], self._lengths[index] = isal_zlib.adler32(filtered), filtered.size
        compressor = isal_zlib.compressobj(_LEVEL, isal_zlib.DEFLATED, -isal_zlib.MAX_WBITS)
        parts = compressor.compress(filtered), compressor.flush(isal_zlib.Z_SYNC_FLUSH)
        return b"".join(_chunk(b"IDAT", *parts) if index else _chunk(b"IDAT", _ZLIB_HEADER, *parts))

    def _end(self, file: BytesIO) -> None:
        checksum = 1
        for band, length in zip(self._checksums, self._lengths, strict=True):
            checksum = _adler32_combine(checksum, band, length)
        file.writelines(_chunk(b"IDAT", _LAST_BLOCK, struct.pack(">I", checksum)))
        file.writelines(_chunk(b"IEND"))


def _chunk(type_: bytes, *parts: bytes) -> tuple[bytes, ...]:
    checksum = isal_zlib.crc32(type_)
    for part in parts:
        checksum = isal_zlib.crc32(part, checksum)
    return struct.pack(">I", sum(map(len, parts))), type_, *parts, struct.pack(">I", checksum)


def _adler32_combine(first: int, second: int, length: int) -> int:
    """Adler-32 (RFC 1950) of two pieces of data, from that of each and the second one's length."""
    low = (first & 0xFFFF) + (second & 0xFFFF) - 1
    high = (first >> 16) + (second >> 16) + length * ((first & 0xFFFF) - 1)
    return high % _ADLER_BASE << 16 | low % _ADLER_BASE


def _filter(rows: NDArray[np.uint8], pixel_bytes: int) -> NDArray[np.uint8]:
    """Rows of bytes as PNG stores them: the filter's number, and each byte less what is predicted of it."""
    height, width = rows.shape
    filtered = np.empty((height, 1 + width), np.uint8)
    filtered[0, 0], filtered[1:, 0] = _SUB, _PAETH
    values = filtered[:, 1:]
    values[0, :pixel_bytes] = rows[0, :pixel_bytes]
    np.subtract(rows[0, pixel_bytes:], rows[0, :-pixel_bytes], out=values[0, pixel_bytes:])
    # Paeth's prediction where nothing is to the left: what is above.
    np.subtract(rows[1:, :pixel_bytes], rows[:-1, :pixel_bytes], out=values[1:, :pixel_bytes])
    _filter_paeth(rows, pixel_bytes, filtered)
    return filtered


@compiled(void(types.Array(uint8, 2, "C", readonly=True), int64, uint8[:, ::1]))
def _filter_paeth(rows: NDArray[np.uint8], pixel_bytes: int, filtered: NDArray[np.uint8]) -> None:
    """All but the first row and the first pixel of each. Compiled: by numpy it takes ten times as long."""
    for y in range(1, rows.shape[0]):
        # Of one dimension and in 16 bits throughout: of others, the loop would not be vectorised, or to less.
        lefts, corners = rows[y], rows[y - 1]
        pixels, aboves, values = lefts[pixel_bytes:], corners[pixel_bytes:], filtered[y, 1 + pixel_bytes :]
        for x in range(len(pixels)):
            left, above, corner = _i16(lefts[x]), _i16(aboves[x]), _i16(corners[x])
            to_left, to_above = abs(_i16(above - corner)), abs(_i16(left - corner))
            to_corner = abs(_i16(left + above - corner - corner))
            nearest = above if to_above <= to_corner else corner
            nearest = left if to_left <= to_above and to_left <= to_corner else nearest
            values[x] = _u8(pixels[x] - nearest)
