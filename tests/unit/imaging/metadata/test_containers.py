"""Facts written into every container and read back: by us, and by readers that know nothing of us."""

import hashlib
import io
import struct
import zlib
from dataclasses import replace
from typing import Any

import pytest
import tifffile
from lxml import etree
from PIL import Image, PngImagePlugin
from PIL.ExifTags import IFD, Base

from service.imaging.metadata.directory import LONG, UNDEFINED, Directory, Entry, Order, exif_block
from service.imaging.metadata.facts import Facts, orientation
from service.imaging.metadata.jpeg import jpeg_segments
from service.imaging.metadata.mapping import text_of
from service.imaging.metadata.photoshop import Resource, resource_block
from service.imaging.metadata.reading import read_facts
from service.imaging.metadata.resolution import Resolution
from service.imaging.metadata.webp import webp_blocks
from service.imaging.metadata.xmp import NAMESPACES, Packet
from tests.containers import CONTAINERS, answer, chunk, tiff
from tests.pictures import from_bytes, to_bytes
from tests.unit.imaging.metadata.samples import CAPTIONS, XMP, exif, facts, iim


def packet_of(found: Facts) -> Packet:
    packet = Packet.parse(found.xmp or b"")
    assert packet is not None
    return packet


def texts(xmp: bytes, path: str) -> list[str]:
    root = etree.fromstring(xmp.strip(b"\0"))
    return [str(found) for found in root.xpath(path + "/text()", namespaces=NAMESPACES)]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("container", CONTAINERS)
def test_facts_come_back(container: str, order: Order) -> None:
    found = read_facts(answer(facts(order), container), container)
    assert found.exif is not None
    assert found.exif.text(Base.ImageDescription) == "Fischmarkt, Zürich"
    assert found.exif.text(Base.Copyright) == "© Stadtarchiv"
    assert found.exif.child(IFD.Exif).text(Base.DateTimeOriginal) == "1931:08:01 12:00:00"
    assert found.exif.child(IFD.Exif).entries[Base.MakerNote].value == bytes(range(40))
    assert found.exif.child(IFD.GPSInfo).numbers(2) == (47, 22, 0)
    assert found.resolution is not None
    assert found.resolution.x == pytest.approx(600)
    packet = packet_of(found)
    assert packet.text("dc:title") == "Fischmarkt"
    assert packet.text("photoshop:City") == "Zürich"
    if container in ("JPEG", "PNG", "TIFF"):
        assert found.resources == facts().resources
        assert found.iptc == CAPTIONS
    else:
        assert found.resources == ()
    assert orientation(found) == (1 if container == "AVIF" else 6)


@pytest.mark.parametrize("container", ["JPEG", "PNG"])
def test_comments_come_back(container: str) -> None:
    assert read_facts(answer(facts(), container), container).comment == "Rückseite leer".encode()


@pytest.mark.parametrize("container", ["WebP", "TIFF", "AVIF"])
def test_comments_go_where_exif_has_a_place_for_them(container: str) -> None:
    found = read_facts(answer(facts(), container), container)
    assert found.exif is not None
    comment = found.exif.child(IFD.Exif).entries[Base.UserComment].value
    assert comment == b"UNICODE\0" + "Rückseite leer".encode("utf-16-le")
    taken = replace(facts(), comment=b"plain", exif=Directory())
    found = read_facts(answer(taken, container), container)
    assert found.exif is not None
    assert found.exif.child(IFD.Exif).entries[Base.UserComment].value == b"ASCII\0\0\0plain"


def test_pillow_reads_the_jpeg() -> None:
    image: Any = from_bytes(answer(facts(), "JPEG"))
    assert image.getexif()[Base.Orientation] == 6
    assert image.getexif().get_ifd(IFD.Exif)[Base.DateTimeOriginal] == "1931:08:01 12:00:00"
    assert texts(image.info["xmp"], "//dc:subject//rdf:li") == ["Markt", "Fische"]
    assert image.info["photoshop"][0x0404] == CAPTIONS
    assert image.info["comment"] == "Rückseite leer".encode()
    assert image.info["dpi"] == (600, 600)


def test_pillow_reads_the_png() -> None:
    image: Any = from_bytes(answer(facts(), "PNG"))
    assert image.getexif()[Base.Orientation] == 6
    assert texts(image.info["xmp"], "//dc:subject//rdf:li") == ["Markt", "Fische"]
    assert image.info["Comment"] == "Rückseite leer"
    assert image.info["dpi"] == pytest.approx((600, 600), rel=1e-4)
    assert bytes.fromhex(image.info["Raw profile type iptc"].split("\n", 3)[3]).startswith(b"8BIM\4\4")


@pytest.mark.parametrize("container", ["WebP", "AVIF"])
def test_pillow_reads_webp_and_avif(container: str) -> None:
    image: Any = from_bytes(answer(facts(), container))
    assert image.getexif().get_ifd(IFD.Exif)[Base.DateTimeOriginal] == "1931:08:01 12:00:00"
    assert texts(image.info["xmp"], "//dc:subject//rdf:li") == ["Markt", "Fische"]
    assert texts(image.info["xmp"], "//dc:description//rdf:li") == ["Händler am Fluß"]


