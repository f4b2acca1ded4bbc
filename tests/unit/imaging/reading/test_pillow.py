"""WebP, BMP and GIF."""

import struct
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from service.imaging.errors import UnsupportedFormatError
from tests.photographs import assert_alpha, assert_lightness, gray_lightness, read, rgb_lightness
from tests.pictures import to_bytes
from tests.tiff_samples import noise, ramp

RGB, RGBA = noise(8, 3), noise(8, 4)


def test_webp() -> None:
    assert_lightness(read(to_bytes(Image.fromarray(ramp(3)), "WEBP", quality=100)), rgb_lightness(ramp(3)), 6)
    assert_lightness(read(to_bytes(Image.fromarray(RGB), "WEBP", lossless=True)), rgb_lightness(RGB))
    photograph = read(to_bytes(Image.fromarray(RGBA), "WEBP", lossless=True, exact=True))
    assert_lightness(photograph, rgb_lightness(RGBA[..., :3]))
    assert_alpha(photograph, RGBA[..., 3])


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB"])
def test_bmp(mode: str) -> None:
    image = Image.fromarray(RGB).convert(mode)
    assert_lightness(read(to_bytes(image, "BMP")), rgb_lightness(np.asarray(image.convert("RGB"))))


def bmp(
    pixels: NDArray[Any], bits: int, compression: int = 0, masks: bytes = b"", top_down: bool = False, size: int = 40
) -> bytes:
    """Rows, each a multiple of 4 bytes, with a header of `size` bytes."""
    height, width = pixels.shape[:2]
    stored = (pixels if top_down else pixels[::-1]).tobytes()
    signed = -height if top_down else height
    header = struct.pack("<IiiHHII16x", size, width, signed, 1, bits, compression, len(stored))
    header += masks.ljust(size - 40, b"\0") if size > 40 else masks
    return b"BM" + struct.pack("<3I", 14 + len(header) + len(stored), 0, 14 + len(header)) + header + stored


@pytest.mark.parametrize("top_down", [False, True])
def test_bmp_either_way_up(top_down: bool) -> None:
    assert_lightness(read(bmp(RGB[..., ::-1], 24, top_down=top_down)), rgb_lightness(RGB))


def test_bmp_with_and_without_alpha() -> None:
    stored = RGBA[..., [2, 1, 0, 3]]
    photograph = read(bmp(stored, 32))
    assert_lightness(photograph, rgb_lightness(RGBA[..., :3]))
    assert photograph.alpha is None  # the fourth byte is of no use
    masks = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    photograph = read(bmp(stored, 32, compression=3, masks=masks, size=108))
    assert_lightness(photograph, rgb_lightness(RGBA[..., :3]))
    assert_alpha(photograph, RGBA[..., 3])


@pytest.mark.parametrize("bits", [(5, 5, 5), (5, 6, 5)])
def test_bmp_of_16_bits(bits: tuple[int, int, int]) -> None:
    levels = np.stack([np.random.default_rng(0).integers(0, 2**each, (40, 56)) for each in bits], axis=2)
    red, green, blue = (levels[..., i] for i in range(3))
    stored = (red << bits[1] + bits[2] | green << bits[2] | blue).astype("<u2")
    masks = struct.pack("<3I", (2 ** bits[0] - 1) << bits[1] + bits[2], (2 ** bits[1] - 1) << bits[2], 2 ** bits[2] - 1)
    data = bmp(stored, 16, compression=3, masks=masks)
    expected = rgb_lightness(levels / (2 ** np.array(bits) - 1), 1)
    assert_lightness(read(data), expected, 1.2)


@pytest.mark.parametrize(("compression", "name"), [(4, "JPEG"), (5, "PNG")])
def test_bmp_with_a_file_inside_is_refused_by_name(compression: int, name: str) -> None:
    with pytest.raises(UnsupportedFormatError, match=f"BMP with a {name} inside"):
        read(bmp(RGB, 24, compression=compression))


@pytest.mark.parametrize("interlace", [0, 1])
def test_gif(interlace: int) -> None:
    image = Image.fromarray(RGB).quantize(64)
    data = to_bytes(image, "GIF", interlace=interlace)
    assert_lightness(read(data), rgb_lightness(np.asarray(image.convert("RGB"))))


def test_gif_with_a_transparent_colour() -> None:
    image = Image.fromarray(RGB).quantize(16)
    photograph = read(to_bytes(image, "GIF", transparency=3))
    assert_alpha(photograph, np.where(np.asarray(image) == 3, 0, 255).astype(np.uint8))


def test_gif_that_its_first_picture_does_not_fill_is_refused_by_name() -> None:
    data = to_bytes(Image.fromarray(RGB).quantize(16), "GIF")
    wider = data[:6] + struct.pack("<2H", 60, 50) + data[10:]
    with pytest.raises(UnsupportedFormatError, match="GIF whose first picture does not fill it"):
        read(wider)


@pytest.mark.parametrize("name", ["GIF", "WEBP", "PNG"])
def test_only_the_first_frame_is_read(name: str) -> None:
    frames = [Image.new("L", (8, 6), level) for level in (50, 200)]
    photograph = read(to_bytes(frames[0], name, save_all=True, append_images=frames[1:]))
    assert_lightness(photograph, gray_lightness(np.full((6, 8), 50)), 1)
    assert torch.equal(photograph.lightness, read(to_bytes(frames[0], name)).lightness)
