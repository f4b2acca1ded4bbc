"""Pictures as files, and back."""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.imaging.writing.sheets import Layout, Sheet


def to_bytes(image: Image.Image, format: str, **options: Any) -> bytes:
    """A picture as the bytes of a file."""
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def from_bytes(data: bytes | memoryview) -> Image.Image:
    """The bytes of a file as a picture, decoded."""
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def random_pixels(layout: Layout) -> NDArray[Any]:
    """Noise of that layout, (H, W, channels)."""
    shape = layout.height, layout.width, layout.channels
    return np.random.default_rng(0).integers(0, 2**layout.depth, shape, dtype=f"u{layout.depth // 8}")


def band_of(layout: Layout, pixels: NDArray[Any], index: int) -> NDArray[Any]:
    """A band of a picture."""
    return pixels[index * layout.rows : (index + 1) * layout.rows]


def written(sheet: Sheet, pixels: NDArray[Any]) -> bytes:
    """The file of a picture that is put on a sheet band by band."""
    for index in range(sheet.layout.bands):
        sheet.put(index, band_of(sheet.layout, pixels, index))
    return bytes(sheet.finish())
