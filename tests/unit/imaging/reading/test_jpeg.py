"""JPEGs of all kinds are read rightly, or refused by name."""

import struct
import time
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import torch
from PIL import Image

from service.imaging.errors import BrokenImageError, TooManyPixelsError, UnsupportedFormatError
from service.imaging.photograph import inspect
from tests.photographs import assert_lightness, gray_lightness, opened, read, rgb_lightness
from tests.pictures import to_bytes
from tests.profiles import LINEAR_GRAY, ONLY_BLACK_INK
from tests.tiff_samples import ink, noise, ramp

FILES = Path(__file__).parents[1] / "files"

GRAY, RGB, CMYK = ramp(1)[..., 0], ramp(3), ramp(4)
JPEG = to_bytes(Image.fromarray(GRAY), "JPEG", quality=98)

Y, X = np.mgrid[:48, :64]
MADE = X * 255 // 63 * 3 // 4 + Y * 255 // 47 // 4
"""What the files in `FILES` show."""


def without(data: bytes, marker: int) -> bytes:
    """A JPEG less its first segment of a kind."""
    begin = data.index(bytes((0xFF, marker)))
    return data[:begin] + data[begin + 2 + int.from_bytes(data[begin + 2 : begin + 4]) :]


def with_process(data: bytes, process: int) -> bytes:
    """A JPEG that says it is of another process."""
    return data.replace(b"\xff\xc0\0", bytes((0xFF, process, 0)))


@pytest.mark.parametrize("progressive", [False, True])
def test_grey(progressive: bool) -> None:
    data = to_bytes(Image.fromarray(GRAY), "JPEG", quality=98, progressive=progressive)
    assert_lightness(read(data), gray_lightness(GRAY), 1.5)


@pytest.mark.parametrize("sampling", ["444", "422", "420", "440", "411"])
def test_chroma_of_any_size(sampling: str) -> None:
    data = imagecodecs.jpeg8_encode(RGB, level=98, subsampling=sampling)
    assert_lightness(read(data), rgb_lightness(RGB), 3)


def test_rgb_that_is_no_ycbcr() -> None:
    data = imagecodecs.jpeg8_encode(RGB, level=98, colorspace="RGB", outcolorspace="RGB")
    assert_lightness(read(data), rgb_lightness(RGB), 2)


@pytest.mark.parametrize("space", ["CMYK", "YCCK"])
def test_ink(space: str) -> None:
    """Adobe's kind, in which 255 is no ink."""
    data = imagecodecs.jpeg8_encode(255 - CMYK, level=98, colorspace="CMYK", outcolorspace=space)
    assert b"Adobe" in data
    assert_lightness(read(data), ink(8)(CMYK), 3)


def test_ink_through_its_profile() -> None:
    image = Image.new("CMYK", (40, 24), (255, 255, 255, 51))
    assert_lightness(read(to_bytes(image, "JPEG")), torch.zeros(24, 40))
    data = to_bytes(image, "JPEG", icc_profile=ONLY_BLACK_INK)
    assert_lightness(read(data), torch.full((24, 40), 80.0), 0.5)


def test_ink_that_does_not_say_which_end_is_white_is_refused() -> None:
    data = without(to_bytes(Image.fromarray(CMYK, "CMYK"), "JPEG"), 0xEE)
    with pytest.raises(UnsupportedFormatError, match="four inks"):
        read(data)


@pytest.mark.parametrize("channels", [1, 3])
def test_12_bits(channels: int) -> None:
    wide = ramp(channels).astype(np.uint16) * 16 + 7
    original = opened(imagecodecs.jpeg_encode(wide.squeeze(), level=98, bitspersample=12))
    assert original.depth == 16
    assert_lightness(original.decode(), rgb_lightness(np.broadcast_to(wide, (*wide.shape[:2], 3)), 4095), 2)


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("encode", [imagecodecs.ljpeg_encode, imagecodecs.jpeg8_encode])
def test_lossless(encode: Callable[..., bytes], bits: int) -> None:
    levels = noise(bits)[..., 0]
    options = {"lossless": True} if encode is imagecodecs.jpeg8_encode else {}
    original = opened(encode(levels, bitspersample=bits, **options))
    assert original.depth == (8 if bits == 8 else 16)
    assert_lightness(original.decode(), gray_lightness(levels, 2**bits - 1))


def test_lossless_colours() -> None:
    levels = noise(8, 3)
    assert_lightness(read(imagecodecs.jpeg8_encode(levels, lossless=True)), rgb_lightness(levels))


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_ls(channels: int, bits: int) -> None:
    levels = noise(bits, channels)
    original = opened(imagecodecs.jpegls_encode(levels.squeeze()))
    assert original.depth == bits
    colors = np.broadcast_to(levels, (*levels.shape[:2], 3))
    assert_lightness(original.decode(), rgb_lightness(colors, 2**bits - 1), 0.02)


