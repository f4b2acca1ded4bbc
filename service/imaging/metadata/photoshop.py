"""Photoshop's image resources (Adobe Photoshop File Formats Specification, "Image Resource Section"): where a JPEG, and
often a TIFF, keeps its IPTC captions."""

import struct
from collections.abc import Iterable
from dataclasses import dataclass

from service.imaging.metadata.limits import MOST
from service.imaging.metadata.resolution import Resolution

IPTC, IPTC_DIGEST, RESOLUTION, COPYRIGHT_FLAG, URL = 0x0404, 0x0425, 0x03ED, 0x040A, 0x040B

_SIGNATURE = b"8BIM"

_OF_PIXELS = {
    *(0x03E8, 0x03EB, 0x03EE, 0x03EF, 0x03FB, 0x03FC, 0x0400, 0x0402, 0x0406, 0x0408, 0x0409, 0x040C, 0x040F),
    *(0x0411, 0x0413, 0x0415, 0x0416, 0x0417, 0x041A, 0x041D, 0x042D, 0x0430, 0x0435),
}
"""Thumbnails (0x0409, 0x040C), the ICC profile (0x040F), layers, channels, slices, how the JPEG was compressed, …"""

_KEPT_ELSEWHERE = {RESOLUTION, 0x0422, 0x0423, 0x0424}
"""Resolution, Exif and XMP."""


@dataclass(frozen=True, slots=True)
class Resource:
    """One image resource; `name` is mostly empty."""

    identifier: int
    data: bytes
    name: bytes = b""


def read_resources(data: bytes) -> tuple[Resource, ...]:
    """The resources up to the first that is broken."""
    resources: list[Resource] = []
    at = 0
    while data[at : at + 4] == _SIGNATURE and at + 8 <= len(data) and len(resources) < MOST:
        (identifier,) = struct.unpack_from(">H", data, at + 4)
        length = data[at + 6]
        name = data[at + 7 : at + 7 + length]
        at += 6 + 1 + length + (1 + length) % 2
        if at + 4 > len(data):
            break
        (size,) = struct.unpack_from(">I", data, at)
        at += 4
        if at + size > len(data):
            break
        resources.append(Resource(identifier, data[at : at + size], name))
        at += size + size % 2
    return tuple(resources)


def resource_block(resources: Iterable[Resource]) -> bytes:
    """The resources one after the other, as they stand in a file."""
    return b"".join(
        _SIGNATURE
        + struct.pack(">HB", resource.identifier, len(resource.name))
        + resource.name
        + bytes((1 + len(resource.name)) % 2)
        + struct.pack(">I", len(resource.data))
        + resource.data
        + bytes(len(resource.data) % 2)
        for resource in resources
    )


def descriptive(resources: Iterable[Resource]) -> tuple[Resource, ...]:
    """Those that do not speak of the source's pixels, nor of what is kept elsewhere."""
    gone = _OF_PIXELS | _KEPT_ELSEWHERE
    return tuple(resource for resource in resources if resource.identifier not in gone)


def resolution_of(resources: Iterable[Resource]) -> Resolution | None:
    """What resource 0x03ED says: 16.16 fixed point, always per inch."""
    for resource in resources:
        if resource.identifier == RESOLUTION and len(resource.data) >= 16:
            x, y = struct.unpack_from(">I4xI", resource.data)
            return Resolution.of(x / 65_536, y / 65_536)
    return None
