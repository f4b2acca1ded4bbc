"""TIFF 6.0 (Adobe, 1992), and Adobe's BigTIFF where the file would pass 4 GiB, written in bands: each is a strip.

Little-endian. The strips come first and the directory last, because it tells where they are. Adobe Deflate is from
Adobe's Photoshop TIFF Technical Notes (2002).
"""

import struct
from enum import IntEnum
from io import BytesIO
from itertools import accumulate
from typing import Any

import imagecodecs
import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray
from PIL.ExifTags import Base
from PIL.TiffTags import LONG, LONG8, RATIONAL, SHORT, UNDEFINED

from service.imaging.metadata.directory import Directory, Entry
from service.imaging.writing.sheets import BandedSheet, Layout

_LEVEL = 2
"""Of ISA-L's Deflate, 0 to 3: see png.py."""

_HEADER_BYTES = 16
"""BigTIFF's. A classic header is 8, and the other 8 stay empty: which it is to be is known last."""

_LARGEST_CLASSIC = 2**32 - 1


class Compression(IntEnum):
    """How strips are compressed, by TIFF's own numbers. LZW and Deflate are of the differences between neighbours."""

    NONE = 1
    LZW = 5
    DEFLATE = 8


class TiffSheet(BandedSheet):
    """A TIFF file of any layout."""

    def __init__(
        self,
        layout: Layout,
        compression: Compression,
        icc_profile: bytes | None = None,
        directory: Directory | None = None,
    ) -> None:
        """`directory` is what the file's own one says beside how the pixels are stored; tags of that are not for it.

        Raises:
            ValueError: `directory` is big-endian.
        """
        if directory is not None and directory.order != "<":
            raise ValueError("the file is little-endian, and the directory is not")
        super().__init__(layout, bytes(_HEADER_BYTES))
        self._compression = compression
        self._icc_profile = icc_profile
        self._directory = directory
        self._sizes = [0] * layout.bands

    def _encode(self, index: int, pixels: NDArray[Any]) -> bytes:
        stored = pixels.astype(pixels.dtype.newbyteorder("<"), copy=False)
        match self._compression:
            case Compression.NONE:
                encoded = stored.tobytes()
            case Compression.LZW:
                encoded = bytes(imagecodecs.lzw_encode(_differences(stored).tobytes()))
            case Compression.DEFLATE:
                encoded = isal_zlib.compress(_differences(stored), _LEVEL)
        self._sizes[index] = len(encoded)
        return encoded

    def _end(self, file: BytesIO) -> None:
        file.write(bytes(file.tell() % 2))
        offset = file.tell()
        big = (
            offset > _LARGEST_CLASSIC
            or offset + len(_laid_out(self._whole_directory(LONG), 0, False)) > _LARGEST_CLASSIC
        )
        file.write(_laid_out(self._whole_directory(LONG8 if big else LONG), offset, big))
        file.seek(0)
        file.write(struct.pack("<2s3HQ", b"II", 43, 8, 0, offset) if big else struct.pack("<2sHI", b"II", 42, offset))

    def _whole_directory(self, offset_type: int) -> Directory:
        """What is given, and how the pixels are stored."""
        layout, given = self.layout, self._directory or Directory()
        entries: dict[int, Entry] = {
            **given.entries,
            **({} if Base.XResolution in given.entries else _SQUARE_PIXELS),
            Base.ImageWidth: Entry.integers(LONG, "<", layout.width),
            Base.ImageLength: Entry.integers(LONG, "<", layout.height),
            Base.BitsPerSample: Entry.integers(SHORT, "<", *[layout.depth] * layout.channels),
            Base.Compression: Entry.integers(SHORT, "<", self._compression),
            Base.PhotometricInterpretation: Entry.integers(SHORT, "<", 1 if layout.channels < 3 else 2),
            Base.StripOffsets: Entry.integers(offset_type, "<", *accumulate(self._sizes[:-1], initial=_HEADER_BYTES)),
            Base.SamplesPerPixel: Entry.integers(SHORT, "<", layout.channels),
            Base.RowsPerStrip: Entry.integers(LONG, "<", min(layout.rows, layout.height)),
            Base.StripByteCounts: Entry.integers(offset_type, "<", *self._sizes),
            Base.PlanarConfiguration: Entry.integers(SHORT, "<", 1),
            Base.SampleFormat: Entry.integers(SHORT, "<", *[1] * layout.channels),
        }
        if self._compression is not Compression.NONE:
            entries[Base.Predictor] = Entry.integers(SHORT, "<", 2)
        if layout.transparent:
            entries[Base.ExtraSamples] = Entry.integers(SHORT, "<", 2)
        if self._icc_profile is not None:
            entries[Base.InterColorProfile] = Entry(UNDEFINED, len(self._icc_profile), self._icc_profile)
        return Directory(entries=entries, children=given.children)


_ONE = Entry(RATIONAL, 1, struct.pack("<II", 1, 1))
_SQUARE_PIXELS: dict[int, Entry] = {
    Base.XResolution: _ONE,
    Base.YResolution: _ONE,
    Base.ResolutionUnit: Entry.integers(SHORT, "<", 1),
}
"""TIFF demands a resolution; this one names no unit."""


def _differences(pixels: NDArray[Any]) -> NDArray[Any]:
    """Each value less the one of the same channel to the left (TIFF 6.0, section 14: predictor 2)."""
    differences = np.empty_like(pixels, order="C")
    differences[:, 0] = pixels[:, 0]
    np.subtract(pixels[:, 1:], pixels[:, :-1], out=differences[:, 1:])
    return differences


def _laid_out(directory: Directory, offset: int, big: bool) -> bytes:
    """A directory at an offset, with all that it points to behind it."""
    count, head, word = ("<Q", "<HHQ", "<Q") if big else ("<H", "<HHI", "<I")
    room = struct.calcsize(word)
    tags = sorted({*directory.entries, *directory.children})
    table = [struct.pack(count, len(tags))]
    values: list[bytes] = []
    end = offset + len(table[0]) + len(tags) * (struct.calcsize(head) + room) + room
    for tag in tags:
        if (child := directory.children.get(tag)) is not None:
            table.append(struct.pack(head, tag, LONG8 if big else LONG, 1))
            value = _laid_out(child, end, big)
        else:
            entry = directory.entries[tag]
            table.append(struct.pack(head, tag, entry.type, entry.count))
            value = entry.value
            if len(value) <= room:
                table.append(value.ljust(room, b"\0"))
                continue
        table.append(struct.pack(word, end))
        values += value, bytes(len(value) % 2)
        end += len(value) + len(value) % 2
    return b"".join((*table, bytes(room), *values))  # no directory follows
