"""The facts of an answer: nothing is lost that is still true, nothing stays that is not."""

import struct
from dataclasses import replace

import pytest
from PIL.ExifTags import IFD, Base

from service.imaging.metadata.directory import SHORT, UNDEFINED, Directory, Entry, Order
from service.imaging.metadata.facts import Facts, orientation, stripped
from service.imaging.metadata.renewal import COLOURED_BY_NETWORK, renewed
from service.imaging.metadata.resolution import Resolution
from service.imaging.metadata.xmp import Packet
from tests.unit.imaging.metadata.samples import XMP, exif, facts


def renew(original: Facts, scale: float = 1.0) -> tuple[Directory, Packet, Facts]:
    """Exif, XMP, and all of it."""
    new = renewed(
        original,
        width=300,
        height=200,
        software="Autochrome 0.1.0",
        model="mobilenet_v2 2.0.0",
        parameters={"backbone": "mobilenet_v2", "saturation": "1.1"},
        scale=scale,
    )
    assert new.exif is not None
    packet = Packet.parse(new.xmp or b"")
    assert packet is not None
    return new.exif, packet, new


def with_property(name: str, value: str) -> Facts:
    packet = Packet.parse(XMP)
    assert packet is not None
    packet.set_text(name, value)
    return replace(facts(), xmp=packet.serialized())


@pytest.mark.parametrize("order", ["<", ">"])
def test_what_is_no_longer_true_is_renewed(order: Order) -> None:
    directory, packet, new = renew(facts(order))
    camera = directory.child(IFD.Exif)
    assert orientation(new) == 1
    assert directory.text(Base.Software) == "Autochrome 0.1.0"
    assert camera.numbers(Base.ColorSpace) == (1,)
    assert camera.numbers(Base.ExifImageWidth) == (300,)
    assert camera.numbers(Base.ExifImageHeight) == (200,)
    assert packet.text("tiff:Orientation") == "1"
    assert packet.text("tiff:ImageWidth") == "300"
    assert not packet.has("tiff:ImageLength")  # it was not there
    assert packet.text("photoshop:ColorMode") == "3"
    assert not packet.has("xmp:Thumbnails")


@pytest.mark.parametrize("order", ["<", ">"])
def test_everything_else_stays(order: Order) -> None:
    directory, packet, new = renew(facts(order))
    before = exif(order)
    changed = {Base.Orientation, Base.Software}
    assert {tag: entry for tag, entry in directory.entries.items() if tag not in changed} == {
        tag: entry for tag, entry in before.entries.items() if tag not in changed
    }
    assert directory.child(IFD.GPSInfo) == before.child(IFD.GPSInfo)
    assert directory.child(IFD.Exif).entries[Base.MakerNote] == before.child(IFD.Exif).entries[Base.MakerNote]
    assert new.resources == facts().resources
    assert new.comment == facts().comment
    assert new.resolution == facts().resolution
    assert packet.text("photoshop:City") == "Zürich"
    assert packet.text("dc:subject") == "Markt"


@pytest.mark.parametrize(("turn", "resolution"), [(1, (200, 100)), (3, (200, 100)), (6, (100, 200)), (8, (100, 200))])
def test_resolution_turns_with_the_picture(turn: int, resolution: tuple[int, int]) -> None:
    directory = Resolution(200, 100).written_into(Directory())
    directory = directory.with_entries({Base.Orientation: Entry.integers(SHORT, directory.order, turn)})
    new, _, answer = renew(Facts(exif=directory, resolution=Resolution(200, 100)))
    assert answer.resolution == Resolution(*resolution)
    assert Resolution.of_directory(new) == Resolution(*resolution)


def test_what_was_done_is_told() -> None:
    _, packet, _ = renew(facts())
    assert packet.text("Iptc4xmpExt:DigitalSourceType") == COLOURED_BY_NETWORK
    assert packet.text("Iptc4xmpExt:AISystemUsed") == "Autochrome 0.1.0"
    assert packet.text("Iptc4xmpExt:AISystemVersionUsed") == "mobilenet_v2 2.0.0"
    assert packet.text("autochrome:Model") == "mobilenet_v2 2.0.0"
    assert b"<autochrome:saturation>1.1</autochrome:saturation>" in packet.serialized()


