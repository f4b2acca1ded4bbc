"""Files made of boxes: AVIF and HEIC (ISO/IEC 14496-12, 23008-12), JPEG 2000 (15444-1, annex I), JPEG XL (18181-2)."""

import struct
from collections import defaultdict
from collections.abc import Iterator

from service.imaging.metadata.facts import Facts, gathered
from service.imaging.metadata.limits import LONGEST, MOST
from service.imaging.metadata.resolution import INCH, Resolution, best

_UUIDS = {
    bytes.fromhex("be7acfcb97a942e89c71999491e3afac"): "xmp",
    b"JpgTiffExif->JP2": "exif",
    bytes.fromhex("33c7a4d2b81d4723a0baf1a3e097ad38"): "iptc",
    bytes.fromhex("2c4c0100850440b9a03e562148d6dfeb"): "photoshop",
}
"""Of the boxes in which JPEG 2000 files keep these."""


def read_heif(data: bytes) -> Facts:
    """The facts of an AVIF or HEIC file, whose decoders turn the pixels by themselves."""
    meta = next((payload for kind, payload in _boxes(data) if kind == b"meta"), b"")
    inside: dict[bytes, bytes] = {}
    for kind, payload in _boxes(meta[4:]):
        inside.setdefault(kind, payload)
    wanted = _item_kinds(inside.get(b"iinf", b""))
    found: dict[str, bytes] = {}
    sources = defaultdict(bytes, {0: data, 1: inside.get(b"idat", b"")})
    for identifier, extents in _locations(inside.get(b"iloc", b"")):
        item = wanted.get(identifier)
        if item is None or item in found:
            continue
        if sum(size for _, _, size in extents) <= LONGEST:
            found[item] = b"".join(sources[method][begin : begin + size] for method, begin, size in extents)
    return gathered(exif=_behind_offset(found.get("Exif")), xmp=found.get("mime"), turned=True)


def read_jpeg_xl(data: bytes) -> Facts:
    """The facts of a JPEG XL file, whose codestream says how it is turned. A bare codestream has none."""
    found: dict[bytes, bytes] = {}
    if data[4:8] == b"JXL ":
        for kind, payload in _boxes(data):
            if kind in (b"Exif", b"xml "):
                found.setdefault(kind, payload)
    return gathered(exif=_behind_offset(found.get(b"Exif")), xmp=found.get(b"xml "), turned=True)


def read_jpeg_2000(data: bytes) -> Facts:
    """The facts of a JP2 file, of which no reader turns the pixels. A bare codestream has none."""
    found: dict[str, bytes] = {}
    resolutions: dict[bytes, Resolution | None] = {}
    if data[4:8] == b"jP  ":
        for kind, payload in _boxes(data):
            if kind == b"uuid" and (known := _UUIDS.get(payload[:16])) is not None:
                found.setdefault(known, payload[16:])
            elif kind == b"jp2h":
                for inner, header in _boxes(payload):
                    if inner == b"res ":
                        resolutions |= {which: _resolution(value) for which, value in _boxes(header)}
    return gathered(
        exif=found.get("exif"),
        resources=found.get("photoshop"),
        iim=found.get("iptc"),
        xmp=found.get("xmp"),
        resolution=best((resolutions.get(b"resc"), resolutions.get(b"resd"))),
        turned=True,
    )


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Type and payload of the boxes one after the other, but for those that are too long to hold facts."""
    at = 0
    for _ in range(MOST):
        if at + 8 > len(data):
            return
        size, kind = struct.unpack_from(">I4s", data, at)
        head = 8
        if size == 1 and at + 16 <= len(data):
            (size,) = struct.unpack_from(">Q", data, at + 8)
            head = 16
        elif size == 0:
            size = len(data) - at
        if size < head or at + size > len(data):
            return
        if size <= LONGEST:
            yield kind, data[at + head : at + size]
        at += size


def _behind_offset(block: bytes | None) -> bytes | None:
    """Exif behind the number of bytes that go before its TIFF header, and behind those."""
    if block is None or len(block) < 4:
        return None
    return block[4 + int.from_bytes(block[:4]) :]


def _item_kinds(payload: bytes) -> dict[int, str]:
    """By item: "Exif", or "mime" where that is XMP."""
    kinds: dict[int, str] = {}
    if not payload:
        return kinds
    for box, entry in _boxes(payload[6 if payload[0] == 0 else 8 :]):
        if box != b"infe" or len(entry) < 12 or entry[0] not in (2, 3):
            continue
        width = 2 if entry[0] == 2 else 4
        identifier = int.from_bytes(entry[4 : 4 + width])
        kind = entry[6 + width : 10 + width]
        _, _, content_type = entry[10 + width :].partition(b"\0")
        if kind == b"Exif" or (kind == b"mime" and content_type.startswith(b"application/rdf+xml")):
            kinds[identifier] = kind.decode()
    return kinds


def _locations(payload: bytes) -> Iterator[tuple[int, list[tuple[int, int, int]]]]:
    """By item: construction method, begin and size of each of its extents (ISO/IEC 14496-12, 8.11.3)."""
    if len(payload) < 6 or payload[0] > 2:
        return
    version = payload[0]
    offset_size, length_size, base_size, index_size = (*divmod(payload[4], 16), *divmod(payload[5], 16))
    reader = _Integers(payload, 6)
    left = MOST
    for _ in range(min(MOST, reader.next(2 if version < 2 else 4))):
        identifier = reader.next(2 if version < 2 else 4)
        method = reader.next(2) & 15 if version else 0
        reader.next(2)  # in which file the data are: 0 is this one, and others are not sent
        base = reader.next(base_size)
        extents = []
        for _ in range(reader.next(2)):
            if version:
                reader.next(index_size)
            begin, size = base + reader.next(offset_size), reader.next(length_size)
            extents.append((method, begin, size))
            left -= 1
            if reader.spent or not left:
                return
        yield identifier, extents


class _Integers:
    """Big-endian integers one after the other; 0 behind the end."""

    def __init__(self, data: bytes, at: int) -> None:
        self._data = data
        self._at = at

    def next(self, size: int) -> int:
        self._at += size
        return int.from_bytes(self._data[self._at - size : self._at])

    @property
    def spent(self) -> bool:
        """Whether all has been read, and more."""
        return self._at > len(self._data)


def _resolution(payload: bytes) -> Resolution | None:
    """Of a box "resc" or "resd": pixels per metre down and across, each as a fraction and a power of 10."""
    if len(payload) != 10:
        return None
    above_y, below_y, above_x, below_x, power_y, power_x = struct.unpack(">4H2b", payload)
    if not below_y or not below_x:
        return None
    return Resolution.of(above_x / below_x * 10.0**power_x * INCH, above_y / below_y * 10.0**power_y * INCH)
