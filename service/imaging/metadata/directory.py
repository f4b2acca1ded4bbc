"""Directories of tags, as TIFF 6.0, Adobe's BigTIFF and Exif 2.32 (CIPA DC-008, section 4.6) have them.

Values are kept as they are stored: nothing is decoded that is not asked for, so nothing is lost.
"""

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from PIL.ExifTags import IFD, Base

from service.imaging.metadata.limits import LONGEST

Order = Literal["<", ">"]
"""Of bytes: little-endian ("II") or big-endian ("MM"), as `struct` writes it."""

BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED = 1, 2, 3, 4, 5, 7

_WORDS = {1: (1, 1), 2: (1, 1), 3: (2, 1), 4: (4, 1), 5: (4, 2), 6: (1, 1), 7: (1, 1), 8: (2, 1), 9: (4, 1),
          10: (4, 2), 11: (4, 1), 12: (8, 1), 16: (8, 1), 17: (8, 1), 129: (1, 1)}  # fmt: skip
"""By type: bytes of a word, words of a value. 129 is Exif 3.0's UTF-8. Types 13 and 18 are missing: they are offsets of
directories that are not carried along."""

_INTEGERS = {1: "B", 3: "H", 4: "I", 8: "h", 9: "i", 16: "Q"}

_NARROWED = {16: (LONG, "u8", "u4"), 17: (9, "i8", "i4")}
"""BigTIFF's 64-bit integers, which no classic directory can hold, and what they become."""

_DNG = range(50_706, 52_554)
"""Adobe's tags for raw pictures: how the source's pixels are to be developed."""

STRUCTURAL = frozenset(
    {
        *(254, 255, 256, 257, 258, 259, 262, 263, 264, 265, 266, 273, 277, 278, 279, 280, 281, 284, 288, 289, 290, 291),
        *(292, 293, 301, 317, 318, 319, 320, 321, 322, 323, 324, 325, 326, 327, 328, 330, 332, 333, 334, 336, 338, 339),
        *(340, 341, 342, 343, 344, 345, 346, 347, 351, *range(512, 522), 529, 530, 531, 532, 559),
        *(Base.XMLPacket, Base.IPTCNAA, Base.ImageResources, Base.InterColorProfile, 37_724),
        *(Base.ExifOffset, Base.GPSInfo, Base.ExifInteroperabilityOffset),
        *(33_421, 33_422, *_DNG),
    }
)
"""What says how the source's pixels are stored, and what is kept elsewhere: never carried over."""

_CHILDREN = {0: (IFD.Exif, IFD.GPSInfo), IFD.Exif: (IFD.Interop,)}
"""The directories that hang on another, by the tag that it hangs on itself; so deep it goes and no deeper."""

_MOST_FIELDS = 4096
"""Of a directory: the fullest that are met with have some two hundred."""

_KEPT_OFFSET = 2**16
"""The makers' notes are put where they were if that is below: the gap before costs no more than so much."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A tag's value: `count` values of a TIFF type, as the bytes that they are stored in."""

    type: int
    count: int
    value: bytes
    offset: int | None = None
    """Where the value began, in bytes from the TIFF header; None where nothing can depend on it."""

    @classmethod
    def text(cls, text: str) -> "Entry":
        """ASCII, as UTF-8 where that is not enough: every reader in use expects it."""
        value = text.encode() + b"\0"
        return cls(ASCII, len(value), value)

    @classmethod
    def integers(cls, type_: int, order: Order, *values: int) -> "Entry":
        """Integers of a type, such as SHORT."""
        return cls(type_, len(values), struct.pack(f"{order}{len(values)}{_INTEGERS[type_]}", *values))


