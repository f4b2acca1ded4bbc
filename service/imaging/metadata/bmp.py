"""BMP's header: all that it says beside its pixels is their resolution."""

import struct

from service.imaging.metadata.facts import Facts
from service.imaging.metadata.resolution import INCH, Resolution


def read_bmp(data: bytes) -> Facts:
    """The resolution, where the header is one that has it."""
    if len(data) < 46 or int.from_bytes(data[14:18], "little") < 40:
        return Facts()
    x, y = struct.unpack_from("<ii", data, 38)
    return Facts(resolution=Resolution.of(x * INCH, y * INCH))
