"""Answers in every container, with the facts written as the container holds them."""

import struct
import zlib
from dataclasses import replace

from PIL import Image

from service.imaging.metadata.directory import LONG, SHORT, Directory, Entry, exif_block
from service.imaging.metadata.facts import Facts
from service.imaging.metadata.jpeg import jpeg_segments
from service.imaging.metadata.png import png_chunks
from service.imaging.metadata.tiff import tiff_entries
from service.imaging.metadata.webp import avif_blocks, webp_blocks
from tests.pictures import to_bytes

SIZE = (12, 10)
"""Of every answer, in pixels."""

CONTAINERS = ("JPEG", "PNG", "WebP", "TIFF", "AVIF")


def answer(facts: Facts, container: str) -> bytes:
    """A file with these facts and some colours."""
    image = Image.new("RGB", SIZE, "olive")
    match container:
        case "JPEG":
            dpi = (facts.resolution.x, facts.resolution.y) if facts.resolution is not None else (0, 0)
            data = to_bytes(image, "JPEG", dpi=dpi)
            end = 4 + int.from_bytes(data[4:6])
            return data[:end] + jpeg_segments(facts) + data[end:]
        case "PNG":
            data = to_bytes(image, "PNG")
            end = 8 + 25
            return data[:end] + b"".join(chunk(*pair) for pair in png_chunks(facts)) + data[end:]
        case "TIFF":
            return tiff(tiff_entries(facts))
        case _:
            exif, xmp = webp_blocks(facts) if container == "WebP" else avif_blocks(facts)
            return to_bytes(image, container, exif=exif, xmp=xmp)


def chunk(kind: bytes, payload: bytes) -> bytes:
    """A chunk of PNG."""
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))


def tiff(directory: Directory) -> bytes:
    """An uncompressed TIFF whose first directory has these entries beside those of its pixels."""
    width, height = SIZE
    pixels = bytes(width * height * 3)

    def laid(offset: int) -> bytes:
        structure = {
            256: (LONG, width), 257: (LONG, height), 258: (SHORT, 8, 8, 8), 259: (SHORT, 1), 262: (SHORT, 2),
            273: (LONG, offset), 277: (SHORT, 3), 278: (LONG, height), 279: (LONG, len(pixels)), 284: (SHORT, 1),
        }  # fmt: skip
        entries = {tag: Entry.integers(kind, directory.order, *values) for tag, (kind, *values) in structure.items()}
        return exif_block(replace(directory, entries={**directory.entries, **entries}))

    return laid(len(laid(0))) + pixels