@dataclass(frozen=True, slots=True)
class Directory:
    """A directory's tags, and the directories that hang on it by the tag that points to them."""

    order: Order = "<"
    entries: Mapping[int, Entry] = field(default_factory=dict)
    children: Mapping[int, "Directory"] = field(default_factory=dict)

    def numbers(self, tag: int) -> tuple[float, ...]:
        """A tag's integers or rationals; none where it is missing, of another type, or divides by 0."""
        entry = self.entries.get(tag)
        if entry is None:
            return ()
        if entry.type in _INTEGERS:
            return struct.unpack(f"{self.order}{entry.count}{_INTEGERS[entry.type]}", entry.value)
        if entry.type == RATIONAL:
            pairs = struct.iter_unpack(f"{self.order}II", entry.value)
            return tuple(above / below if below else float("nan") for above, below in pairs)
        return ()

    def text(self, tag: int) -> str:
        """A tag's text, empty where it is missing."""
        entry = self.entries.get(tag)
        return "" if entry is None else entry.value.rstrip(b"\0 ").decode(errors="replace")

    def child(self, tag: int) -> "Directory":
        """The directory that hangs on a tag; an empty one where there is none."""
        return self.children.get(tag) or Directory(self.order)

    def with_entries(self, entries: Mapping[int, Entry]) -> "Directory":
        """With these tags set; they must be in this directory's order of bytes."""
        return replace(self, entries={**self.entries, **entries})

    def with_child(self, tag: int, child: "Directory") -> "Directory":
        """With this directory hung on a tag, in place of any that hangs there."""
        return replace(self, children={**self.children, tag: child})

    def without(self, tags: Iterable[int]) -> "Directory":
        """Without these tags."""
        gone = frozenset(tags)
        return replace(self, entries={tag: entry for tag, entry in self.entries.items() if tag not in gone})

    def in_order(self, order: Order) -> "Directory":
        """In an order of bytes; the makers' notes, whose inside nobody knows, stay as they are."""
        if order == self.order:
            return self
        swapped = {tag: replace(entry, value=_swapped(entry)) for tag, entry in self.entries.items()}
        return Directory(order, swapped, {tag: child.in_order(order) for tag, child in self.children.items()})


def _swapped(entry: Entry) -> bytes:
    word, _ = _WORDS[entry.type]
    return entry.value if word == 1 else np.frombuffer(entry.value, f"u{word}").byteswap().tobytes()


def read_directory(data: bytes, offset: int | None = None) -> Directory | None:
    """The directory of a TIFF file, or of an Exif block without its "Exif\\0\\0", at an offset; None: the first one's.

    Entries that are broken are left out, as are `STRUCTURAL` ones and what exceeds `LONGEST` in all. None where there
    is no directory.
    """
    reader = _Reader.of(data)
    return None if reader is None else reader.read(reader.first if offset is None else offset, 0)


def read_values(data: bytes, offset: int | None, tags: Sequence[int]) -> list[bytes | None]:
    """The bytes at tags of a TIFF file's directory, `STRUCTURAL` ones too; None where one is missing or broken."""
    reader = _Reader.of(data)
    return [None] * len(tags) if reader is None else reader.values(reader.first if offset is None else offset, tags)