@pytest.mark.parametrize("order", ["<", ">"])
def test_tifffile_reads_the_tiff(order: Order) -> None:
    with tifffile.TiffFile(io.BytesIO(answer(facts(order), "TIFF"))) as file:
        tags = file.pages.first.tags
        assert tags[270].value == "Fischmarkt, Zürich"
        assert tags[282].value == (600, 1)
        assert tags[34665].value["DateTimeOriginal"] == "1931:08:01 12:00:00"
        assert tags[34853].value["GPSLatitudeRef"] == "N"
        assert tags[33723].value == CAPTIONS
        assert texts(bytes(tags[700].value), "//dc:subject//rdf:li") == ["Markt", "Fische"]


def test_captions_become_xmp_where_that_is_silent() -> None:
    _, xmp = webp_blocks(facts())
    assert texts(xmp, "//dc:creator/rdf:Seq/rdf:li") == ["Jürgen Weiß"]
    assert texts(xmp, "//dc:description/rdf:Alt/rdf:li[@xml:lang='x-default']") == ["Händler am Fluß"]
    assert texts(xmp, "//dc:subject//rdf:li") == ["Markt", "Fische"]  # its own
    assert texts(xmp, "//photoshop:City") == ["Zürich"]  # its own
    assert texts(xmp, "//photoshop:DateCreated") == ["1931-08"]
    assert texts(xmp, "//xmpRights:Marked") == ["True"]
    assert texts(xmp, "//xmpRights:WebStatement") == ["https://archive.example.org/7"]
    assert webp_blocks(Facts()) == (b"", b"")


@pytest.mark.parametrize(
    ("day", "time", "date"),
    [
        (b"19310801", b"120000+0100", "1931-08-01T12:00:00+01:00"),
        (b"19310801", b"120000", "1931-08-01T12:00:00"),
        (b"19310801", b"noon", "1931-08-01"),
        (b"19310000", b"120000", "1931"),
        (b"circa 31", b"120000", ""),
    ],
)
def test_dates_of_captions(day: bytes, time: bytes, date: str) -> None:
    _, xmp = webp_blocks(Facts(resources=(Resource(0x0404, iim((2, 55, day), (2, 60, time))),)))
    assert texts(xmp, "//photoshop:DateCreated") == ([date] if date else [])


def test_exif_that_exceeds_a_segment_loses_the_makers_notes_first() -> None:
    directory = exif()
    camera = directory.child(IFD.Exif)
    note = Entry(UNDEFINED, 60_000, bytes(60_000), 600)
    large = Entry(UNDEFINED, 10_000, bytes(10_000))
    directory = directory.with_child(IFD.Exif, camera.with_entries({Base.MakerNote: note, 50_000: large}))
    found = read_facts(answer(Facts(exif=directory), "JPEG"), "JPEG")
    assert found.exif is not None
    assert Base.MakerNote not in found.exif.child(IFD.Exif).entries
    assert found.exif.child(IFD.Exif).entries[50_000] == large

    many = {60_000 + number: Entry(UNDEFINED, 50 * number, bytes(50 * number)) for number in range(1, 80)}
    found = read_facts(answer(Facts(exif=directory.with_entries(many)), "JPEG"), "JPEG")
    assert found.exif is not None
    kept = [tag for tag in found.exif.entries if tag > 60_000]
    assert kept == list(range(60_001, 60_001 + len(kept)))  # the smallest
    assert len(kept) > 40


def test_xmp_and_resources_that_exceed_a_segment() -> None:
    packet = packet_of(facts())
    packet.set_text("photoshop:Instructions", "x" * 200_000)
    captions = iim((2, 120, b"y" * 30_000)) * 5
    long = replace(facts(), xmp=packet.serialized(), resources=(Resource(0x0404, captions),))
    found = read_facts(answer(long, "JPEG"), "JPEG")
    assert packet_of(found).text("photoshop:Instructions") == "x" * 200_000
    assert packet_of(found).text("dc:title") == "Fischmarkt"
    assert found.iptc == captions
    image: Any = from_bytes(answer(long, "JPEG"))
    assert texts(image.info["xmp"], "//dc:subject//rdf:li") == ["Markt", "Fische"]
    assert image.size == (12, 10)


def test_an_extension_of_another_packet_is_not_joined() -> None:
    packet = packet_of(facts())
    packet.set_text("photoshop:Instructions", "x" * 100_000)
    segments = jpeg_segments(Facts(xmp=packet.serialized()))
    at = segments.index(b"http://ns.adobe.com/xmp/extension/\0") + 35
    for other in (segments[:at] + b"0" * 32 + segments[at + 32 :], segments[:-50] + b"y" + segments[-49:]):
        found = read_facts(b"\xff\xd8" + other, "JPEG")
        assert not packet_of(found).has("photoshop:Instructions")
    # One that another program has left behind does no harm.
    end = segments.index(b"\xff\xe1", 4)
    stale = segments[end:].replace(segments[at : at + 32], b"0" * 32)
    found = read_facts(b"\xff\xd8" + segments[:end] + stale + segments[end:], "JPEG")
    assert packet_of(found).has("photoshop:Instructions")


