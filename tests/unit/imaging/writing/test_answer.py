"""What is written can be read by anybody, and says what it is."""

import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, JpegImagePlugin

from service.imaging.errors import TooManyPixelsError
from service.imaging.formats import ImageFormat
from service.imaging.metadata.facts import Facts
from service.imaging.profile import SRGB_BYTES
from service.imaging.recompose import layout_of
from service.imaging.writing.answer import Encoding, sheet
from tests.photographs import assert_alpha, read
from tests.pictures import from_bytes, written

RANDOM = np.random.default_rng(0)
RGB = RANDOM.integers(0, 256, (24, 40, 3), dtype=np.uint8)
SMOOTH = np.dstack([np.add.outer(np.arange(24), np.arange(40)) * step for step in (3, 2, 1)]).astype(np.uint8)


def answer(pixels: NDArray[Any], format: ImageFormat, quality: int = 95) -> bytes:
    """Pixels (H, W, channels) as a file."""
    height, width, channels = pixels.shape
    encoding = Encoding(format, pixels.dtype.itemsize * 8, quality)
    return written(sheet(encoding, layout_of(width, height, channels, encoding.depth), Facts(), colors=True), pixels)


@pytest.mark.parametrize("format", ImageFormat)
def test_an_answer_is_tagged_and_reads_back(format: ImageFormat) -> None:
    image = from_bytes(answer(SMOOTH, format))
    assert isinstance(image, Image.Image)
    assert image.mode == "RGB"
    assert image.info["icc_profile"] == SRGB_BYTES
    error = np.abs(np.asarray(image).astype(int) - SMOOTH)
    assert error.max() <= (0 if format.lossless else 12)


@pytest.mark.parametrize("format", ImageFormat)
def test_the_media_type_is_the_files(format: ImageFormat) -> None:
    with Image.open(io.BytesIO(answer(SMOOTH, format))) as image:
        assert image.get_format_mimetype() == format.media_type


@pytest.mark.parametrize("format", [ImageFormat.PNG, ImageFormat.TIFF])
def test_16_bits_are_read_as_such_again(format: ImageFormat) -> None:
    pixels = RANDOM.integers(0, 65_536, (24, 40, 4), dtype=np.uint16)
    photograph = read(answer(pixels, format))
    assert_alpha(photograph, pixels[..., 3])


def test_without_colours_there_is_no_profile() -> None:
    encoding = Encoding(ImageFormat.PNG, 8)
    data = written(sheet(encoding, layout_of(40, 24, 3, 8), Facts(), colors=False), RGB)
    assert "icc_profile" not in from_bytes(data).info


def test_jpeg_keeps_full_chroma() -> None:
    image = from_bytes(answer(RGB, ImageFormat.JPEG))
    assert isinstance(image, JpegImagePlugin.JpegImageFile)
    assert JpegImagePlugin.get_sampling(image) == 0


@pytest.mark.parametrize("format", [ImageFormat.JPEG, ImageFormat.WEBP, ImageFormat.AVIF])
def test_quality_is_obeyed(format: ImageFormat) -> None:
    sizes = [len(answer(RGB, format, quality)) for quality in (20, 60, 95)]
    assert sizes == sorted(set(sizes))


@pytest.mark.parametrize("format", [ImageFormat.PNG, ImageFormat.TIFF, ImageFormat.WEBP])
def test_alpha_is_put_back(format: ImageFormat) -> None:
    alpha = RANDOM.integers(0, 256, (24, 40), dtype=np.uint8)
    assert_alpha(read(answer(np.dstack((RGB, alpha)), format)), alpha)


def test_jpeg_shows_transparency_as_white() -> None:
    pixels = np.zeros((24, 40, 4), np.uint8)
    pixels[:, 16:, 3] = 255
    photograph = read(answer(pixels, ImageFormat.JPEG))
    assert photograph.lightness[:, :16].min() > 99
    assert photograph.lightness[:, 16:].max() < 1


@pytest.mark.parametrize(("format", "side"), [(ImageFormat.WEBP, 16_384), (ImageFormat.JPEG, 65_501)])
def test_sides_that_a_format_cannot_hold_are_refused(format: ImageFormat, side: int) -> None:
    assert answer(np.zeros((1, side - 1, 3), np.uint8), format, 50)
    with pytest.raises(TooManyPixelsError, match=f"{format} holds at most {side - 1} a side; ask for png"):
        format.check_fits(side, 1)
