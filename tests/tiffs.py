"""TIFF files written by hand, for kinds that no library writes (Adobe TIFF 6.0, and BigTIFF)."""

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL.TiffTags import BYTE, DOUBLE, LONG, LONG8, SHORT, UNDEFINED

from service.imaging.metadata.directory import Order

Value = bytes | int | float | Sequence[int] | Sequence[float]

_DOUBLES = {340, 341}
_SUB_DIRECTORIES = 330
_FORMATS = {BYTE: "B", SHORT: "H", LONG: "I", DOUBLE: "d", LONG8: "Q"}


@dataclass(frozen=True)
class Page:
    """A directory, its strips or tiles, and the directories below it."""

    tags: Mapping[int, Value]
    chunks: Sequence[bytes] = ()
    below: Sequence["Page"] = ()
    tiled: bool = False


@dataclass(frozen=True)
class Layout:
    """How a page's samples are cut, in which order their bytes are, and what becomes of each strip or tile."""

    order: Order = "<"
    rows: int | None = None
    tile: tuple[int, int] | None = None
    """Height and width."""
    planar: bool = False
    code: Callable[[bytes], bytes] = bytes
    reverse: bool = False
    """Whether the lowest bit of a byte comes first (FillOrder 2)."""
    tags: Mapping[int, Value] = field(default_factory=dict)


PLAIN = Layout()


def page(samples: NDArray[Any], photometric: int, layout: Layout = PLAIN, bits: int | None = None) -> Page:
    """Samples (h, w, n) as a page; `bits` of each, where they are not those of the type."""
    height, width, count = samples.shape
    bits = bits or 8 * samples.dtype.itemsize
    kind = {"u": 1, "i": 2, "f": 3}[samples.dtype.kind]
    tags: dict[int, Value] = {
        256: width, 257: height, 258: [bits] * count, 262: photometric, 277: count, 284: 2 if layout.planar else 1,
        339: [kind] * count,
    }  # fmt: skip
    across, down = width, layout.rows or height
    if layout.tile is not None:
        down, across = tags[323], tags[322] = layout.tile
    else:
        tags[278] = down
    if layout.reverse:
        tags[266] = 2
    chunks = []
    for plane in np.split(samples, count, axis=2) if layout.planar else [samples]:
        for top in range(0, height, down):
            for left in range(0, width, across):
                chunk = plane[top : top + down, left : left + across]
                if layout.tile is not None:
                    missing = down - chunk.shape[0], across - chunk.shape[1]
                    chunk = np.pad(chunk, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="edge")
                coded = layout.code(packed(chunk, bits, layout.order))
                chunks.append(reversed_bits(coded) if layout.reverse else coded)
    return Page(tags | dict(layout.tags), chunks, tiled=layout.tile is not None)


def packed(samples: NDArray[Any], bits: int, order: Order) -> bytes:
    """Samples as they are stored: whole bytes in their order, other sizes from the highest bit on."""
    if bits == 8 * samples.dtype.itemsize:
        return samples.astype(samples.dtype.newbyteorder(order)).tobytes()
    if bits == 24:
        three = samples.astype(">u4").view(np.uint8).reshape(*samples.shape, 4)[..., 1:]
        return three[..., :: 1 if order == ">" else -1].tobytes()
    shifted = samples.astype(np.uint64)[..., None] >> np.arange(bits - 1, -1, -1, dtype=np.uint64)
    return np.packbits((shifted & 1).astype(np.uint8).reshape(len(samples), -1), axis=1).tobytes()


def reversed_bits(data: bytes) -> bytes:
    """Each byte with its lowest bit first."""
    bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
    return np.packbits(bits).tobytes()


def tiff(*pages: Page, order: Order = "<", big: bool = False) -> bytes:
    """A file of these pages."""
    mark = b"II" if order == "<" else b"MM"
    head = mark + (struct.pack(order + "3HQ", 43, 8, 0, 0) if big else struct.pack(order + "HI", 42, 0))
    file = _File(bytearray(head), order, big)
    file.chain(pages, len(head) - (8 if big else 4))
    return bytes(file.data)


@dataclass
class _File:
    data: bytearray
    order: Order
    big: bool

    def chain(self, pages: Sequence[Page], link: int) -> None:
        """Appends directories, the first of which the word at `link` points to."""
        for each in pages:
            begin, following = self.directory(each)
            struct.pack_into(self.order + ("Q" if self.big else "I"), self.data, link, begin)
            link = following

    def directory(self, page: Page) -> tuple[int, int]:
        """Appends one; where it begins, and where the next one's offset goes."""
        tags: dict[int, Value] = dict(page.tags)
        if page.chunks:
            offsets = [self.append(chunk) for chunk in page.chunks]
            tags = {
                324 if page.tiled else 273: offsets,
                325 if page.tiled else 279: [len(c) for c in page.chunks],
            } | tags
        if page.below:
            tags[_SUB_DIRECTORIES] = [self.directory(each)[0] for each in page.below]
        counter, entry, word = ("Q", "HHQ", "Q") if self.big else ("H", "HHI", "I")
        fields = [self.field(tag, value, struct.calcsize("=" + word)) for tag, value in sorted(tags.items())]
        begin = self.append(struct.pack(self.order + counter, len(fields)))
        for tag, kind, count, value in fields:
            self.data += struct.pack(self.order + entry, tag, kind, count) + value
        self.data += bytes(struct.calcsize("=" + word))
        return begin, len(self.data) - struct.calcsize("=" + word)

    def field(self, tag: int, value: Value, room: int) -> tuple[int, int, int, bytes]:
        if isinstance(value, bytes):
            kind, count, stored = UNDEFINED, len(value), value
        else:
            values = [value] if isinstance(value, int | float) else list(value)
            kind = DOUBLE if tag in _DOUBLES else LONG if max(values) > 65_535 else SHORT
            count, stored = len(values), struct.pack(f"{self.order}{len(values)}{_FORMATS[kind]}", *values)
        if len(stored) > room:
            stored = struct.pack(self.order + ("Q" if self.big else "I"), self.append(stored))
        return tag, kind, count, stored.ljust(room, b"\0")

    def append(self, data: bytes) -> int:
        self.data += bytes(len(self.data) % 2)
        begin = len(self.data)
        self.data += data
        return begin
