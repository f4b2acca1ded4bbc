"""IPTC-IIM 4.2: captions as news agencies have kept them since 1991."""

import struct
from collections import defaultdict
from collections.abc import Mapping, Sequence

from service.imaging.metadata.limits import MOST

_MARKER = 0x1C
_ENCODING = (1, 90)


def complete(data: bytes) -> bytes:
    """The data sets up to the first that is broken, without what fills the place behind them."""
    return data[: max((end for _, _, end in _positions(data)), default=0)]


def texts(data: bytes) -> Mapping[tuple[int, int], Sequence[str]]:
    """All data sets as text, by record and number; one that is repeatable has several.

    Where 1:90 does not declare UTF-8, it is tried all the same, and what is not UTF-8 is Latin-1.
    """
    values: defaultdict[tuple[int, int], list[bytes]] = defaultdict(list)
    for key, begin, end in _positions(data):
        values[key].append(data[begin:end])
    return {key: [_decoded(value) for value in found] for key, found in values.items() if key != _ENCODING}


def _decoded(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _positions(data: bytes) -> list[tuple[tuple[int, int], int, int]]:
    """Of each data set its record and number, and where its value begins and ends."""
    found: list[tuple[tuple[int, int], int, int]] = []
    at = 0
    while at + 5 <= len(data) and data[at] == _MARKER and len(found) < MOST:
        record, number, size = struct.unpack_from(">BBH", data, at + 1)
        at += 5
        if size & 0x8000:  # an extended one: that many bytes hold the size
            length = size & 0x7FFF
            if length > 8 or at + length > len(data):
                break
            size = int.from_bytes(data[at : at + length])
            at += length
        if at + size > len(data):
            break
        found.append(((record, number), at, at + size))
        at += size
    return found