class _Reader:
    @classmethod
    def of(cls, data: bytes) -> "_Reader | None":
        for order in ("<", ">"):
            mark = b"II" if order == "<" else b"MM"
            if data[:4] == mark + struct.pack(order + "H", 42) and len(data) >= 8:
                return cls(data, order, "I", data[4:8])
            if data[:8] == mark + struct.pack(order + "3H", 43, 8, 0) and len(data) >= 16:
                return cls(data, order, "Q", data[8:16])
        return None

    def __init__(self, data: bytes, order: Order, word: str, first: bytes) -> None:
        self._data = data
        self._order: Order = order
        self._word = word
        self._head = struct.Struct(order + ("H" if word == "I" else "Q"))
        self._field = struct.Struct(f"{order}HH{word}")
        self._inline = struct.calcsize(order + word)
        self._left = LONGEST
        (self.first,) = struct.unpack(order + word, first)

    def read(self, offset: int, parent: int) -> Directory | None:
        entries: dict[int, Entry] = {}
        pointers: dict[int, int] = {}
        for tag, type_, count, at in self._fields(offset):
            if tag in _CHILDREN.get(parent, ()):
                (pointers[tag],) = struct.unpack_from(self._order + self._word, self._data, at)
            elif tag not in entries and (parent or tag not in STRUCTURAL):
                entry = self._entry(tag, type_, count, at)
                if entry is not None:
                    entries[tag] = entry
        children = {tag: child for tag, at in pointers.items() if (child := self.read(at, tag)) is not None}
        return Directory(self._order, entries, children) if entries or children else None

    def values(self, offset: int, tags: Sequence[int]) -> list[bytes | None]:
        found = {}
        for tag, type_, count, at in self._fields(offset):
            if tag in tags and tag not in found and (entry := self._entry(tag, type_, count, at)) is not None:
                found[tag] = entry.value
        return [found.get(tag) for tag in tags]

    def _fields(self, offset: int) -> Iterator[tuple[int, int, int, int]]:
        """Tag, type and count of each field of a directory, and where its value or that one's offset is."""
        begin = offset + self._head.size
        if offset < 8 or begin > len(self._data):
            return
        (count,) = self._head.unpack_from(self._data, offset)
        size = self._field.size + self._inline
        for at in range(begin, min(begin + min(count, _MOST_FIELDS) * size, len(self._data) - size + 1), size):
            yield *self._field.unpack_from(self._data, at), at + self._field.size

    def _entry(self, tag: int, type_: int, count: int, at: int) -> Entry | None:
        if type_ not in _WORDS or not count:
            return None
        word, words = _WORDS[type_]
        size = word * words * count
        if size > self._left:
            return None
        if size > self._inline:
            (at,) = struct.unpack_from(self._order + self._word, self._data, at)
        value = self._data[at : at + size]
        if len(value) < size:
            return None
        self._left -= size
        if type_ in _NARROWED:
            type_, wide, narrow = _NARROWED[type_]
            numbers = np.frombuffer(value, self._order + wide)
            narrowed = numbers.astype(self._order + narrow)
            if (narrowed != numbers).any():
                return None
            value = narrowed.tobytes()
        return Entry(type_, count, value, at if tag == Base.MakerNote else None)


def exif_block(directory: Directory) -> bytes:
    """A classic TIFF structure of this directory and its children, without "Exif\\0\\0" before it.

    It is in the directory's own order of bytes, and the makers' notes lie where they were if that is no further than
    64 KiB: their own offsets count from the header, and their integers follow the order around them.
    """
    return _Writer(directory).block


class _Writer:
    def __init__(self, directory: Directory) -> None:
        self._order = directory.order
        self._end = 8
        note = directory.child(IFD.Exif).entries.get(Base.MakerNote)
        self._hole = range(0)
        if note is not None and note.offset is not None and 8 <= note.offset < _KEPT_OFFSET:
            self._hole = range(note.offset, note.offset + len(note.value))
        self._pieces: dict[int, bytes] = {}
        first = self._write(directory)
        block = bytearray(max(at + len(piece) for at, piece in self._pieces.items()))
        block[:8] = struct.pack(f"{self._order}2sHI", b"II" if self._order == "<" else b"MM", 42, first)
        for at, piece in self._pieces.items():
            block[at : at + len(piece)] = piece
        self.block = bytes(block)

    def _write(self, directory: Directory) -> int:
        """Lays a directory and all that it points to; answers where it begins."""
        tags = sorted({*directory.entries, *directory.children})
        begin = self._place(2 + 12 * len(tags) + 4)
        table = struct.pack(self._order + "H", len(tags))
        for tag in tags:
            if tag in directory.children:
                table += struct.pack(self._order + "HHII", tag, LONG, 1, self._write(directory.children[tag]))
                continue
            entry = directory.entries[tag]
            table += struct.pack(self._order + "HHI", tag, entry.type, entry.count)
            if len(entry.value) <= 4:
                table += entry.value.ljust(4, b"\0")
                continue
            stays = bool(self._hole) and entry.offset == self._hole.start
            at = self._hole.start if stays else self._place(len(entry.value))
            self._pieces[at] = entry.value
            table += struct.pack(self._order + "I", at)
        self._pieces[begin] = table + bytes(4)  # no directory follows, so there is no thumbnail
        return begin

    def _place(self, size: int) -> int:
        """Where so many bytes go: on an even offset, after what is placed and clear of the makers' notes."""
        at = self._end + self._end % 2
        if at < self._hole.stop and at + size > self._hole.start:
            at = self._hole.stop + self._hole.stop % 2
        self._end = at + size
        return at
