"""Bad files: each is answered with an ImageError that may be shown, or with a whole photograph, and nothing else."""

import json
import random
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from service.imaging.errors import BrokenImageError, ImageError, TooManyPixelsError, UnsupportedFormatError
from service.imaging.photograph import Photograph, inspect
from tests.pictures import to_bytes
from tests.tiff_kinds import KINDS
from tests.tiff_samples import BLACK_IS_ZERO, noise
from tests.tiff_samples import RGB as RGB_SAMPLES
from tests.tiffs import Layout, Page, page
from tests.tiffs import tiff as tiff_of

# In production, what Pillow says about things that it repairs is a line on stderr, not an error.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")

MAX_PIXELS = 1_000_000


UNWRITTEN = Path(__file__).parents[1] / "unit" / "imaging" / "files"

TIFFS = (
    "grey of 12 bits", "RGB of 16 bits", "floats of 32 bits, predictor 3", "palette of 4 bits", "separated, 8 bits",
    "CIELAB of 16 bits", "YCbCr, not compressed", "CCITT G3", "CCITT G4", "PackBits", "LZMA", "ZSTD",
    "PNG in tiles", "WebP in tiles", "JPEG 2000 in tiles", "JPEG 4:2:0 in strips", "JPEG of the old style",
    "planes in tiles of 16 bits", "BigTIFF > of 16 bits", "premultiplied, 8 bits",
)  # fmt: skip
"""Of the kinds in tests/tiff_kinds.py."""


def picture(mode: str) -> Image.Image:
    """A picture with detail everywhere, so that no part of it can go missing unnoticed."""
    noise = np.random.default_rng(1).integers(0, 256, (40, 56, 4), dtype=np.uint8)
    return Image.fromarray(noise).convert(mode)


