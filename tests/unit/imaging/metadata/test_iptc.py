"""IPTC-IIM captions, and the image resources of Photoshop that they stand in."""

import struct

from PIL import Image, IptcImagePlugin
from PIL.ImageFile import ImageFile

from service.imaging.metadata import iptc
from service.imaging.metadata.photoshop import Resource, descriptive, read_resources, resolution_of, resource_block
from service.imaging.metadata.resolution import Resolution
from tests.pictures import from_bytes, to_bytes
from tests.unit.imaging.metadata.samples import CAPTIONS, iim


def test_texts_of_either_encoding() -> None:
    assert iptc.texts(CAPTIONS)[2, 120] == ["Händler am Fluß"]
    assert iptc.texts(CAPTIONS)[2, 25] == ["Markt", "Flüsse"]
    assert (1, 90) not in iptc.texts(CAPTIONS)
    assert iptc.texts(iim((2, 120, "Händler".encode("latin-1"))))[2, 120] == ["Händler"]


def test_only_whole_data_sets_are_kept() -> None:
    assert iptc.complete(CAPTIONS + bytes(7)) == CAPTIONS
    assert iptc.complete(CAPTIONS + iim((2, 5, b"cut"))[:-1]) == CAPTIONS
    assert iptc.complete(b"\x1c\2\5\x80\x09" + bytes(20)) == b""
    extended = b"\x1c\2\x78\x80\4" + struct.pack(">I", 70_000) + b"a" * 70_000
    assert iptc.complete(extended) == extended
    assert iptc.texts(extended)[2, 120] == ["a" * 70_000]


def test_resources_as_another_program_reads_them() -> None:
    block = resource_block([Resource(0x0404, CAPTIONS), Resource(0x040B, b"https://a.example", b"odd")])
    assert read_resources(block) == (Resource(0x0404, CAPTIONS), Resource(0x040B, b"https://a.example", b"odd"))
    payload = b"Photoshop 3.0\0" + block
    data = to_bytes(Image.new("L", (8, 8)), "JPEG")
    data = data[:2] + struct.pack(">BBH", 0xFF, 0xED, len(payload) + 2) + payload + data[2:]
    image = from_bytes(data)
    assert isinstance(image, ImageFile)
    found = IptcImagePlugin.getiptcinfo(image)
    assert found is not None
    assert found[2, 120] == "Händler am Fluß".encode()
    assert found[2, 25] == [b"Markt", "Flüsse".encode()]


def test_resources_up_to_the_first_that_is_broken() -> None:
    block = resource_block([Resource(0x040A, b"\1"), Resource(0x0404, CAPTIONS)])
    assert read_resources(block[:-8]) == (Resource(0x040A, b"\1"),)
    assert read_resources(b"8BIM\4\4\0") == ()
    assert len(read_resources(resource_block([Resource(0x040A, b"")] * 20_000))) == 10_000


def test_thumbnails_and_profiles_are_not_descriptive() -> None:
    resources = [Resource(identifier, b"x") for identifier in (0x0404, 0x0409, 0x040A, 0x040C, 0x040F, 0x03ED)]
    assert [resource.identifier for resource in descriptive(resources)] == [0x0404, 0x040A]


def test_resolution_in_fixed_point() -> None:
    data = struct.pack(">IHHIHH", 600 << 16, 1, 1, 300 << 16, 1, 1)
    assert resolution_of([Resource(0x03ED, data)]) == Resolution(600, 300)
    assert resolution_of([Resource(0x03ED, data[:8])]) is None
