"""Files made of boxes, and GIF: built by hand, because nothing here writes them."""

import pytest
from PIL.ExifTags import Base

from service.imaging.metadata.facts import Facts, orientation
from service.imaging.metadata.reading import read_facts
from service.imaging.metadata.xmp import Packet
from tests.pictures import from_bytes
from tests.unit.imaging.metadata.samples import facts, gif, heic, jpeg_2000, jpeg_xl


def assert_carried(found: Facts) -> None:
    assert found.exif is not None
    assert found.exif.text(Base.Copyright) == "© Stadtarchiv"
    packet = Packet.parse(found.xmp or b"")
    assert packet is not None
    assert packet.text("dc:title") == "Fischmarkt"
    # Their decoders turn the pixels by themselves.
    assert orientation(found) == 1


@pytest.mark.parametrize(("version", "method"), [(0, 0), (1, 0), (1, 1)])
def test_heic(version: int, method: int) -> None:
    assert_carried(read_facts(heic(version, method), "HEIC"))


def test_jpeg_xl() -> None:
    assert_carried(read_facts(jpeg_xl(), "JPEG XL"))
    assert read_facts(b"\xff\x0a" + bytes(100), "JPEG XL") == Facts()


@pytest.mark.parametrize("wide", [False, True])
def test_jpeg_2000(wide: bool) -> None:
    data = jpeg_2000(wide)
    assert from_bytes(data).size == (8, 8)
    found = read_facts(data, "JPEG 2000")
    assert_carried(found)
    assert found.resources == facts().resources
    without = read_facts(data.replace(b"JpgTiffExif", b"JpgTiffE..."), "JPEG 2000").resolution
    assert without is not None
    assert (without.x, without.y) == pytest.approx((300, 600), rel=1e-3)
    assert read_facts(data[data.index(b"\xff\x4f\xff\x51") :], "JPEG 2000") == Facts()


def test_gif() -> None:
    found = read_facts(gif(), "GIF")
    packet = Packet.parse(found.xmp or b"")
    assert packet is not None
    assert packet.text("dc:title") == "Fischmarkt"
    assert found.comment == "Rückseite".encode() * 40
