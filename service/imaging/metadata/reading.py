"""The facts of any kind of file that is read."""

from collections.abc import Callable, Mapping

from service.imaging.metadata.bmp import read_bmp
from service.imaging.metadata.boxes import read_heif, read_jpeg_2000, read_jpeg_xl
from service.imaging.metadata.facts import Facts
from service.imaging.metadata.gif import read_gif
from service.imaging.metadata.jpeg import read_jpeg
from service.imaging.metadata.png import read_png
from service.imaging.metadata.tiff import read_tiff
from service.imaging.metadata.webp import read_webp

_READERS: Mapping[str, Callable[[bytes], Facts]] = {
    "JPEG": read_jpeg,
    "PNG": read_png,
    "WebP": read_webp,
    "AVIF": read_heif,
    "HEIC": read_heif,
    "JPEG 2000": read_jpeg_2000,
    "JPEG XL": read_jpeg_xl,
    "GIF": read_gif,
    "BMP": read_bmp,
}


def read_facts(data: bytes, kind: str, directory_offset: int | None = None) -> Facts:
    """The facts of a file.

    `kind` is "JPEG", "PNG", "WebP", "TIFF", "AVIF", "HEIC", "JPEG 2000", "JPEG XL", "GIF" or "BMP". `directory_offset`
    is that of the TIFF page's directory that the picture is from; None: the first one's. What is broken is left out,
    whatever the bytes; nothing is raised for them. Time and memory are bounded by the data's size.

    Raises:
        KeyError: there is no such kind.
    """
    return read_tiff(data, directory_offset) if kind == "TIFF" else _READERS[kind](data)
