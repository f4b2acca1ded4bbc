"""A TIFF with strips or tiles that are damaged, cut or missing is broken, and never filled up."""

import random
import struct
from io import BytesIO

import pytest
import tifffile
import torch
from PIL import Image

from service.imaging.errors import BrokenImageError, TooManyPixelsError, UnsupportedFormatError
from tests.photographs import read
from tests.pictures import to_bytes
from tests.tiff_kinds import KINDS
from tests.tiff_samples import BLACK_IS_ZERO, noise
from tests.tiffs import Layout, page, tiff

CODED = [
    "strips of 8 bits", "tiles of 16 bits", "planes in strips of 8 bits", "grey of 5 bits",
    *("CCITT RLE", "CCITT G3", "CCITT G3, lowest bit first", "CCITT G4", "CCITT G4, lowest bit first"),
    *("CCITT G3 in two dimensions", "LZW", "Deflate", "Deflate under its old number", "PackBits", "LZMA", "ZSTD"),
    *("floats of 32 bits, predictor 3", "predictor 2 in tiles, contig, of 16 bits, <", "LZW of 4 bits"),
    *("PNG in tiles", "WebP in tiles", "JPEG 2000 in tiles"),
    *("PNG with alpha", "WebP with alpha", "JPEG 2000 with alpha"),
    *("JPEG 4:2:0 in strips", "JPEG 4:4:4 in tiles", "JPEG of grey", "JPEG with tables of its own", "JPEG of CMYK"),
]  # fmt: skip


def with_count(data: bytes, index: int, count: int) -> bytes:
    """The file with another byte count of a strip or tile; that of all is in 16 or 32 bits."""
    with tifffile.TiffFile(BytesIO(data)) as file:
        tags = file.pages.first.tags
        tag = tags.get(279) or tags[325]
        code = "H" if tag.dtype == 3 else "I"
        at = tag.valueoffset + index * struct.calcsize(code)
        return data[:at] + struct.pack("<" + code, count) + data[at + struct.calcsize(code) :]


def counts(data: bytes) -> tuple[int, ...]:
    with tifffile.TiffFile(BytesIO(data)) as file:
        return tuple(file.pages.first.databytecounts)


@pytest.mark.parametrize("name", CODED)
def test_a_strip_that_is_cut_is_missed(name: str) -> None:
    data = KINDS[name].data
    whole = read(data).lightness
    sizes = counts(data)
    for index in {0, len(sizes) - 1}:
        size = sizes[index]
        for cut in sorted({0, 1, size // 7, size // 3, size // 2, size * 5 // 6, size - 9, size - 3, size - 1}):
            if not 0 <= cut < size:
                continue
            try:
                photograph = read(with_count(data, index, cut))
            except BrokenImageError:
                continue
            # What was cut off was no more than the end of the codes.
            assert torch.equal(photograph.lightness, whole), f"strip {index} of {cut} of {size} bytes"


@pytest.mark.parametrize("name", CODED)
def test_a_strip_beyond_the_end_is_missed(name: str) -> None:
    data = KINDS[name].data
    try:
        photograph = read(with_count(data, 0, 60_000))
    except BrokenImageError:
        return
    # Samples that are not coded are no more than their size asks for.
    assert torch.equal(photograph.lightness, read(data).lightness)
    assert name in CODED[:3]


@pytest.mark.parametrize(("name", "most"), [("CCITT G4", 10), ("CCITT G3 in two dimensions", 20)])
def test_wrong_codes_are_rarely_taken_for_others(name: str, most: int) -> None:
    """A bit may turn a code into another one; mostly, the rest of the line is then too long or too short."""
    data, generator = KINDS[name].data, random.Random(name)
    whole = read(data).lightness
    with tifffile.TiffFile(BytesIO(data)) as file:
        (begin,), (size,) = file.pages.first.dataoffsets, file.pages.first.databytecounts
    unseen = 0
    for _ in range(100):
        changed = bytearray(data)
        changed[begin + generator.randrange(size)] ^= 1 << generator.randrange(8)
        try:
            unseen += not torch.equal(read(bytes(changed)).lightness, whole)
        except BrokenImageError:
            continue
    assert unseen <= most


@pytest.mark.parametrize("tiled", [False, True])
def test_fewer_strips_than_the_size_asks_for(tiled: bool) -> None:
    stored = page(noise(8), BLACK_IS_ZERO, Layout(tile=(16, 32)) if tiled else Layout(rows=7))
    offsets = [8] * (len(stored.chunks) - 1)
    tags = {324 if tiled else 273: offsets, 325 if tiled else 279: [512] * len(offsets)}
    stored = type(stored)({**stored.tags, **tags}, stored.chunks, tiled=tiled)
    with pytest.raises(BrokenImageError, match="fewer strips than its size asks for"):
        read(tiff(stored))


@pytest.mark.parametrize(("name", "side"), [("PNG", 1000), ("WebP", 1000), ("JPEG 2000", 1000)])
def test_a_tile_that_is_larger_than_the_file_says_is_refused(name: str, side: int) -> None:
    codes = {"PNG": 34933, "WebP": 50001, "JPEG 2000": 34712}
    formats = {"PNG": "PNG", "WebP": "WEBP", "JPEG 2000": "JPEG2000"}
    inner = to_bytes(Image.new("RGB", (side, side)), formats[name])
    layout = Layout(tile=(16, 16), code=lambda _: inner, tags={259: codes[name]})
    with pytest.raises((UnsupportedFormatError, TooManyPixelsError), match=r"larger than it says|at most 1024 pixels"):
        read(tiff(page(noise(8, 3, 16, 16), 2, layout)))