@pytest.mark.parametrize("name", ["arithmetic.jpg", "arithmetic-progressive.jpg"])
def test_arithmetic(name: str) -> None:
    assert_lightness(read((FILES / name).read_bytes()), gray_lightness(MADE), 2)


def test_arithmetic_that_ends_early_is_broken() -> None:
    data = (FILES / "arithmetic.jpg").read_bytes()
    with pytest.raises(BrokenImageError, match="has no end"):
        read(data[:-40])


@pytest.mark.parametrize("cut", [510, 851])
def test_jpeg_ls_that_ends_early_takes_no_time(cut: int) -> None:
    """CharLS looked for seconds for bits that are not there."""
    data = imagecodecs.jpegls_encode(noise(8)[..., 0])
    begin = time.perf_counter()
    with pytest.raises(BrokenImageError):
        read(data[:cut])
    with pytest.raises(BrokenImageError):
        read(data[:40] + b"\xff\xfe\0\4\xff\xd9" + data[40:cut])
    assert time.perf_counter() - begin < 2


@pytest.mark.parametrize("encode", [imagecodecs.jpegls_encode, imagecodecs.ljpeg_encode])
def test_lossless_that_ends_early_is_broken(encode: Callable[..., bytes]) -> None:
    with pytest.raises(BrokenImageError):
        read(encode(GRAY)[:-200])


@pytest.mark.parametrize("trailer", [b"", b"\n", b"\0" * 30, b"\xff\xd9" * 9, b"some words"])
def test_what_is_behind_the_end_makes_no_difference(trailer: bytes) -> None:
    assert torch.equal(read(JPEG + trailer).lightness, read(JPEG).lightness)


@pytest.mark.parametrize("data", [JPEG, to_bytes(Image.fromarray(RGB), "JPEG", quality=98)], ids=["grey", "colours"])
def test_only_the_end_marker_is_missing(data: bytes) -> None:
    assert torch.equal(read(data[:-2]).lightness, read(data).lightness)
    assert torch.equal(read(data[:-1]).lightness, read(data).lightness)


@pytest.mark.parametrize("cut", [4, 6, 12, 20, 100, 400])
@pytest.mark.parametrize("progressive", [False, True])
def test_pixels_are_missing(progressive: bool, cut: int) -> None:
    data = to_bytes(Image.fromarray(GRAY), "JPEG", quality=98, progressive=progressive)
    with pytest.raises(BrokenImageError, match="JPEG image is"):
        read(data[:-cut])


def test_height_at_the_end_is_refused_by_name() -> None:
    size = struct.pack(">2H", *GRAY.shape)
    data = JPEG.replace(size, bytes(2) + size[2:])
    with pytest.raises(UnsupportedFormatError, match="DNL"):
        read(data[:-2] + b"\xff\xdc\0\4" + size[:2] + data[-2:])


@pytest.mark.parametrize("process", [0xC5, 0xC6, 0xC7, 0xCB, 0xCD, 0xCE, 0xCF])
def test_hierarchical_and_others_are_refused_by_name(process: int) -> None:
    with pytest.raises(UnsupportedFormatError, match=f"JPEG of the kind SOF{process - 0xC0}, which is not read"):
        read(with_process(JPEG, process))


def test_four_components_of_12_bits_are_refused_by_name() -> None:
    wide = CMYK.astype(np.uint16) * 16
    with pytest.raises(UnsupportedFormatError, match="12 bits and 4 components"):
        read(imagecodecs.jpeg_encode(wide, level=98, bitspersample=12))


def test_size_is_told_before_decoding() -> None:
    for data in (JPEG, imagecodecs.jpegls_encode(GRAY), imagecodecs.ljpeg_encode(GRAY)):
        with pytest.raises(TooManyPixelsError, match="JPEG image declares 56 × 40 pixels; at most 9 "):
            inspect(bytes(data), 9)


def test_profile_in_several_parts() -> None:
    """A profile of more than a segment (ICC.1:2022, annex B.4), in a kind that Pillow does not read."""
    data = imagecodecs.jpegls_encode(GRAY)
    half = len(LINEAR_GRAY) // 2
    parts = [
        b"ICC_PROFILE\0" + bytes((number, 2)) + part
        for number, part in ((2, LINEAR_GRAY[half:]), (1, LINEAR_GRAY[:half]))
    ]
    segments = b"".join(b"\xff\xe2" + struct.pack(">H", len(part) + 2) + part for part in parts)
    plain, profiled = read(data), read(data[:2] + segments + data[2:])
    assert (profiled.lightness > plain.lightness + 1)[5:].all()
