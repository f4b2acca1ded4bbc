"""PNGs of every colour type, depth and transparency."""

import struct
import zlib
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from service.imaging.color import gray_to_lightness, luminance_to_lightness
from service.imaging.errors import UnsupportedFormatError
from service.imaging.photograph import inspect
from tests.photographs import assert_alpha, assert_lightness, gray_lightness, read, rgb_lightness
from tests.profiles import LINEAR_GRAY
from tests.tiff_samples import noise
from tests.tiffs import packed

GRAY, RGB, PALETTE, GRAY_ALPHA, RGBA = 0, 2, 3, 4, 6

_PASSES = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
"""Adam7: first row and column, and the steps."""


def chunk(kind: bytes, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))


def png(samples: NDArray[Any], color: int, bits: int, *chunks: tuple[bytes, bytes], interlaced: bool = False) -> bytes:
    """A PNG of samples (h, w, n), by hand."""
    height, width, _ = samples.shape
    header = struct.pack(">2I5B", width, height, bits, color, 0, 0, interlaced)
    parts = [samples[top::down, left::across] for top, left, down, across in _PASSES] if interlaced else [samples]
    rows = b"".join(b"\0" + packed(row[None], bits, ">") for part in parts if part.size for row in part)
    before = b"".join(chunk(*each) for each in chunks)
    pixels = chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before + pixels


KINDS = [(GRAY, bits) for bits in (1, 2, 4, 8, 16)] + [
    (color, bits) for color in (RGB, GRAY_ALPHA, RGBA) for bits in (8, 16)
]
COUNTS = {GRAY: 1, RGB: 3, GRAY_ALPHA: 2, RGBA: 4}


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(("color", "bits"), KINDS)
def test_colour_types_and_depths(color: int, bits: int, interlaced: bool) -> None:
    samples = noise(bits, COUNTS[color])
    original = inspect(png(samples, color, bits, interlaced=interlaced), 10**6)
    photograph = original.decode()
    assert original.depth == max(8, bits)
    shown = gray_lightness(samples[..., 0], 2**bits - 1) if color in (GRAY, GRAY_ALPHA) else (
        rgb_lightness(samples[..., :3], 2**bits - 1)
    )  # fmt: skip
    assert_lightness(photograph, shown, 0.02 if color in (RGB, RGBA) else 1e-3)
    if color in (GRAY_ALPHA, RGBA):
        assert_alpha(photograph, samples[..., -1])
    else:
        assert photograph.alpha is None


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_palettes(bits: int, interlaced: bool) -> None:
    samples = noise(bits)
    table = np.random.default_rng(0).integers(0, 256, (2**bits, 3), np.uint8)
    data = png(samples, PALETTE, bits, (b"PLTE", table.tobytes()), interlaced=interlaced)
    assert_lightness(read(data), rgb_lightness(table[samples[..., 0]]))


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_palette_with_transparency(bits: int) -> None:
    samples = noise(bits)
    table = np.random.default_rng(0).integers(0, 256, (2**bits, 3), np.uint8)
    alphas = np.random.default_rng(1).integers(0, 256, 2**bits - 1, np.uint8)  # one short: the last is opaque
    data = png(samples, PALETTE, bits, (b"PLTE", table.tobytes()), (b"tRNS", alphas.tobytes()))
    photograph = read(data)
    assert_alpha(photograph, np.append(alphas, np.uint8(255))[samples[..., 0]])
    assert_lightness(photograph, rgb_lightness(table[samples[..., 0]]))


def test_a_transparent_colour_behind_a_long_text() -> None:
    samples = noise(4, 1)
    text = b"Comment\0" + bytes(b"x" * 3000)
    data = png(samples, GRAY, 4, (b"tEXt", text), (b"tRNS", struct.pack(">H", 3)))
    assert_alpha(read(data), np.where(samples[..., 0] == 3, 0, 255).astype(np.uint8))


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(
    ("color", "bits"), [(GRAY, 1), (GRAY, 2), (GRAY, 4), (GRAY, 8), (GRAY, 16), (RGB, 8), (RGB, 16)]
)
def test_one_transparent_colour(color: int, bits: int, interlaced: bool) -> None:
    samples = noise(bits, COUNTS[color])
    samples[3, 4] = samples[20, 30] = key = samples[7, 9].copy()
    # Its high byte alone, for those who compare 8 of 16 bits.
    samples[1, 1] = key ^ 1
    data = png(samples, color, bits, (b"tRNS", key.astype(">u2").tobytes()), interlaced=interlaced)
    photograph = read(data)
    largest = np.uint8(255) if bits <= 8 else np.uint16(65_535)
    assert_alpha(photograph, np.where((samples == key).all(axis=2), 0, largest).astype(largest.dtype))
    shown = gray_lightness(samples[..., 0], 2**bits - 1) if color == GRAY else rgb_lightness(samples, 2**bits - 1)
    assert_lightness(photograph, shown, 0.02)


@pytest.mark.parametrize("color", [GRAY, RGB, PALETTE])
@pytest.mark.parametrize("bits", [8, 16])
def test_gamma(color: int, bits: int) -> None:
    if color == PALETTE and bits == 16:
        pytest.skip("there is none")
    levels = noise(bits)
    samples = np.repeat(levels, 3, axis=2) if color == RGB else levels
    ramp = np.arange(256, dtype=np.uint8).repeat(3).tobytes()
    table = [(b"PLTE", ramp)] if color == PALETTE else []
    data = png(samples, color, bits, (b"gAMA", struct.pack(">I", 100_000)), *table)
    light = torch.from_numpy(levels[..., 0] / (2**bits - 1))
    assert_lightness(read(data), luminance_to_lightness(light).float(), 0.02)


@pytest.mark.parametrize(
    ("chunks", "heeded"),
    [
        ([], True),
        ([(b"sRGB", b"\0")], False),
        ([(b"cICP", bytes((1, 13, 0, 1)))], False),
        ([(b"iCCP", b"a\0\0" + zlib.compress(LINEAR_GRAY))], False),
    ],
    ids=["alone", "sRGB", "cICP", "iCCP"],
)
def test_what_goes_before_gamma(chunks: list[tuple[bytes, bytes]], heeded: bool) -> None:
    samples = noise(8)
    data = png(samples, GRAY, 8, *chunks, (b"gAMA", struct.pack(">I", 55_556)))
    same = torch.equal(read(data).lightness, read(png(samples, GRAY, 8, *chunks)).lightness)
    assert same is not heeded


@pytest.mark.parametrize("gamma", [0, 1, 45_455, 2**31, 2**32 - 1])
def test_gamma_that_is_srgbs_own_or_none_at_all(gamma: int) -> None:
    samples = noise(8)
    data = png(samples, GRAY, 8, (b"gAMA", struct.pack(">I", gamma)))
    assert_lightness(read(data), gray_lightness(samples[..., 0]))


def test_16_bits_keep_their_levels() -> None:
    levels = np.arange(0, 65_536, 16, dtype=np.uint16).reshape(64, 64, 1)
    photograph = read(png(levels, GRAY, 16))
    assert np.unique(photograph.lightness.numpy()).size == 4096
    assert_lightness(photograph, gray_to_lightness(torch.from_numpy(levels[..., 0] / np.float32(65_535))))


def test_apples_kind_is_refused_by_name() -> None:
    plain = png(noise(8), GRAY, 8)
    with pytest.raises(UnsupportedFormatError, match="PNG of Apple's own kind"):
        read(plain[:8] + chunk(b"CgBI", bytes(4)) + plain[8:])
