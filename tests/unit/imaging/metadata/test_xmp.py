"""XMP packets: what is not asked to change stays, in whatever form it was written."""

import pytest
from lxml import etree

from service.imaging.metadata.xmp import LONGEST_PACKET, NAMESPACES, Packet, guid
from tests.unit.imaging.metadata.samples import XMP

BODY = XMP[XMP.index(b"<x:") : XMP.index(b"<?xpacket end")]

BOMB = b"""<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>""" + BODY


def parsed(data: bytes) -> Packet:
    packet = Packet.parse(data)
    assert packet is not None
    return packet


def find(packet: Packet, path: str) -> list[str | None]:
    """The texts at an XPath of what is written, by a parser of its own."""
    root = etree.fromstring(packet.serialized())
    texts: list[str | None] = [
        found.text if isinstance(found, etree._Element) else str(found)
        for found in root.xpath(path, namespaces=NAMESPACES | {"archive": "https://archive.example.org/"})
    ]
    return texts


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_every_encoding_of_the_standard(encoding: str) -> None:
    text = XMP.decode()
    if not encoding.endswith(("sig", "16", "32")):
        text = text[text.index("<x:") :]
    packet = parsed(text.encode(encoding))
    assert packet.text("photoshop:City") == "Zürich"
    assert b"Z\xc3\xbcrich" in packet.serialized()


def test_arrays_structures_and_unknown_namespaces_stay() -> None:
    packet = parsed(XMP)
    assert find(packet, "//dc:title//rdf:li[@xml:lang='fr']") == ["Marché"]
    assert find(packet, "//dc:subject/rdf:Bag/rdf:li") == ["Markt", "Fische"]
    assert find(packet, "//archive:box/archive:shelf") == ["R 7"]
    assert find(packet, "//rdf:Description/@rdf:about") == ["uuid:42", "uuid:42"]


def test_a_property_is_replaced_be_it_an_attribute_or_an_element() -> None:
    packet = parsed(XMP)
    for name in ("tiff:Orientation", "photoshop:City", "dc:title", "xmp:CreatorTool"):
        packet.set_text(name, "1 < 2")
        assert packet.text(name) == "1 < 2"
    again = parsed(packet.serialized())
    for name in ("tiff:Orientation", "photoshop:City", "dc:title", "xmp:CreatorTool"):
        assert find(again, f"//{name} | //@{name}") == ["1 < 2"]
    again.remove("dc:title")
    assert not again.has("dc:title")


def test_arrays_and_structures_are_written_as_the_standard_has_them() -> None:
    packet = Packet.new()
    packet.set_items("dc:creator", "Seq", ["Jürgen Weiß", "Anna\0 Weiß"])
    packet.set_items("dc:rights", "Alt", ["©"])
    packet.set_fields("autochrome:Parameters", {"saturation": "1.1"})
    assert find(packet, "//dc:creator/rdf:Seq/rdf:li") == ["Jürgen Weiß", "Anna Weiß"]
    assert find(packet, "//dc:rights/rdf:Alt/rdf:li[@xml:lang='x-default']") == ["©"]
    assert find(packet, "//autochrome:Parameters[@rdf:parseType='Resource']/autochrome:saturation") == ["1.1"]


def test_a_packet_that_is_too_long_is_split_and_joined_again() -> None:
    packet = parsed(XMP)
    packet.set_text("photoshop:Instructions", "x" * 50_000)
    packet.set_text("photoshop:Headline", "y" * 30_000)
    whole = find(packet, "//rdf:Description/*")
    main, extension = packet.split(10_000)
    assert len(main) <= 10_000
    assert extension is not None
    first, second = parsed(main), parsed(extension)
    assert first.extension == guid(extension)
    assert not first.has("photoshop:Headline")
    assert find(second, "//rdf:Description/@rdf:about") == ["uuid:42"]
    first.join(second)
    assert first.extension == ""
    assert sorted(map(str, find(first, "//rdf:Description/*"))) == sorted(map(str, whole))


def test_one_that_is_short_enough_is_not_split() -> None:
    main, extension = parsed(XMP).split(10_000)
    assert extension is None
    assert find(parsed(main), "//dc:subject//rdf:li") == ["Markt", "Fische"]


def test_rubbish_behind_the_packet() -> None:
    assert parsed(XMP + b"    </rdf:RDF>\n<?xpacket end='w'?>").text("photoshop:City") == "Zürich"
    assert parsed(XMP + b"\0\0\n").text("photoshop:City") == "Zürich"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 100,
        b"<a/>",
        b"<\xff>",
        XMP[:-200],
        BOMB,
        BOMB.decode().encode("utf-16"),
        XMP.replace(b"Fischmarkt", b"&nobody;"),
        XMP.replace(b"Fischmarkt", b"<a>" * 100_000 + b"</a>" * 100_000),
        XMP.replace(b"Fischmarkt", b" " * LONGEST_PACKET),
        XMP.replace(b"</rdf:RDF>", b"<rdf:Description/>" * 2000 + b"</rdf:RDF>"),
    ],
    ids=["empty", "zeros", "other", "no text", "cut", "bomb", "bomb in UTF-16", "entity", "deep", "long", "many"],
)
def test_no_packet(data: bytes) -> None:
    assert Packet.parse(data) is None


def test_instructions_to_other_programs_are_not_carried_along() -> None:
    reference = b'<?xml-stylesheet href="file:///etc/passwd"?>'
    packet = parsed(reference + BODY)
    assert b"passwd" not in packet.serialized()
