"""JPEG's segments (ITU-T T.81, annex B) that hold facts: JFIF's APP0, Exif's and XMP's APP1, Photoshop's APP13, COM."""

import struct
from collections.abc import Iterator, Mapping, Set

from PIL.ExifTags import IFD, Base

from service.imaging.metadata.directory import Directory, exif_block
from service.imaging.metadata.facts import Facts, gathered
from service.imaging.metadata.limits import LONGEST, MOST
from service.imaging.metadata.photoshop import resource_block
from service.imaging.metadata.resolution import Resolution
from service.imaging.metadata.xmp import LONGEST_PACKET, Packet, guid

_APP0, _APP1, _APP13, _COMMENT, _START_OF_SCAN, _END = 0xE0, 0xE1, 0xED, 0xFE, 0xDA, 0xD9
_STANDALONE = {0x01, *range(0xD0, 0xD9)}

_JFIF = b"JFIF\0"
_EXIF = b"Exif\0\0"
_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_EXTENDED_XMP = b"http://ns.adobe.com/xmp/extension/\0"
_PHOTOSHOP = b"Photoshop 3.0\0"

_LONGEST_PAYLOAD = 65_533

_MOST_EXTENSIONS = 4
"""Of XMP: one belongs to the packet, others are what some program has forgotten."""

_UNITS = {1: 1.0, 2: 2.54}
"""JFIF's: per inch, per centimetre; 0 is a mere ratio."""


def read_jpeg(data: bytes) -> Facts:
    """The facts of a JPEG file."""
    exif: bytes | None = None
    xmp: bytes | None = None
    comment: bytes | None = None
    resolution: Resolution | None = None
    resources = bytearray()
    extensions: dict[bytes, bytearray] = {}
    for marker, payload in _segments(data):
        if marker == _APP0 and payload.startswith(_JFIF) and len(payload) >= 12:
            unit, x, y = struct.unpack_from(">BHH", payload, 7)
            resolution = Resolution.of(x * _UNITS[unit], y * _UNITS[unit]) if unit in _UNITS else None
        elif marker == _APP1 and payload.startswith(_EXIF):
            exif = exif or payload
        elif marker == _APP1 and payload.startswith(_XMP):
            xmp = xmp or payload.removeprefix(_XMP)
        elif marker == _APP1 and payload.startswith(_EXTENDED_XMP):
            _continue(extensions, payload.removeprefix(_EXTENDED_XMP))
        elif marker == _APP13 and payload.startswith(_PHOTOSHOP):
            if len(resources) <= LONGEST:
                resources += payload.removeprefix(_PHOTOSHOP)
        elif marker == _COMMENT:
            comment = comment or payload
    return gathered(
        exif=exif,
        resources=bytes(resources),
        xmp=None if xmp is None else _joined(xmp, extensions),
        resolution=resolution,
        comment=comment,
    )


def jpeg_segments(facts: Facts) -> bytes:
    """Whole segments, to stand right behind JFIF's APP0, which holds the resolution once more.

    Exif that is longer than a segment loses the makers' notes, then its largest values, until it fits. An extension of
    XMP has no such limit; nor have Photoshop's resources, which go on in the next segment.
    """
    segments = []
    if facts.exif is not None:
        segments.append(_segment(_APP1, _EXIF + _exif_within(facts.exif, _LONGEST_PAYLOAD - len(_EXIF))))
    packet = None if facts.xmp is None else Packet.parse(facts.xmp)
    if packet is not None:
        main, extension = packet.split(_LONGEST_PAYLOAD - len(_XMP))
        segments.append(_segment(_APP1, _XMP + main))
        if extension is not None:
            head = _EXTENDED_XMP + guid(extension).encode() + struct.pack(">I", len(extension))
            room = _LONGEST_PAYLOAD - len(head) - 4
            for at in range(0, len(extension), room):
                part = extension[at : at + room]
                segments.append(_segment(_APP1, head + struct.pack(">I", at) + part))
    block = resource_block(facts.resources)
    room = _LONGEST_PAYLOAD - len(_PHOTOSHOP)
    segments += [_segment(_APP13, _PHOTOSHOP + block[at : at + room]) for at in range(0, len(block), room)]
    if facts.comment is not None:
        segments.append(_segment(_COMMENT, facts.comment[:_LONGEST_PAYLOAD]))
    return b"".join(segments)


def _segment(marker: int, payload: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, 2 + len(payload)) + payload


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Marker and payload of each segment before the pixels."""
    at = 2
    for _ in range(MOST):
        at = data.find(b"\xff", at)  # what lies between segments is skipped, as decoders do
        if at < 0 or at + 4 > len(data):
            return
        marker = data[at + 1]
        if marker == 0xFF:  # any number of them may go before a marker
            at += 1
            continue
        if marker in (_START_OF_SCAN, _END):
            return
        if marker in _STANDALONE:
            at += 2
            continue
        size = int.from_bytes(data[at + 2 : at + 4])
        if size < 2:
            return
        yield marker, data[at + 4 : at + 2 + size]
        at += 2 + size


def _continue(extensions: dict[bytes, bytearray], payload: bytes) -> None:
    """Appends what a segment has of an extension, known by its `guid`, if it follows what there is of it."""
    if len(payload) < 40:
        return
    if len(extensions) < _MOST_EXTENSIONS:
        extensions.setdefault(payload[:32], bytearray())
    begun = extensions.get(payload[:32])
    if begun is not None and len(begun) == int.from_bytes(payload[36:40]) and len(begun) <= LONGEST_PACKET:
        begun += payload[40:]


def _joined(xmp: bytes, extensions: Mapping[bytes, bytearray]) -> Packet | None:
    """The main packet, and with it the extension that it names."""
    main = Packet.parse(xmp)
    if main is None:
        return None
    extension = bytes(extensions.get(main.extension.encode(), b""))
    if guid(extension) == main.extension and (more := Packet.parse(extension)) is not None:
        main.join(more)
    return main


_Place = tuple[tuple[int, ...], int]
"""Of a value: the tags that lead to its directory, and its own."""


def _exif_within(directory: Directory, limit: int) -> bytes:
    """The block, its largest values left out until it is no longer than `limit`."""
    block = exif_block(directory)
    if len(block) <= limit:
        return block
    gone: set[_Place] = {((IFD.Exif,), Base.MakerNote)}
    values = sorted(_values(_without(directory, gone)))
    while len(block := exif_block(_without(directory, gone))) > limit:
        # As many at once as are needed at least, so that thousands of small ones do not take thousands of blocks.
        excess = len(block) - limit
        while excess > 0:
            size, place = values.pop()
            gone.add(place)
            excess -= size + 12
    return block


def _values(directory: Directory, path: tuple[int, ...] = ()) -> Iterator[tuple[int, _Place]]:
    """The size of each value, and its place."""
    for tag, entry in directory.entries.items():
        yield len(entry.value), (path, tag)
    for tag, child in directory.children.items():
        yield from _values(child, (*path, tag))


def _without(directory: Directory, gone: Set[_Place], path: tuple[int, ...] = ()) -> Directory:
    entries = {tag: entry for tag, entry in directory.entries.items() if (path, tag) not in gone}
    children = {tag: _without(child, gone, (*path, tag)) for tag, child in directory.children.items()}
    return Directory(directory.order, entries, children)
