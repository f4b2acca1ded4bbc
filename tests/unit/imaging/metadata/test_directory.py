"""TIFF's directories: every value comes back byte for byte, whoever reads it."""

import io
import struct
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image
from PIL.ExifTags import IFD, Base

from service.imaging.metadata.directory import (
    ASCII,
    RATIONAL,
    SHORT,
    UNDEFINED,
    Directory,
    Entry,
    Order,
    exif_block,
    read_directory,
)

ORDERS: list[Order] = ["<", ">"]


def exif(order: Order, note_at: int | None = None) -> Directory:
    """All types in three generations of directories."""
    numbers = struct.pack(f"{order}2I", 1, 125)
    every_type = {
        0xC000 + type_: Entry(type_, 3, bytes(range(size * 3)))
        for type_, size in {1: 1, 3: 2, 4: 4, 5: 8, 6: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 129: 1}.items()
    }
    camera = {
        int(Base.ExposureTime): Entry(RATIONAL, 1, numbers),
        int(Base.MakerNote): Entry(UNDEFINED, 300, bytes(range(150)) * 2, note_at),
        int(Base.DateTimeOriginal): Entry.text("1931:08:01 12:00:00"),
    }
    interoperability = Directory(order, {1: Entry.text("R98")})
    return Directory(
        order,
        {int(Base.ImageDescription): Entry.text("Fischmarkt, Zürich"), **every_type},
        {
            IFD.Exif: Directory(order, camera, {IFD.Interop: interoperability}),
            IFD.GPSInfo: Directory(order, {1: Entry.text("N"), 2: Entry(RATIONAL, 3, numbers * 3)}),
        },
    )


def without_offsets(directory: Directory) -> Any:
    entries = {tag: (entry.type, entry.count, entry.value) for tag, entry in directory.entries.items()}
    return entries, {tag: without_offsets(child) for tag, child in directory.children.items()}


@pytest.mark.parametrize("order", ORDERS)
def test_what_is_written_is_read_back(order: Order) -> None:
    directory = exif(order)
    read = read_directory(exif_block(directory))
    assert read is not None
    assert read.order == order
    assert without_offsets(read) == without_offsets(directory)


@pytest.mark.parametrize("order", ORDERS)
def test_pillow_reads_the_same(order: Order) -> None:
    pillow = Image.Exif()
    pillow.load(b"Exif\0\0" + exif_block(exif(order)))
    assert pillow[Base.ImageDescription].encode("latin-1").decode() == "Fischmarkt, Zürich"
    camera = pillow.get_ifd(IFD.Exif)
    assert camera[Base.ExposureTime] == 1 / 125
    assert camera[Base.MakerNote] == bytes(range(150)) * 2
    assert pillow.get_ifd(IFD.GPSInfo)[1] == "N"
    assert pillow.get_ifd(IFD.Interop)[1] == "R98"


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("at", [8, 9, 10, 500, 2000])
def test_makers_notes_stay_where_they_were(order: Order, at: int) -> None:
    directory = exif(order, at)
    block = exif_block(directory)
    assert block[at : at + 300] == bytes(range(150)) * 2
    read = read_directory(block)
    assert read is not None
    assert read.child(IFD.Exif).entries[Base.MakerNote].offset == at
    assert without_offsets(read) == without_offsets(directory)


def test_makers_notes_from_far_away_cost_no_gap() -> None:
    assert len(exif_block(exif("<", 70_000))) < 2000


