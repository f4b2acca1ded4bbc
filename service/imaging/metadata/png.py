"""PNG's chunks (W3C PNG, third edition) that hold facts: pHYs, eXIf, and texts, among them XMP and the "raw profiles"
in which ImageMagick and ExifTool keep IPTC captions."""

import struct
import zlib
from collections.abc import Iterator

from service.imaging.metadata.directory import exif_block
from service.imaging.metadata.facts import Facts, gathered
from service.imaging.metadata.limits import LONGEST
from service.imaging.metadata.mapping import text_of
from service.imaging.metadata.photoshop import read_resources, resource_block
from service.imaging.metadata.resolution import INCH, Resolution
from service.imaging.metadata.xmp import Packet

_XMP = "XML:com.adobe.xmp"
_COMMENT = "Comment"
_RAW = "Raw profile type "

_WORDS = {"Title": "dc:title", "Author": "dc:creator", "Description": "dc:description", "Copyright": "dc:rights",
          "Software": "xmp:CreatorTool"}  # fmt: skip
"""PNG's keywords, and XMP's properties for the same."""

_KEYWORDS = {_XMP, _COMMENT, *_WORDS, *(_RAW + kind for kind in ("exif", "APP1", "iptc", "8bim", "xmp"))}

_MOST_CHUNKS = 100_000
"""Many a writer makes one chunk of every 8 KiB of pixels, and texts may follow those."""


def read_png(data: bytes) -> Facts:
    """The facts of a PNG file."""
    exif: bytes | None = None
    resolution: Resolution | None = None
    texts: dict[str, bytes] = {}
    for kind, payload in _chunks(data):
        if kind == b"eXIf":
            exif = exif or payload
        elif kind == b"pHYs" and len(payload) == 9:
            x, y, unit = struct.unpack(">IIB", payload)
            resolution = Resolution.of(x * INCH, y * INCH) if unit == 1 else None
        elif kind in (b"tEXt", b"zTXt", b"iTXt"):
            keyword = payload[:80].partition(b"\0")[0].decode("latin-1")
            # Of each keyword the first alone, because each may be unpacked to a thousand times its size.
            if keyword in _KEYWORDS and keyword not in texts:
                texts[keyword] = _text(kind, payload[len(keyword) + 1 :])
    profiles = {word.removeprefix(_RAW): _profile(text) for word, text in texts.items() if word.startswith(_RAW)}
    app1 = profiles.get("APP1", b"")
    captions = profiles.get("8bim") or profiles.get("iptc", b"")
    has_resources = bool(read_resources(captions))
    return gathered(
        exif=exif or profiles.get("exif") or (app1 if app1.startswith(b"Exif") else None),
        resources=captions if has_resources else None,
        iim=None if has_resources else captions,
        xmp=_with_words(texts.get(_XMP) or profiles.get("xmp"), texts),
        resolution=resolution,
        comment=texts.get(_COMMENT),
    )


def png_chunks(facts: Facts) -> list[tuple[bytes, bytes]]:
    """Type and payload of chunks to stand before the first IDAT."""
    chunks = []
    if facts.resolution is not None:
        metres = [min(round(value / INCH), 2**31 - 1) for value in (facts.resolution.x, facts.resolution.y)]
        chunks.append((b"pHYs", struct.pack(">IIB", *metres, 1)))
    if facts.exif is not None:
        chunks.append((b"eXIf", exif_block(facts.exif)))
    if facts.xmp is not None:
        chunks.append((b"iTXt", _XMP.encode() + bytes(5) + facts.xmp))
    if facts.resources:
        block = resource_block(facts.resources)
        lines = [block[at : at + 36].hex() for at in range(0, len(block), 36)]
        text = "\n".join(["", "iptc", f"{len(block):8}", *lines, ""])
        chunks.append((b"zTXt", (_RAW + "iptc").encode() + bytes(2) + zlib.compress(text.encode())))
    if facts.comment is not None:
        chunks.append((b"iTXt", _COMMENT.encode() + bytes(5) + text_of(facts.comment).encode()))
    return chunks


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Type and payload of every sound ancillary chunk."""
    at = 8
    for _ in range(_MOST_CHUNKS):
        if at + 12 > len(data):
            return
        size, kind = struct.unpack_from(">I4s", data, at)
        begin, end = at + 8, at + 8 + size
        if end + 4 > len(data):
            return
        at = end + 4
        if kind[0] & 0x20 and zlib.crc32(data[begin - 4 : end]) == int.from_bytes(data[end : end + 4]):
            yield kind, data[begin:end]


def _text(kind: bytes, value: bytes) -> bytes:
    """A text chunk's text behind its keyword, as UTF-8, unpacked no further than `LONGEST`."""
    if kind == b"tEXt":
        return value.decode("latin-1").encode()
    if kind == b"zTXt":
        return _inflated(value[1:]).decode("latin-1").encode()
    packed, (_, _, text) = value[:1] == b"\1", _split(value[2:])
    return _inflated(text) if packed else text


def _split(value: bytes) -> tuple[bytes, bytes, bytes]:
    """Language, translated keyword and text."""
    language, _, rest = value.partition(b"\0")
    keyword, _, text = rest.partition(b"\0")
    return language, keyword, text


def _inflated(packed: bytes) -> bytes:
    decompressor = zlib.decompressobj()
    try:
        text = decompressor.decompress(packed, LONGEST)
    except zlib.error:
        return b""
    return text if decompressor.eof else b""


def _profile(text: bytes) -> bytes:
    """A raw profile: lines with its name and its length, and then its bytes in hexadecimal."""
    _, _, rest = text.strip().partition(b"\n")
    _, _, hexadecimal = rest.partition(b"\n")
    try:
        return bytes.fromhex(hexadecimal.decode())
    except ValueError:
        return b""


def _with_words(xmp: bytes | None, texts: dict[str, bytes]) -> Packet | None:
    """The XMP packet, and in it what only PNG's own keywords say."""
    packet = None if xmp is None else Packet.parse(xmp)
    for word, name in _WORDS.items():
        if word not in texts:
            continue
        packet = packet or Packet.new()
        text = texts[word].decode(errors="replace")
        if packet.has(name):
            continue
        if name == "xmp:CreatorTool":
            packet.set_text(name, text)
        else:
            packet.set_items(name, "Seq" if name == "dc:creator" else "Alt", [text])
    return packet
