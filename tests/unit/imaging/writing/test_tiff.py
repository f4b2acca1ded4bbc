"""TIFF files written in bands are good TIFF files, and big ones only where they must be."""

import struct
from io import BytesIO
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import ExifTags

from service.imaging.metadata.directory import Directory, Entry
from service.imaging.writing import tiff
from service.imaging.writing.sheets import Layout
from service.imaging.writing.tiff import Compression, TiffSheet
from tests.pictures import from_bytes, random_pixels, written

SIZES = [(1, 1, 1), (1, 1, 8), (1, 70, 8), (70, 1, 8), (70, 1, 1), (41, 33, 8), (16, 30, 16), (3, 400, 2)]
"""Height, width, rows of a band."""

LAYOUT = Layout(30, 41, 3, 8, 8)

ASCII, SHORT, LONG, RATIONAL, UNDEFINED = 2, 3, 4, 5, 7


def text(value: str) -> Entry:
    return Entry(ASCII, len(value) + 1, value.encode() + b"\0")


METADATA = Directory(
    "<",
    {
        ExifTags.Base.Make: text("Ag"),  # of an odd length
        ExifTags.Base.Artist: text("A photographer of long ago"),
        ExifTags.Base.XResolution: Entry(RATIONAL, 1, struct.pack("<2I", 600, 1)),
        ExifTags.Base.ResolutionUnit: Entry(SHORT, 1, struct.pack("<H", 2)),
        ExifTags.Base.ImageWidth: Entry(SHORT, 1, struct.pack("<H", 9999)),  # a lie
    },
    {
        ExifTags.IFD.GPSInfo: Directory(
            "<", {1: text("N"), 2: Entry(RATIONAL, 3, struct.pack("<6I", 52, 1, 30, 1, 0, 1))}
        ),
        ExifTags.IFD.Exif: Directory(
            "<",
            {ExifTags.Base.DateTimeOriginal: text("1911:04:02 12:00:00")},
            {ExifTags.IFD.Interop: Directory("<", {1: text("R98")})},
        ),
    },
)


def directory_of(data: bytes) -> dict[int, tuple[int, int, bytes]]:
    """The first directory's types, counts and values, as the standard has them: sorted, alone, on even offsets."""
    if data[:4] == b"II*\0":
        counter, head, word = "<H", "<HHI", "<I"
        (at,) = struct.unpack_from("<I", data, 4)
    else:
        assert data[:8] == struct.pack("<2s3H", b"II", 43, 8, 0)
        counter, head, word = "<Q", "<HHQ", "<Q"
        (at,) = struct.unpack_from("<Q", data, 8)
    sizes = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1, 16: 8}
    room = struct.calcsize(word)
    assert at % 2 == 0
    (count,) = struct.unpack_from(counter, data, at)
    at += struct.calcsize(counter)
    entries = {}
    for _ in range(count):
        tag, type_, number = struct.unpack_from(head, data, at)
        place = at + struct.calcsize(head)
        at = place + room
        size = sizes[type_] * number
        if size > room:
            (place,) = struct.unpack_from(word, data, place)
            assert place % 2 == 0
        assert place + size <= len(data)
        entries[tag] = type_, number, data[place : place + size]
    assert struct.unpack_from(word, data, at) == (0,)
    assert list(entries) == sorted(entries)
    assert len(entries) == count
    return entries


def numbers(entry: tuple[int, int, bytes]) -> tuple[int, ...]:
    type_, count, value = entry
    return struct.unpack(f"<{count}{ {3: 'H', 4: 'I', 16: 'Q'}[type_] }", value)


def is_big(data: bytes) -> bool:
    return data[2] == 43


@pytest.mark.parametrize("compression", Compression)
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize(("height", "width", "rows"), SIZES)
def test_decodes_to_what_was_put(
    height: int, width: int, rows: int, depth: int, channels: int, compression: Compression
) -> None:
    layout = Layout(width, height, channels, depth, rows)
    pixels = random_pixels(layout)
    data = written(TiffSheet(layout, compression), pixels)
    seen = tifffile.imread(BytesIO(data))
    assert seen.dtype == pixels.dtype
    np.testing.assert_array_equal(seen.reshape(pixels.shape), pixels)
    if depth == 8 or channels == 1:  # Pillow has pixels of 16 bits for grey alone
        np.testing.assert_array_equal(np.asarray(from_bytes(data)).reshape(pixels.shape), pixels)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_decodes_whatever_the_pixels(data: st.DataObject) -> None:
    dtype = data.draw(st.sampled_from([np.uint8, np.uint16]))
    pixels = data.draw(
        arrays(dtype, array_shapes(min_dims=3, max_dims=3, max_side=9).filter(lambda shape: shape[2] < 5))
    )
    height, width, channels = pixels.shape
    layout = Layout(width, height, channels, pixels.itemsize * 8, data.draw(st.integers(1, 9)))
    file = written(TiffSheet(layout, data.draw(st.sampled_from(Compression))), pixels)
    np.testing.assert_array_equal(tifffile.imread(BytesIO(file)).reshape(pixels.shape), pixels)