def test_another_order_has_the_same_numbers() -> None:
    big = exif(">")
    little = big.in_order("<")
    read = read_directory(exif_block(little))
    assert read is not None
    for tag in big.entries:
        assert read.numbers(tag) == big.numbers(tag)
    camera, original = read.child(IFD.Exif), big.child(IFD.Exif)
    assert camera.numbers(Base.ExposureTime) == (1 / 125,)
    assert camera.entries[Base.MakerNote].value == original.entries[Base.MakerNote].value
    assert without_offsets(little.in_order(">")) == without_offsets(big)


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("order", ORDERS)
def test_tiff_and_bigtiff_of_another_writer(big: bool, order: Order) -> None:
    file = io.BytesIO()
    tags = [
        (270, "s", 0, "Grüße".encode(), True),
        (315, "s", 0, "Weiß".encode(), True),
        (65_000, "H", 3, (1, 2, 3), True),
        (65_001, "I", 1, 7, True),
        *([(65_002, "Q", 2, (1, 2), True), (65_003, "Q", 1, 2**40, True)] if big else []),
    ]
    with tifffile.TiffWriter(file, bigtiff=big, byteorder=order) as writer:
        writer.write(np.zeros((8, 9), np.uint8), extratags=tags, metadata=None, software="SilverFast")
    read = read_directory(file.getvalue())
    assert read is not None
    assert read.text(270) == "Grüße"
    assert read.text(315) == "Weiß"
    assert read.text(Base.Software) == "SilverFast"
    assert read.numbers(65_000) == (1, 2, 3)
    assert read.numbers(65_001) == (7,)
    assert read.numbers(65_002) == ((1, 2) if big else ())  # fits 32 bits, so it is kept
    assert 65_003 not in read.entries
    assert not {256, 257, 258, 259, 262, 273, 277, 278, 279} & set(read.entries)
    read_again = read_directory(exif_block(read))
    assert read_again is not None
    assert without_offsets(read_again) == without_offsets(read)


def test_the_page_that_is_asked_for() -> None:
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for number in range(3):
            writer.write(np.zeros((8, 9), np.uint8), description=f"page {number}", metadata=None)
    with tifffile.TiffFile(io.BytesIO(file.getvalue())) as written:
        offsets = [page.offset for page in written.pages]
    pages = [read_directory(file.getvalue(), offset) for offset in offsets]
    assert [page.text(270) for page in pages if page is not None] == ["page 0", "page 1", "page 2"]


def test_nothing_is_repeated_by_directories_that_contain_themselves() -> None:
    fields = [(IFD.Exif, 4, 1, 8), (IFD.GPSInfo, 4, 1, 8), (IFD.Interop, 4, 1, 8), (269, 2, 4, 0x00636261)]
    table = struct.pack("<H", len(fields)) + b"".join(struct.pack("<HHII", *field) for field in fields)
    read = read_directory(b"II*\0\x08\0\0\0" + table + struct.pack("<I", 8))
    assert read is not None
    assert len(exif_block(read)) < 1000


def test_values_are_bounded_however_often_they_are_pointed_to() -> None:
    data = bytes(2**20)
    fields = b"".join(struct.pack("<HHII", 40_100 + number, 7, len(data), 8) for number in range(500))
    read = read_directory(b"II*\0" + struct.pack("<I", 8 + len(data)) + data + struct.pack("<H", 500) + fields)
    assert read is not None
    assert len(read.entries) == 4


@pytest.mark.parametrize(
    "field",
    [(270, 2, 2**32 - 1, 8), (270, 5, 2**29, 8), (270, 2, 9, 2**32 - 1), (270, 99, 1, 0), (270, 2, 0, 0)],
    ids=["too many", "overflowing", "outside", "of no type", "none"],
)
def test_broken_values_are_left_out(field: tuple[int, int, int, int]) -> None:
    good = (int(Base.Artist), ASCII, 3, 0x006F4F)
    data = b"MM\0*\0\0\0\x08" + struct.pack(">H", 2) + struct.pack(">HHII", *field) + struct.pack(">HHI", *good[:3])
    read = read_directory(data + b"Wei\0" + bytes(4))
    assert read is not None
    assert list(read.entries) == [Base.Artist]


def test_rationals_that_divide_by_nothing() -> None:
    entry = Entry(RATIONAL, 1, bytes(8))
    assert np.isnan(Directory("<", {282: entry}).numbers(282)[0])
    assert Directory("<", {282: Entry.integers(SHORT, "<", 5)}).numbers(282) == (5,)
