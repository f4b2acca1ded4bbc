"""Pictures as files, and back."""

import io
from typing import Any

from PIL import Image


def to_bytes(image: Image.Image, format: str, **options: Any) -> bytes:
    """A picture as the bytes of a file."""
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def from_bytes(data: bytes) -> Image.Image:
    """The bytes of a file as a picture, decoded."""
    image = Image.open(io.BytesIO(data))
    image.load()
    return image