def test_the_tool_that_made_the_master_is_not_forgotten() -> None:
    assert renew(with_property("xmp:CreatorTool", "Capture One"))[1].text("xmp:CreatorTool") == "Capture One"
    assert renew(facts())[1].text("xmp:CreatorTool") == "SilverFast"
    assert renew(Facts())[1].text("xmp:CreatorTool") == "Autochrome 0.1.0"
    assert not renew(facts())[1].has("tiff:Software")
    assert renew(with_property("tiff:Software", "SilverFast"))[1].text("tiff:Software") == "Autochrome 0.1.0"


def test_where_the_master_came_from_is_not_forgotten() -> None:
    scanned = "http://cv.iptc.org/newscodes/digitalsourcetype/negativeFilm"
    once = renew(with_property("Iptc4xmpExt:DigitalSourceType", scanned))[2]
    _, packet, _ = renew(once)  # coloured again
    assert packet.text("Iptc4xmpExt:DigitalSourceType") == COLOURED_BY_NETWORK
    assert packet.text("autochrome:SourceDigitalSourceType") == scanned
    assert not renew(facts())[1].has("autochrome:SourceDigitalSourceType")


def test_renewing_twice_changes_nothing_more() -> None:
    once = renew(facts())[2]
    assert renew(once)[2] == once


def test_the_same_facts_give_the_same_bytes() -> None:
    assert renew(facts())[2] == renew(facts())[2]


def test_stripped_keeps_the_resolution_alone() -> None:
    assert stripped(facts()) == Facts(resolution=Resolution(600, 600))
    directory, packet, new = renew(stripped(facts()))
    written = {Base.Software, Base.XResolution, Base.YResolution, Base.ResolutionUnit}
    assert set(directory.entries) == written
    assert set(directory.children) == {IFD.Exif}
    assert new.resources == ()
    assert new.comment is None
    assert packet.text("xmp:CreatorTool") == "Autochrome 0.1.0"
    assert not packet.has("photoshop:City")


def test_resolution_follows_the_scale() -> None:
    directory, _, new = renew(facts(), scale=0.25)
    assert new.resolution == Resolution(150, 150)
    assert Resolution.of_directory(directory) == Resolution(150, 150)
    directory, _, new = renew(replace(facts(), resolution=None))
    assert new.resolution is None
    assert Base.XResolution not in directory.entries


@pytest.mark.parametrize("value", [0.01, 0.0254, 72.5, 599.9988, 1e6])
def test_every_resolution_can_be_written(value: float) -> None:
    resolution = Resolution.of(value, value)
    assert resolution is not None
    written = Resolution.of_directory(resolution.written_into(Directory(">")))
    assert written is not None
    assert written.x == pytest.approx(value, rel=0.02)


@pytest.mark.parametrize("value", [0, -1, 1e-9, 1e9, float("inf"), float("nan")])
def test_what_is_no_resolution(value: float) -> None:
    assert Resolution.of(value, 600) is None
    assert Resolution.of(600, value) is None


def test_resolution_keeps_its_unit() -> None:
    numbers = Entry(5, 1, struct.pack("<2I", 23_622, 100))
    entries = {Base.XResolution: numbers, Base.YResolution: numbers, Base.ResolutionUnit: Entry.integers(SHORT, "<", 3)}
    directory = Directory("<", {int(tag): entry for tag, entry in entries.items()})
    original = Facts(exif=directory, resolution=Resolution.of_directory(directory))
    assert renew(original)[0].numbers(Base.XResolution) == (236.22,)
    assert renew(original)[0].numbers(Base.ResolutionUnit) == (3,)


def test_what_counts_pixels_goes_once_they_have_moved() -> None:
    places = {33_550: Entry(12, 3, bytes(24))}
    subject = {37_396: Entry.integers(SHORT, "<", 20, 15, 4, 4)}
    upright = exif().without((Base.Orientation,)).with_entries(places)
    upright = upright.with_child(IFD.Exif, upright.child(IFD.Exif).with_entries(subject))
    kept = renew(replace(facts(), exif=upright))[0]
    assert 33_550 in kept.entries
    assert 37_396 in kept.child(IFD.Exif).entries
    turned = upright.with_entries({Base.Orientation: Entry.integers(SHORT, "<", 8)})
    for original, scale in ((turned, 1.0), (upright, 0.5)):
        gone = renew(replace(facts(), exif=original), scale)[0]
        assert 33_550 not in gone.entries
        assert 37_396 not in gone.child(IFD.Exif).entries


def test_adobe_rgb_becomes_srgb() -> None:
    camera = exif().child(IFD.Exif).with_child(IFD.Interop, Directory("<", {1: Entry.text("R03")}))
    directory, _, _ = renew(replace(facts(), exif=exif().with_child(IFD.Exif, camera)))
    assert directory.child(IFD.Exif).child(IFD.Interop).text(1) == "R98"