def test_texts_of_png() -> None:
    information = PngImagePlugin.PngInfo()
    information.add_text("Title", "Straße")
    information.add_text("Author", "Jürgen Weiß", zip=True)
    information.add_itxt("Description", "Москва", zip=True)
    information.add_itxt("Copyright", "©")
    information.add_text("Comment", "Rückseite")
    found = read_facts(to_bytes(Image.new("L", (8, 8)), "PNG", pnginfo=information), "PNG")
    assert found.comment == "Rückseite".encode()
    packet = packet_of(found)
    assert packet.text("dc:title") == "Straße"
    assert packet.text("dc:creator") == "Jürgen Weiß"
    assert packet.text("dc:description") == "Москва"
    assert packet.text("dc:rights") == "©"


@pytest.mark.parametrize("kind", ["exif", "APP1", "iptc", "8bim", "xmp"])
def test_raw_profiles_as_imagemagick_writes_them(kind: str) -> None:
    block = {
        "exif": b"Exif\0\0" + exif_block(exif()),
        "APP1": b"Exif\0\0" + exif_block(exif()),
        "iptc": CAPTIONS,
        "8bim": resource_block(facts().resources),
        "xmp": XMP,
    }[kind]
    text = f"\n{kind}\n{len(block):8}\n{block.hex()}\n".encode()
    payload = f"Raw profile type {kind}".encode() + b"\0\0" + zlib.compress(text)
    data = to_bytes(Image.new("L", (8, 8)), "PNG")
    found = read_facts(data[:33] + chunk(b"zTXt", payload) + data[33:], "PNG")
    match kind:
        case "exif" | "APP1":
            assert found.exif is not None
            assert found.exif.text(Base.Copyright) == "© Stadtarchiv"
        case "xmp":
            assert packet_of(found).text("dc:title") == "Fischmarkt"
        case _:
            assert found.iptc == CAPTIONS


def test_comments_in_any_encoding() -> None:
    assert text_of("Rückseite".encode()) == text_of("Rückseite".encode("latin-1")) == "Rückseite"


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("JPEG", {"dpi": (600, 300)}, (600, 300)),
        ("PNG", {"dpi": (600, 300)}, (600, 300)),
        ("TIFF", {"dpi": (600, 300)}, (600, 300)),
        ("TIFF", {"resolution": 236.22, "resolution_unit": 3}, (600, 600)),
        ("TIFF", {"resolution": 5, "resolution_unit": 1}, None),
        ("BMP", {"dpi": (600, 300)}, (600, 300)),
        ("JPEG", {}, None),
        ("PNG", {}, None),
        ("GIF", {}, None),
    ],
)
def test_resolution(name: str, options: dict[str, Any], expected: tuple[float, float] | None) -> None:
    found = read_facts(to_bytes(Image.new("L", (8, 8)), name, **options), name).resolution
    if expected is None:
        assert found is None
    else:
        assert found is not None
        assert (found.x, found.y) == pytest.approx(expected, rel=1e-3)


def test_a_resolution_that_says_nothing_gives_way() -> None:
    camera = Facts(exif=Resolution(72, 72).written_into(Directory()), resolution=Resolution(600, 600))
    assert read_facts(answer(camera, "JPEG"), "JPEG").resolution == Resolution(600, 600)
    camera = Facts(exif=Resolution(300, 300).written_into(Directory()), resolution=Resolution(600, 600))
    assert read_facts(answer(camera, "JPEG"), "JPEG").resolution == Resolution(300, 300)
    assert read_facts(answer(Facts(resolution=Resolution(72, 72)), "JPEG"), "JPEG").resolution == Resolution(72, 72)


def test_captions_that_were_swapped_as_integers() -> None:
    padded = CAPTIONS + bytes(-len(CAPTIONS) % 4)
    swapped = struct.pack(f">{len(padded) // 4}I", *struct.unpack(f"<{len(padded) // 4}I", padded))
    entry = Entry(LONG, len(padded) // 4, swapped)
    assert read_facts(tiff(Directory("<", {int(Base.IPTCNAA): entry})), "TIFF").iptc == CAPTIONS


def test_only_the_digest_of_these_captions_is_kept() -> None:
    digest = Resource(0x0425, hashlib.md5(CAPTIONS).digest())
    for resources in ((facts().resources[0], digest), (facts().resources[0], Resource(0x0425, bytes(16)))):
        found = read_facts(answer(Facts(resources=resources), "JPEG"), "JPEG").resources
        assert (digest in found) == (digest in resources)
        assert len(found) == (2 if digest in resources else 1)
