"""WebP's chunks (RFC 9649) "EXIF" and "XMP ", the only two places for facts, as in AVIF."""

import struct
from dataclasses import replace

from PIL.ExifTags import Base

from service.imaging.metadata.directory import exif_block
from service.imaging.metadata.facts import Facts, gathered
from service.imaging.metadata.limits import MOST
from service.imaging.metadata.mapping import captions_into_xmp, comment_into_exif
from service.imaging.metadata.xmp import Packet


def read_webp(data: bytes) -> Facts:
    """The facts of a WebP file."""
    found: dict[bytes, bytes] = {}
    at = 12
    for _ in range(MOST):
        if at + 8 > len(data):
            break
        kind, size = struct.unpack_from("<4sI", data, at)
        if kind in (b"EXIF", b"XMP ") and at + 8 + size <= len(data):
            found.setdefault(kind, data[at + 8 : at + 8 + size])
        at += 8 + size + size % 2
    return gathered(exif=found.get(b"EXIF"), xmp=found.get(b"XMP "))


def webp_blocks(facts: Facts) -> tuple[bytes, bytes]:
    """Exif (a TIFF structure) and XMP, each empty where there is nothing to say.

    There is no place for IPTC-IIM, Photoshop's resources or a comment: they go into XMP and Exif, where it lacks them.
    """
    directory = comment_into_exif(facts)
    packet = None if facts.xmp is None else Packet.parse(facts.xmp)
    if facts.resources:
        packet = packet or Packet.new()
        captions_into_xmp(facts, packet)
    exif = exif_block(directory) if directory.entries or directory.children else b""
    return exif, b"" if packet is None else packet.serialized()


def avif_blocks(facts: Facts) -> tuple[bytes, bytes]:
    """The same for AVIF's items, without Exif's orientation.

    AVIF turns pixels by a box of its own. Pillow makes that box of tag 274, and then writes the block anew without its
    letters beyond ASCII.
    """
    exif = facts.exif
    return webp_blocks(replace(facts, exif=None if exif is None else exif.without((Base.Orientation,))))