FILES: dict[str, bytes] = {
    "jpeg": to_bytes(picture("RGB"), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0\0\0\0\0"),
    "jpeg-progressive": to_bytes(picture("L"), "JPEG", progressive=True),
    "jpeg-cmyk": to_bytes(picture("CMYK"), "JPEG"),
    "png": to_bytes(picture("RGBA"), "PNG"),
    "png-palette": to_bytes(picture("RGB").quantize(32), "PNG", transparency=bytes(range(32))),
    "png-16": to_bytes(Image.fromarray(np.arange(2240, dtype=np.uint16).reshape(40, 56)), "PNG", transparency=9),
    "webp": to_bytes(picture("RGBA"), "WEBP"),
    "webp-lossless": to_bytes(picture("RGB"), "WEBP", lossless=True),
    "webp-animated": to_bytes(picture("RGB"), "WEBP", save_all=True, append_images=[picture("RGB").rotate(90)]),
    "tiff": to_bytes(picture("RGB"), "TIFF"),
    "tiff-deflate": to_bytes(picture("LA"), "TIFF", compression="tiff_adobe_deflate"),
    "tiff-jpeg": to_bytes(picture("RGB"), "TIFF", compression="jpeg"),
    "tiff-lzw": to_bytes(picture("L"), "TIFF", compression="tiff_lzw"),
    "bmp": to_bytes(picture("RGB"), "BMP"),
    "gif": to_bytes(picture("RGB").quantize(64), "GIF", transparency=5),
    "gif-animated": to_bytes(picture("L"), "GIF", save_all=True, append_images=[picture("L").rotate(90)], disposal=2),
    "jpeg-lossless": bytes(imagecodecs.ljpeg_encode(noise(12)[..., 0], bitspersample=12)),
    "jpeg-12": bytes(imagecodecs.jpeg_encode(noise(12, 3), level=90, bitspersample=12)),
    "jpeg-ls": bytes(imagecodecs.jpegls_encode(noise(8)[..., 0])),
    "jpeg-arithmetic": (UNWRITTEN / "arithmetic.jpg").read_bytes(),
    "jpeg-2000": bytes(imagecodecs.jpeg2k_encode(noise(8, 3), level=0, codecformat="jp2", reversible=True)),
    "jpeg-2000-16": bytes(imagecodecs.jpeg2k_encode(noise(16)[..., 0], level=0, codecformat="j2k", reversible=True)),
    "avif": to_bytes(picture("RGBA"), "AVIF", quality=90),
    "avif-10": bytes(imagecodecs.avif_encode(noise(10, 3), level=90, bitspersample=10)),
    "heic": (UNWRITTEN / "rgb8.heic").read_bytes(),
    "heic-10": (UNWRITTEN / "rgb10.heic").read_bytes(),
    "heic-alpha": (UNWRITTEN / "rgba8.heic").read_bytes(),
    **{f"tiff-{name}": KINDS[name].data for name in TIFFS},
}


def attempt(data: bytes) -> Photograph | ImageError:
    """What a client would get: a sound photograph or an error whose text is fit to be shown."""
    try:
        photograph = inspect(data, MAX_PIXELS).decode()
    except ImageError as error:
        answer = error
    else:
        assert_sound(photograph)
        return photograph
    assert str(answer)
    assert " object at " not in str(answer)
    return answer


def assert_sound(photograph: Photograph) -> None:
    lightness, alpha = photograph.lightness, photograph.alpha
    assert lightness.dtype == torch.float32
    assert lightness.dim() == 2
    assert 0 < lightness.numel() <= MAX_PIXELS
    assert lightness.min() >= -1e-3
    assert lightness.max() <= 100.01
    assert alpha is None or (alpha.dtype in (torch.uint8, torch.uint16) and alpha.shape == lightness.shape)


def chunk(kind: bytes, body: bytes) -> bytes:
    """One PNG chunk."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, *chunks: bytes, color: int = 0) -> bytes:
    """A PNG of 8 bits a channel, with nothing but these chunks after its header."""
    header = struct.pack(">2I5B", width, height, 8, color, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(chunks)


def tiff(tags: dict[int, int], body: bytes = b"", next_ifd: int = 0) -> bytes:
    """A little-endian TIFF whose single directory lies at 8 and holds these tags, all 32 bits wide."""
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", next_ifd) + body


def gray_tiff(width: int, height: int, **tags: int) -> dict[int, int]:
    """The tags of a grey 8-bit TIFF; `tags` come by their EXIF names."""
    names = {"ImageWidth": width, "ImageLength": height, "BitsPerSample": 8, "PhotometricInterpretation": 1} | tags
    return {ExifTags.Base[name]: value for name, value in names.items()}


def webp_canvas(width: int, height: int) -> bytes:
    """A WebP whose extended header declares a canvas larger than its one picture."""
    frame = FILES["webp-lossless"][12:]
    extended = b"VP8X" + struct.pack("<I", 10) + bytes(4)
    extended += (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"RIFF" + struct.pack("<I", 4 + len(extended) + len(frame)) + b"WEBP" + extended + frame


def webp_lossless(side: int) -> bytes:
    """A lossless WebP with the size in its header overwritten."""
    data = bytearray(FILES["webp-lossless"])
    data[21:25] = struct.pack("<I", (side - 1) | (side - 1) << 14)
    return bytes(data)


def bmp(width: int, height: int) -> bytes:
    """The header of a BMP of 24 bits a pixel."""
    return b"BM" + struct.pack("<3I", 54, 0, 54) + struct.pack("<IiiHH", 40, width, height, 1, 24) + bytes(24)


def gif_with_frame(side: int) -> bytes:
    """A GIF of one pixel whose frame is larger, and asks to be cleared to the background after it was shown."""
    control, frame = b"\x21\xf9\4\x08\0\0\0\0", b"," + struct.pack("<4HB", 0, 0, side, side, 0)
    return b"GIF89a" + struct.pack("<2H3B", 1, 1, 0, 0, 0) + control + frame + b"\x08\0\0"


def jpeg_with_size(width: int, height: int) -> bytes:
    """A JPEG with the size in its frame header overwritten."""
    data = bytearray(FILES["jpeg"])
    start = data.index(b"\xff\xc0") + 5
    data[start : start + 4] = struct.pack(">2H", height, width)
    return bytes(data)


@pytest.mark.parametrize("name", FILES)
def test_sound_files_are_read(name: str) -> None:
    assert isinstance(attempt(FILES[name]), Photograph)


@pytest.mark.parametrize("name", FILES)
def test_truncated_file_is_refused_or_whole(name: str) -> None:
    data, whole = FILES[name], inspect(FILES[name], MAX_PIXELS).decode()
    cuts = {*range(0, 64, 3), *(len(data) * part // 16 for part in range(16)), *range(len(data) - 24, len(data))}
    for cut in sorted(cuts):
        answer = attempt(data[:cut])
        if isinstance(answer, Photograph):  # all of the pixels were there, and only the trailer is missing
            assert torch.equal(answer.lightness, whole.lightness), f"half a picture at {cut} of {len(data)} bytes"


@pytest.mark.parametrize("name", FILES)
def test_flipped_bits(name: str) -> None:
    generator = random.Random(name)
    for _ in range(60):
        data = bytearray(FILES[name])
        for _ in range(generator.choice((1, 1, 4, 16))):
            # Half of them in the headers, where they do most harm.
            end = generator.choice((min(256, len(data)), len(data)))
            data[generator.randrange(end)] ^= 1 << generator.randrange(8)
        attempt(bytes(data))


@pytest.mark.parametrize("name", FILES)
def test_overwritten_stretches(name: str) -> None:
    generator = random.Random(name)
    for filling in (b"\0", b"\xff"):
        for _ in range(15):
            start, length = generator.randrange(len(FILES[name])), generator.randrange(1, 64)
            attempt(FILES[name][:start] + filling * length + FILES[name][start + length :])


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(png(50_000, 50_000, chunk(b"IDAT", zlib.compress(bytes(100_000)))), id="png"),
        pytest.param(png(2**31 - 1, 2**31 - 1, chunk(b"IDAT", b"")), id="png-largest"),
        pytest.param(bmp(60_000, 60_000), id="bmp"),
        pytest.param(bmp(60_000, -60_000), id="bmp-top-down"),
        pytest.param(tiff(gray_tiff(60_000, 60_000, StripOffsets=200)), id="tiff"),
        pytest.param(tiff(gray_tiff(60_000, 60_000, StripOffsets=200, Compression=8)), id="tiff-deflate"),
        pytest.param(
            tiff(gray_tiff(8, 8, Compression=8, TileWidth=20_000, TileLength=20_000, TileOffsets=200)), id="tiff-tile"
        ),
        pytest.param(b"GIF89a" + struct.pack("<2H", 65_535, 65_535) + FILES["gif"][10:], id="gif"),
        pytest.param(gif_with_frame(65_535), id="gif-frame"),
        pytest.param(gif_with_frame(10_000), id="gif-frame-that-pillow-warns-of"),
        pytest.param(webp_lossless(2_000), id="webp"),
        pytest.param(webp_lossless(16_384), id="webp-largest"),
        pytest.param(webp_canvas(16_384, 16_384), id="webp-canvas"),
        pytest.param(jpeg_with_size(65_500, 65_500), id="jpeg"),
    ],
)  # fmt: skip
def test_bombs_are_refused_by_their_headers(data: bytes) -> None:
    assert len(data) < 20_000
    # None of them holds its pixels: had they been looked for, the answer would be that the file is broken.
    with pytest.raises(TooManyPixelsError, match=f"{MAX_PIXELS} pixels"):
        inspect(data, MAX_PIXELS).decode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        b"\xff\xd8",
        b"\x89PNG",
        b"Dear service, please colour my grandmother.",
        b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
        b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        b"RIFF\x24\0\0\0WAVEfmt ",
        b"PK\3\4",
        b"P6 2 2 255 ............",
        b"8BPS\0\1\0\0\0\0\0\0\0\3",
        b"\0\0\1\0\1\0\x10\x10",
        b"II*",
        b"\x7fELF",
    ],
)
def test_what_is_no_image_of_ours_is_unsupported(data: bytes) -> None:
    assert isinstance(attempt(data), UnsupportedFormatError)


PIXELS = chunk(b"IDAT", zlib.compress(bytes(6)))
TEXT = chunk(b"zTXt", b"bomb\0\0" + zlib.compress(bytes(1_000_000)))
BOMB = zlib.compress(bytes(80_000_000), 9)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\xff\xd8\xff", id="jpeg-signature-only"),
        pytest.param(b"\xff\xd8\xff\xe0 it has only the beginning of a JPEG" * 10, id="jpeg-then-text"),
        pytest.param(b"\x89PNG\r\n\x1a\n", id="png-signature-only"),
        pytest.param(b"\x89PNG\r\n\x1a\n" + FILES["jpeg"], id="png-signature-jpeg-content"),
        pytest.param(b"BMW is a maker of cars and motorcycles, not of pictures.", id="text-like-bmp"),
        pytest.param(b"GIF89a", id="gif-signature-only"),
        pytest.param(b"GIF89a" + bytes(50), id="gif-of-zeros"),
        pytest.param(b"II*\0\x08\0\0\0", id="tiff-no-directory"),
        pytest.param(b"II*\0\xff\xff\xff\xff", id="tiff-directory-beyond-the-end"),
        pytest.param(b"RIFF\xff\xff\xff\xffWEBP", id="webp-signature-only"),
        pytest.param(b"RIFF\x10\0\0\0WEBPVP8 " + bytes(40), id="webp-of-zeros"),
        pytest.param(png(0, 0, PIXELS), id="png-0x0"),
        pytest.param(png(2, 0, PIXELS), id="png-2x0"),
        pytest.param(bmp(0, 0), id="bmp-0x0"),
        pytest.param(jpeg_with_size(0, 0), id="jpeg-0x0"),
        pytest.param(jpeg_with_size(0, 9), id="jpeg-0x9"),
        pytest.param(tiff(gray_tiff(0, 0, StripOffsets=100)), id="tiff-0x0"),
        pytest.param(png(2, 2, chunk(b"iCCP", b"bomb\0\0" + BOMB), PIXELS), id="png-icc-bomb"),
        pytest.param(png(2, 2, chunk(b"iTXt", b"bomb\0\1\0\0\0" + BOMB), PIXELS), id="png-itxt-bomb"),
        pytest.param(png(2, 2, *[TEXT] * 80, PIXELS), id="png-text-bombs"),
        pytest.param(png(2, 2, chunk(b"IDAT", b"no zlib stream")), id="png-bad-stream"),
        pytest.param(png(2, 2, chunk(b"IHDR", bytes(13)), PIXELS), id="png-two-headers"),
        pytest.param(tiff(gray_tiff(4, 4, StripOffsets=2**31), bytes(16)), id="tiff-pixels-beyond-the-end"),
        pytest.param(tiff(gray_tiff(4, 4, TileWidth=0, TileLength=0, TileOffsets=8)), id="tiff-0x0-tiles"),
        pytest.param(tiff(gray_tiff(4, 4, StripOffsets=110, Compression=5), bytes(16)), id="tiff-bad-lzw"),
        pytest.param(tiff(gray_tiff(4, 4, StripOffsets=110, Compression=7), bytes(16)), id="tiff-bad-jpeg"),
    ],
)  # fmt: skip
def test_damaged_files_are_broken(data: bytes) -> None:
    assert isinstance(attempt(data), BrokenImageError)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(png(2, 2, chunk(b"zTXt", b"bomb\0\0" + BOMB), PIXELS), id="png-ztxt-bomb"),
        pytest.param(png(2, 2, PIXELS, color=3), id="png-palette-without-a-palette"),
        pytest.param(png(2, 2, chunk(b"PLTE", bytes(3)), chunk(b"tRNS", bytes(300)), PIXELS, color=3), id="long-trns"),
        pytest.param(png(2, 2, chunk(b"tRNS", b""), PIXELS), id="png-empty-trns"),
        pytest.param(png(2, 2, chunk(b"acTL", bytes(8)), PIXELS), id="apng-without-frames"),
        pytest.param(FILES["gif"][:10] + b"\0" + FILES["gif"][11:], id="gif-without-a-palette"),
        pytest.param(FILES["png"] + FILES["jpeg"], id="two-files-in-one"),
        pytest.param(b"II*\0\x08\0\0\0\0\0\0\0\0\0", id="tiff-empty-directory"),
    ],
)  # fmt: skip
def test_odd_files(data: bytes) -> None:
    attempt(data)


@pytest.mark.parametrize("next_ifd", [8, 9, 2**31])
def test_directory_that_leads_back_to_itself(next_ifd: int) -> None:
    answer = attempt(tiff(gray_tiff(4, 4, StripOffsets=8), bytes(16), next_ifd))
    assert isinstance(answer, Photograph)
    assert answer.lightness.shape == (4, 4)


@pytest.mark.parametrize("pointer", [ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo, ExifTags.Base.SubIFDs])
def test_directory_inside_itself(pointer: int) -> None:
    attempt(tiff(gray_tiff(4, 4, StripOffsets=8) | {pointer: 8}, bytes(16)))


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("kind", ["exif", "icc_profile"])
def test_random_metadata_does_not_spoil_a_good_picture(kind: str, format: str) -> None:
    generator = random.Random(f"{kind} {format}")
    whole = inspect(to_bytes(picture("RGB"), format), MAX_PIXELS).decode().lightness
    for length in (1, 10, 130, 2_000):
        metadata = generator.randbytes(length)
        for prefix in (b"", b"Exif\0\0II*\0\x08\0\0\0\x20\0") if kind == "exif" and format != "TIFF" else (b"",):
            options = {"tiffinfo": {34_675: metadata}} if format == "TIFF" else {kind: prefix + metadata}
            answer = attempt(to_bytes(picture("RGB"), format, **options))
            assert isinstance(answer, Photograph)
            assert torch.equal(answer.lightness, whole)


@pytest.mark.parametrize(
    ("sound", "broken"),
    [
        pytest.param(b"II*\0\x08\0\0\0", b"II*\0\xff\0\0\0", id="directory-beyond-the-end"),
        pytest.param(b"\x12\1\3\0\1\0\0\0\6", b"\x12\1\3\0\xff\xff\xff\xff\6", id="endless-orientation"),
        pytest.param(b"\x12\1\3\0\1\0\0\0\6", b"\x12\1\2\0\1\0\0\0\6", id="text-for-orientation"),
        pytest.param(b"\x12\1\3\0\1\0\0\0\6", b"\x12\1\5\0\1\0\0\0\0", id="fraction-for-orientation"),
        pytest.param(b"\x12\1\3\0\1\0\0\0\6", b"\x12\1\3\0\1\0\0\0\x63", id="orientation-99"),
    ],
)
def test_broken_exif_leaves_the_picture_as_stored(sound: bytes, broken: bytes) -> None:
    data = FILES["jpeg"]
    assert data.count(sound) == 1
    turned, stored = attempt(data), attempt(data.replace(sound, broken))
    assert isinstance(turned, Photograph)
    assert isinstance(stored, Photograph)
    assert turned.lightness.shape == (56, 40)
    assert stored.lightness.shape == (40, 56)


def strips_tiff(offsets: int, **tags: int) -> bytes:
    """A TIFF that declares so many strips, of which there are none."""
    return tiff(gray_tiff(64, 64, **tags) | {273: 8, 279: 8}, bytes(64)).replace(
        struct.pack("<HHII", 273, 4, 1, 8), struct.pack("<HHII", 273, 4, offsets, 8)
    )


def in_a_tile(inner: bytes, compression: int) -> bytes:
    """A TIFF whose only tile is another file."""
    layout = Layout(tile=(16, 16), code=lambda _: inner, tags={259: compression})
    return tiff_of(page(noise(8, 3, 16, 16), RGB_SAMPLES, layout))


def jpeg_2000(side: int) -> bytes:
    """A JPEG 2000 codestream with the size in its header overwritten."""
    data = bytearray(imagecodecs.jpeg2k_encode(noise(16)[..., 0], level=0, codecformat="j2k", reversible=True))
    begin = data.index(b"\xff\x51") + 6
    data[begin : begin + 8] = struct.pack(">2I", side, side)
    data[begin + 16 : begin + 24] = struct.pack(">2I", side, side)
    return bytes(data)


def with_extents(data: bytes, side: int) -> bytes:
    """An AVIF or HEIC that says it is larger than its codes are."""
    at = data.index(b"ispe") + 8
    return data[:at] + struct.pack(">2I", side, side) + data[at + 8 :]


def pages(count: int) -> bytes:
    """A TIFF of so many pages of one pixel."""
    return tiff_of(*[Page({256: 1, 257: 1, 258: 8, 262: 1, 273: 8, 279: 1})] * count)


def many_tags(count: int) -> bytes:
    """A BigTIFF whose directory declares so many tags."""
    entries = b"".join(struct.pack("<HHQQ", tag % 65_536, 3, 1, 1) for tag in range(count))
    return struct.pack("<2s3HQ", b"II", 43, 8, 0, 16) + struct.pack("<Q", count) + entries + bytes(8)


def circle(tags: int) -> bytes:
    """A TIFF whose only directory, of so many tags, is its own next one."""
    return tiff(gray_tiff(4, 4, StripOffsets=8) | dict.fromkeys(range(40_000, 40_000 + tags), 1), bytes(16), 8)


def overlapping() -> bytes:
    """A TIFF of 3,000 directories of 60,000 tags each, every one of them in the next ones."""
    head = b"II*\0" + struct.pack("<I", 8)
    entry = struct.pack("<HHII", 60_000, 3, 1, 1)
    data = bytearray(head + entry * 64_000)
    for number in range(3_000):
        begin = 8 + number * 12
        struct.pack_into("<H", data, begin, 60_000)
        struct.pack_into("<I", data, begin + 2 + 12 * 60_000, begin + 12)
    return bytes(data)


def with_directories_below(count: int) -> bytes:
    """A thumbnail that says that so many pictures are below it, all of them at the same place."""
    thumbnail = page(noise(8), BLACK_IS_ZERO, Layout(tags={254: 1, 330: [8] * count}))
    return tiff_of(thumbnail)


BOMBS = {
    "2^27 strip offsets": strips_tiff(2**27),
    "2^32 - 1 strip offsets": strips_tiff(2**32 - 1),
    "a strip for each of many rows": tiff(gray_tiff(1, 900_000, RowsPerStrip=1) | {273: 8, 279: 1}, bytes(16)),
    "a tile with a JPEG of 60,000": in_a_tile(jpeg_with_size(60_000, 60_000), 7),
    "a tile with a PNG of 60,000": in_a_tile(png(60_000, 60_000, chunk(b"IDAT", zlib.compress(bytes(9)))), 34933),
    "a tile with a WebP of 16,384": in_a_tile(webp_lossless(16_384), 50001),
    "a tile with a JPEG 2000 of 60,000": in_a_tile(jpeg_2000(60_000), 34712),
    "JPEG 2000 of 60,000": jpeg_2000(60_000),
    "JPEG 2000 of 2^31": jpeg_2000(2**31 - 1),
    "JPEG without an end, of 65,500": jpeg_with_size(65_500, 65_500)[:-2],
    "JPEG-LS of 65,500": FILES["jpeg-ls"].replace(b"\x08\0\x28\0\x38", b"\x08\xff\xdc\xff\xdc", 1),
    "lossless JPEG of 65,500": FILES["jpeg-lossless"].replace(b"\0\x28\0\x38", b"\xff\xdc\xff\xdc", 1),
    "AVIF of 30,000": with_extents(FILES["avif"], 30_000),
    "AVIF of 10 bits of 30,000": with_extents(FILES["avif-10"], 30_000),
    "HEIC of 30,000": with_extents(FILES["heic"], 30_000),
    "Deflate of nothing": tiff(gray_tiff(900, 900, Compression=8, StripByteCounts=80_000) | {273: 200, 278: 900}, BOMB),
    "5,000 pages": pages(5_000),
    "1e6 tags": many_tags(1_000_000),
    "a circle of pages": circle(0),
    "a circle of pages of 20,000 tags": circle(20_000),
    "directories in each other": overlapping(),
    "500,000 pictures below": with_directories_below(500_000),
}  # fmt: skip

TAKE = """
import json, resource, struct, sys, time
from service.imaging.errors import ImageError
from service.imaging.photograph import inspect
report = {}
while header := sys.stdin.buffer.read(8):
    data = sys.stdin.buffer.read(struct.unpack("<Q", header)[0])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin = time.process_time()
    try:
        inspect(data, 1_000_000).decode()
    except ImageError:
        pass
    took = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    report[len(report)] = time.process_time() - begin, took * 1024
print(json.dumps(report))
"""

MOST_MEMORY, MOST_SECONDS = 200 * 2**20, 5
"""Of a picture of a million pixels and a file of megabytes; every one of the bombs asks for gigabytes or minutes."""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is in kilobytes there")
def test_bombs_take_little_time_and_memory() -> None:
    sent = b"".join(struct.pack("<Q", len(data)) + data for data in BOMBS.values())
    root = Path(__file__).parents[2]
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", TAKE], input=sent, cwd=root, capture_output=True, timeout=100
    )
    assert run.returncode == 0, run.stderr.decode()
    took = dict(zip(BOMBS, json.loads(run.stdout).values(), strict=True))
    assert {name: each for name, each in took.items() if each[0] > MOST_SECONDS or each[1] > MOST_MEMORY} == {}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_answered(name: str) -> None:
    attempt(BOMBS[name])