def test_pixels_need_not_lie_side_by_side() -> None:
    layout = Layout(20, 24, 3, 16, 8)
    pixels = random_pixels(Layout(40, 48, 4, 16, 8))[::2, ::-2, :3]
    for compression in Compression:
        file = written(TiffSheet(layout, compression), pixels)
        np.testing.assert_array_equal(tifffile.imread(BytesIO(file)), pixels)


@pytest.mark.parametrize("compression", Compression)
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("depth", [8, 16])
def test_the_directory_is_complete(depth: int, channels: int, compression: Compression) -> None:
    layout = Layout(30, 41, channels, depth, 8)
    entries = directory_of(written(TiffSheet(layout, compression, b"odd"), random_pixels(layout)))
    expected = {
        256: (30,), 257: (41,), 258: (depth,) * channels, 259: (compression.value,), 262: (1 if channels < 3 else 2,),
        277: (channels,), 278: (8,), 284: (1,), 296: (1,), 339: (1,) * channels,
    }  # fmt: skip
    expected |= {} if compression is Compression.NONE else {317: (2,)}
    expected |= {338: (2,)} if channels in (2, 4) else {}
    assert {tag: numbers(entries[tag]) for tag in expected} == expected
    assert entries.keys() - expected.keys() == {273, 279, 282, 283, 34_675}
    assert entries[34_675] == (UNDEFINED, 3, b"odd")
    assert len(numbers(entries[273])) == len(numbers(entries[279])) == 6
    if compression is Compression.NONE:
        assert numbers(entries[279]) == (8 * layout.row_bytes,) * 5 + (layout.row_bytes,)


def test_one_band_taller_than_the_picture() -> None:
    layout = Layout(30, 5, 3, 8, 8)
    assert numbers(directory_of(written(TiffSheet(layout, Compression.NONE), random_pixels(layout)))[278]) == (5,)


@pytest.mark.parametrize("big", [False, True])
def test_metadata_come_along(big: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if big:
        monkeypatch.setattr(tiff, "_LARGEST_CLASSIC", 1000)
    pixels = random_pixels(LAYOUT)
    data = written(TiffSheet(LAYOUT, Compression.LZW, b"a profile", METADATA), pixels)
    assert is_big(data) == big
    image = from_bytes(data)
    np.testing.assert_array_equal(np.asarray(image), pixels)
    assert image.info["icc_profile"] == b"a profile"
    exif = image.getexif()
    assert exif[ExifTags.Base.Make] == "Ag"
    assert exif[ExifTags.Base.Artist] == "A photographer of long ago"
    assert exif[ExifTags.Base.XResolution] == 600
    assert exif[ExifTags.Base.ResolutionUnit] == 2
    assert exif[ExifTags.Base.ImageWidth] == LAYOUT.width
    with tifffile.TiffFile(BytesIO(data)) as file:
        tags: Any = file.pages.first.tags
        assert tags[ExifTags.IFD.GPSInfo].value == {"GPSLatitudeRef": "N", "GPSLatitude": (52, 1, 30, 1, 0, 1)}
        assert tags[ExifTags.IFD.Exif].value["DateTimeOriginal"] == "1911:04:02 12:00:00"
        assert tags[ExifTags.IFD.Exif].value["InteroperabilityTag"] > 0
    if not big:  # Pillow knows nested directories in classic files alone
        assert exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] == "1911:04:02 12:00:00"
        assert exif.get_ifd(ExifTags.IFD.GPSInfo)[2] == (52, 30, 0)
        assert exif.get_ifd(ExifTags.IFD.Interop)[1] == "R98"


def test_metadata_of_the_other_order_are_refused() -> None:
    with pytest.raises(ValueError, match="little-endian"):
        TiffSheet(LAYOUT, Compression.NONE, directory=Directory(">"))


@pytest.mark.parametrize("compression", Compression)
@pytest.mark.parametrize("depth", [8, 16])
def test_a_file_is_big_only_where_it_must_be(
    compression: Compression, depth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = Layout(30, 41, 4, depth, 8)
    pixels = random_pixels(layout)
    classic = written(TiffSheet(layout, compression, b"a profile", METADATA), pixels)
    assert not is_big(classic)
    for limit in (len(classic), len(classic) - 1, 100):
        monkeypatch.setattr(tiff, "_LARGEST_CLASSIC", limit)
        data = written(TiffSheet(layout, compression, b"a profile", METADATA), pixels)
        assert is_big(data) == (limit < len(classic))
        np.testing.assert_array_equal(tifffile.imread(BytesIO(data)), pixels)
        places = directory_of(data)
        assert numbers(places[273])[0] == 16
        assert places[273][0] == (LONG if limit == len(classic) else 16)


def test_compression_compresses() -> None:
    layout = Layout(500, 256, 3, 16, 64)
    slope = np.add.outer(np.arange(256), np.arange(500))[..., None] * np.array([20, 30, 40])
    sizes = {way: len(written(TiffSheet(layout, way), slope.astype(np.uint16))) for way in Compression}
    assert sizes[Compression.LZW] < 0.1 * sizes[Compression.NONE]
    assert sizes[Compression.DEFLATE] < 0.1 * sizes[Compression.NONE]
