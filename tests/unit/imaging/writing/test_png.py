"""PNG files written in bands are good PNG files: every decoder reads the very pixels that were put in."""

import struct
import zlib
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from PIL import Image

from service.imaging.writing.png import PngSheet
from service.imaging.writing.sheets import Layout
from tests.pictures import from_bytes, random_pixels, to_bytes, written

PICTURES = Path(__file__).parents[4] / "docs" / "pictures"

SIZES = [(1, 1, 1), (1, 1, 8), (1, 70, 8), (70, 1, 8), (70, 1, 1), (41, 33, 8), (5, 64, 1), (16, 30, 16), (3, 400, 2)]
"""Height, width, rows of a band."""


def chunks_of(data: bytes) -> list[tuple[bytes, bytes]]:
    """Type and data of every chunk, each with a good checksum and none cut off or left over."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    found, at = [], 8
    while at < len(data):
        length, type_ = struct.unpack_from(">I4s", data, at)
        body = data[at + 8 : at + 8 + length]
        assert data[at + 8 + length : at + 12 + length] == struct.pack(">I", zlib.crc32(type_ + body))
        found.append((type_, body))
        at += 12 + length
    return found


def rows_of(data: bytes) -> bytes:
    """The filtered rows; zlib checks the whole stream and its checksum."""
    stream = zlib.decompressobj()
    rows = stream.decompress(b"".join(body for type_, body in chunks_of(data) if type_ == b"IDAT"))
    assert stream.eof
    assert not stream.unused_data
    return rows


def decoded(data: bytes, layout: Layout) -> NDArray[Any]:
    """By libpng, which takes no chunk and no checksum that is not right."""
    return imagecodecs.png_decode(data).reshape(layout.height, layout.width, layout.channels)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize(("height", "width", "rows"), SIZES)
def test_decodes_to_what_was_put(height: int, width: int, rows: int, depth: int, channels: int) -> None:
    layout = Layout(width, height, channels, depth, rows)
    pixels = random_pixels(layout)
    data = written(PngSheet(layout), pixels)
    assert decoded(data, layout).dtype == pixels.dtype
    np.testing.assert_array_equal(decoded(data, layout), pixels)
    # Pillow has pixels of 16 bits for grey alone; of others it keeps the upper half.
    seen = np.asarray(from_bytes(data)).reshape(pixels.shape[0], width, -1)
    if depth == 8 or channels == 1:
        np.testing.assert_array_equal(seen, pixels)
    else:
        np.testing.assert_array_equal(seen[..., [0, -1]], (pixels >> 8)[..., [0, -1]])


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_decodes_whatever_the_pixels(data: st.DataObject) -> None:
    dtype = data.draw(st.sampled_from([np.uint8, np.uint16]))
    pixels = data.draw(
        arrays(dtype, array_shapes(min_dims=3, max_dims=3, max_side=9).filter(lambda shape: shape[2] < 5))
    )
    height, width, channels = pixels.shape
    layout = Layout(width, height, channels, pixels.itemsize * 8, data.draw(st.integers(1, 9)))
    np.testing.assert_array_equal(decoded(written(PngSheet(layout), pixels), layout), pixels)


def test_pixels_need_not_lie_side_by_side() -> None:
    layout = Layout(20, 24, 3, 16, 8)
    pixels = random_pixels(Layout(40, 48, 4, 16, 8))[::2, ::-2, :3]
    np.testing.assert_array_equal(decoded(written(PngSheet(layout), pixels), layout), pixels)


def test_chunks_stand_in_their_order() -> None:
    layout = Layout(40, 20, 3, 8, 8)
    density = b"pHYs", struct.pack(">2IB", 11_811, 11_811, 1)
    text = b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0<x/>"
    data = written(PngSheet(layout, b"a profile", [density, text]), random_pixels(layout))
    chunks = chunks_of(data)
    assert [type_ for type_, _ in chunks] == [b"IHDR", b"iCCP", b"pHYs", b"iTXt", *[b"IDAT"] * 4, b"IEND"]
    assert chunks[0][1] == struct.pack(">2I5B", 40, 20, 8, 2, 0, 0, 0)
    name, method, profile = chunks[1][1].partition(b"\0")[0], chunks[1][1][12], chunks[1][1][13:]
    assert (name, method, zlib.decompress(profile)) == (b"ICC Profile", 0, b"a profile")
    assert chunks[2:4] == [density, text]
    image = from_bytes(data)
    assert image.info["icc_profile"] == b"a profile"
    assert image.info["dpi"] == pytest.approx((300, 300), abs=0.01)


def test_no_row_is_predicted_from_another_band() -> None:
    layout = Layout(40, 21, 3, 8, 8)
    rows = rows_of(written(PngSheet(layout), random_pixels(layout)))
    filters = rows[:: 1 + layout.row_bytes]
    assert len(rows) == 21 * (1 + layout.row_bytes)
    assert all(filters[top] in (0, 1) for top in (0, 8, 16))
    assert all(number in range(5) for number in filters)


def test_equal_pixels_take_almost_nothing() -> None:
    layout = Layout(1000, 640, 3, 8, 64)
    assert len(written(PngSheet(layout), np.full((640, 1000, 3), 77, np.uint8))) < 0.01 * 640 * 1000 * 3


@pytest.mark.parametrize("name", ["farmer", "flooded-house", "hills", "house-clouds"])
def test_coloured_photographs_take_little_more_than_with_pillow(name: str) -> None:
    pixels = np.asarray(Image.open(PICTURES / f"{name}-mobilenet_v2.jpg"))
    height, width, _ = pixels.shape
    data = written(PngSheet(Layout(width, height, 3, 8, max(8, 2**16 // width))), pixels)
    assert len(data) < 1.1 * len(to_bytes(Image.fromarray(pixels), "PNG", compress_level=1))
