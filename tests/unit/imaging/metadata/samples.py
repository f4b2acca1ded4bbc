"""Facts to carry from file to file."""

import struct

from PIL import Image
from PIL.ExifTags import IFD, Base

from service.imaging.metadata.directory import LONG, RATIONAL, SHORT, UNDEFINED, Directory, Entry, Order, exif_block
from service.imaging.metadata.facts import Facts
from service.imaging.metadata.photoshop import IPTC, Resource, resource_block
from service.imaging.metadata.resolution import Resolution
from tests.pictures import to_bytes

XMP = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about="uuid:42" xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" photoshop:City="Zürich" photoshop:ColorMode="1"
    xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:archive="https://archive.example.org/">
   <dc:title><rdf:Alt>
    <rdf:li xml:lang="x-default">Fischmarkt</rdf:li><rdf:li xml:lang="fr">Marché</rdf:li>
   </rdf:Alt></dc:title>
   <dc:subject><rdf:Bag><rdf:li>Markt</rdf:li><rdf:li>Fische</rdf:li></rdf:Bag></dc:subject>
   <xmp:Thumbnails><rdf:Alt><rdf:li rdf:parseType="Resource"/></rdf:Alt></xmp:Thumbnails>
   <archive:box rdf:parseType="Resource"><archive:shelf>R 7</archive:shelf></archive:box>
  </rdf:Description>
  <rdf:Description rdf:about="uuid:42" xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"
    tiff:ImageWidth="4000"/>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>""".encode()
"""A packet with attributes, alternatives, a bag, a structure and a namespace of somebody's own."""


def iim(*sets: tuple[int, int, bytes]) -> bytes:
    """IPTC-IIM data sets."""
    return b"".join(struct.pack(">BBBH", 0x1C, record, number, len(value)) + value for record, number, value in sets)


CAPTIONS = iim(
    (1, 90, b"\x1b%G"),
    (2, 120, "Händler am Fluß".encode()),
    (2, 80, "Jürgen Weiß".encode()),
    (2, 25, b"Markt"),
    (2, 25, "Flüsse".encode()),
    (2, 55, b"19310800"),
    (2, 90, b"Basel"),
)


def exif(order: Order = "<") -> Directory:
    """A camera's Exif, with letters that are not ASCII, a place and makers' notes."""
    camera = {
        int(Base.DateTimeOriginal): Entry.text("1931:08:01 12:00:00"),
        int(Base.MakerNote): Entry(UNDEFINED, 40, bytes(range(40)), 600),
        int(Base.ColorSpace): Entry.integers(SHORT, order, 65_535),
        int(Base.ExifImageWidth): Entry.integers(LONG, order, 4000),
    }
    entries = {
        int(Base.ImageDescription): Entry.text("Fischmarkt, Zürich"),
        int(Base.Copyright): Entry.text("© Stadtarchiv"),
        int(Base.Orientation): Entry.integers(SHORT, order, 6),
        int(Base.Software): Entry.text("SilverFast"),
        int(Base.XResolution): Entry(RATIONAL, 1, struct.pack(order + "2I", 600, 1)),
        int(Base.YResolution): Entry(RATIONAL, 1, struct.pack(order + "2I", 600, 1)),
        int(Base.ResolutionUnit): Entry.integers(SHORT, order, 2),
    }
    place = Directory(order, {1: Entry.text("N"), 2: Entry(RATIONAL, 3, struct.pack(order + "6I", 47, 1, 22, 1, 0, 1))})
    return Directory(order, entries, {IFD.Exif: Directory(order, camera), IFD.GPSInfo: place})


def facts(order: Order = "<") -> Facts:
    """All of them."""
    return Facts(
        exif=exif(order),
        resources=(
            Resource(IPTC, CAPTIONS),
            Resource(0x040A, b"\1"),
            Resource(0x040B, b"https://archive.example.org/7"),
        ),
        xmp=XMP,
        resolution=Resolution(600, 600),
        comment="Rückseite leer".encode(),
    )


def box(kind: bytes, payload: bytes, wide: bool = False) -> bytes:
    if wide:
        return struct.pack(">I4sQ", 1, kind, 16 + len(payload)) + payload
    return struct.pack(">I4s", 8 + len(payload), kind) + payload


def heic(version: int, method: int) -> bytes:
    """With Exif as item 1 and XMP as item 2, in two extents each, in the file or in the box "idat"."""
    exif_item = struct.pack(">I", 6) + b"Exif\0\0" + exif_block(exif())
    infos = b"".join(
        box(b"infe", struct.pack(">IHH4s", 2 << 24, number, 0, kind) + b"\0" + content)
        for number, kind, content in ((1, b"Exif", b""), (2, b"mime", b"application/rdf+xml\0"))
    )
    iinf = box(b"iinf", struct.pack(">IH", 0, 2) + infos)

    def meta(begin: int) -> bytes:
        table = struct.pack(">BBHBBH", version, 0, 0, 0x44, 0x40, 2)
        for number, item in ((1, exif_item), (2, XMP)):
            table += struct.pack(">H", number) + (struct.pack(">H", method) if version else b"")
            table += struct.pack(">HIH", 0, begin, 2)
            for at, size in ((0, 10), (10, len(item) - 10)):
                table += struct.pack(">II", at, size)
            begin += len(item)
        payload = bytes(4) + iinf + box(b"iloc", table)
        return box(b"meta", payload + (box(b"idat", exif_item + XMP) if method else b""))

    head = box(b"ftyp", b"heic\0\0\0\0mif1heic")
    begin = 0 if method else len(head) + len(meta(0)) + 8
    return head + meta(begin) + (b"" if method else box(b"mdat", exif_item + XMP))


def jpeg_xl() -> bytes:
    """A container with Exif and XMP, of a codestream that is none."""
    signature = box(b"JXL ", b"\r\n\x87\n")
    return signature + box(b"xml ", XMP) + box(b"Exif", bytes(4) + exif_block(exif())) + box(b"jxlc", b"\xff\x0a")


def jpeg_2000(wide: bool = False) -> bytes:
    """With all that is known of, 600 pixels per inch down and 300 across, and long boxes if wanted."""
    data = to_bytes(Image.new("L", (8, 8)), "JPEG2000")
    header = data.index(b"jp2h") - 4
    inner = data[header + 8 : header + int.from_bytes(data[header : header + 4])]
    resolution = box(b"res ", box(b"resc", struct.pack(">4H2b", 23_622, 1, 11_811, 100, 0, 2)))
    uuids = (
        box(b"uuid", bytes.fromhex("be7acfcb97a942e89c71999491e3afac") + XMP, wide)
        + box(b"uuid", b"JpgTiffExif->JP2" + exif_block(exif()))
        + box(b"uuid", bytes.fromhex("33c7a4d2b81d4723a0baf1a3e097ad38") + CAPTIONS)
        + box(b"uuid", bytes.fromhex("2c4c0100850440b9a03e562148d6dfeb") + resource_block(facts().resources[1:]))
    )
    return data[:header] + box(b"jp2h", inner + resolution) + uuids + data[header + 8 + len(inner) :]


def gif() -> bytes:
    """With XMP and a comment."""
    data = to_bytes(Image.new("L", (8, 8)), "GIF", comment="Rückseite".encode() * 40)
    at = data.index(b"\x21\xfe")
    magic = b"\1" + bytes(range(255, -1, -1)) + b"\0"
    return data[:at] + b"!\xff\x0bXMP DataXMP" + XMP + magic + data[at:]