def test_previews_in_makers_notes_are_blanked_in_their_place() -> None:
    note = b"Nikon" + b"\xff\xd8\xff\xdb" + bytes(500) + b"\xff\xd9" + b"lens"
    entry = Entry(UNDEFINED, len(note), note, 600)
    camera = exif().child(IFD.Exif).with_entries({Base.MakerNote: entry})
    directory, _, _ = renew(replace(facts(), exif=exif().with_child(IFD.Exif, camera)))
    assert directory.child(IFD.Exif).entries[Base.MakerNote].value == b"Nikon" + bytes(506) + b"lens"


def test_descriptions_of_other_pictures_go() -> None:
    gain_map = (
        b'<rdf:Description rdf:about="" xmlns:g="http://ns.adobe.com/hdr-gain-map/1.0/" g:Version="1.0"/></rdf:RDF>'
    )
    _, packet, _ = renew(replace(facts(), xmp=XMP.replace(b"</rdf:RDF>", gain_map)))
    assert b"hdr-gain-map/1.0/" not in packet.serialized().replace(
        b'xmlns:g="http://ns.adobe.com/hdr-gain-map/1.0/"', b""
    )
    assert packet.text("photoshop:City") == "Zürich"


@pytest.mark.parametrize(
    ("turn", "x", "y", "w", "h"),
    [
        (1, 0.2, 0.1, 0.3, 0.05), (2, 0.8, 0.1, 0.3, 0.05), (3, 0.8, 0.9, 0.3, 0.05), (4, 0.2, 0.9, 0.3, 0.05),
        (5, 0.1, 0.2, 0.05, 0.3), (6, 0.9, 0.2, 0.05, 0.3), (7, 0.9, 0.8, 0.05, 0.3), (8, 0.1, 0.8, 0.05, 0.3),
    ],
)  # fmt: skip
@pytest.mark.parametrize("attributes", [False, True])
def test_regions_follow_the_pixels(turn: int, x: float, y: float, w: float, h: float, attributes: bool) -> None:
    fields = {"x": "0.2", "y": "0.1", "w": "0.3", "h": "0.05"}
    if attributes:
        area = "<r:Area " + " ".join(f'a:{key}="{value}"' for key, value in fields.items()) + "/>"
    else:
        inner = "".join(f"<a:{key}>{value}</a:{key}>" for key, value in fields.items())
        area = f"<r:Area><rdf:Description>{inner}</rdf:Description></r:Area>"
    regions = f"""<rdf:Description rdf:about="" xmlns:r="http://www.metadataworkinggroup.com/schemas/regions/"
        xmlns:a="http://ns.adobe.com/xmp/sType/Area#" xmlns:d="http://ns.adobe.com/xap/1.0/sType/Dimensions#">
        <r:Regions rdf:parseType="Resource"><r:AppliedToDimensions d:w="4000" d:h="3000" d:unit="pixel"/>
        <r:RegionList><rdf:Bag><rdf:li rdf:parseType="Resource">{area}<r:Name>Anna</r:Name></rdf:li></rdf:Bag>
        </r:RegionList></r:Regions></rdf:Description></rdf:RDF>"""
    directory = exif().with_entries({Base.Orientation: Entry.integers(SHORT, "<", turn)})
    original = Facts(exif=directory, xmp=XMP.replace(b"</rdf:RDF>", regions.encode()))
    written = renew(original)[1].serialized().decode()
    for key, value in {"x": x, "y": y, "w": w, "h": h}.items():
        assert (f'a:{key}="{value:g}"' if attributes else f"<a:{key}>{value:g}</a:{key}>") in written
    assert 'd:w="300"' in written
    assert 'd:h="200"' in written


def test_regions_that_are_nowhere_stay_so() -> None:
    area = b'<r:Area xmlns:r="http://www.metadataworkinggroup.com/schemas/regions/">here</r:Area></rdf:RDF>'
    _, packet, _ = renew(replace(facts(), xmp=XMP.replace(b"</rdf:RDF>", area)))
    assert b">here</r:Area>" in packet.serialized()


def test_broken_xmp_is_left_out() -> None:
    _, packet, _ = renew(replace(facts(), xmp=b"<x:xmpmeta>"))
    assert packet.text("Iptc4xmpExt:DigitalSourceType") == COLOURED_BY_NETWORK
