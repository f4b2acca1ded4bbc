"""ICC profiles that change what they are applied to."""

import struct

from service.imaging.profile import SRGB_BYTES


def icc_profile(space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    """A minimal ICC version 2 profile."""
    white = struct.pack(">3I", 0xF6D6, 0x10000, 0xD32D)
    tags = {b"wtpt": b"XYZ \0\0\0\0" + white} | {name: value + bytes(-len(value) % 4) for name, value in tags.items()}
    table, body = struct.pack(">I", len(tags)), b""
    for name, value in tags.items():
        table += name + struct.pack(">2I", 132 + 12 * len(tags) + len(body), len(value))
        body += value
    header = bytes(4) + struct.pack(">I", 0x0240_0000) + b"mntr" + space + connection + bytes(12) + b"acsp"
    header = struct.pack(">I", 128 + len(table) + len(body)) + header + bytes(28) + white
    return header.ljust(128, b"\0") + table + body


LINEAR_GRAY = icc_profile(b"GRAY", b"XYZ ", {b"kTRC": b"curv" + bytes(4) + struct.pack(">IH", 1, 0x0100)})

ONLY_BLACK_INK = icc_profile(
    b"CMYK",
    b"Lab ",
    {
        b"A2B0": b"mft1" + bytes(4) + bytes((4, 3, 2, 0))
        + struct.pack(">9I", 65_536, 0, 0, 0, 65_536, 0, 0, 0, 65_536)
        + bytes(range(256)) * 4
        + bytes((255, 128, 128, 0, 128, 128)) * 8
        + bytes(range(256)) * 3
    },
)  # fmt: skip
"""Of CMYK in which only black darkens: L* = 100 · (1 − K)."""

SWAPPED_RGB = SRGB_BYTES.replace(b"rXYZ", b"----").replace(b"bXYZ", b"rXYZ").replace(b"----", b"bXYZ")
"""sRGB with its red and blue primaries exchanged."""
