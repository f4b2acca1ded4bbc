"""Kinds of file are told apart, and what is not read here is called by its name."""

from io import BytesIO
from zipfile import ZipFile

import pytest
from PIL import Image

from service.imaging.errors import UnsupportedFormatError
from service.imaging.kinds import kind_of
from service.imaging.photograph import inspect
from tests.pictures import to_bytes

PICTURE = Image.linear_gradient("L").convert("RGB")


def archive() -> bytes:
    file = BytesIO()
    with ZipFile(file, "w") as opened:
        opened.writestr("a.txt", "a")
    return file.getvalue()


def boxed(major: bytes, *compatible: bytes) -> bytes:
    """A file type box, and the beginning of another."""
    brands = major + bytes(4) + b"".join(compatible)
    return (len(brands) + 8).to_bytes(4) + b"ftyp" + brands + bytes.fromhex("000000206d657461")


FILES = {
    "JPEG XL": bytes.fromhex("ff0afa7f01"),
    "a Canon camera file": boxed(b"crx ", b"crx ", b"isom"),
    "a QuickTime film": boxed(b"qt  ", b"qt  "),
    "an MP4 film": boxed(b"isom", b"isom", b"mp41"),
    "a PDF document": to_bytes(PICTURE, "PDF"),
    "a Netpbm file": to_bytes(PICTURE, "PPM"),
    "an icon": to_bytes(PICTURE.resize((32, 32)), "ICO"),
    "PostScript": to_bytes(PICTURE, "EPS"),
    "a ZIP archive": archive(),
    "an SVG drawing": b"<?xml version='1.0'?><!-- made by hand --><svg xmlns='http://www.w3.org/2000/svg'/>",
    "an HTML page": b"<!doctype html><title>502 Bad Gateway</title>",
    "JSON": b'{"image": "aGVsbG8="}',
    "a DICOM file": bytes(128) + b"DICM" + bytes(10),
}


@pytest.mark.parametrize(("kind", "data"), FILES.items(), ids=list(FILES))
def test_the_error_names_the_kind_and_what_to_send(kind: str, data: bytes) -> None:
    with pytest.raises(UnsupportedFormatError, match=f"This is {kind}.*, which is not read here; send JPEG, PNG"):
        inspect(data, 10**6)


def test_a_picture_of_several_brands_is_what_its_own_says() -> None:
    """AVIF files name mif1 as well, HEIC files nothing of AVIF's."""
    assert kind_of(boxed(b"mif1", b"mif1", b"avif", b"miaf")) == "AVIF"
    assert kind_of(boxed(b"mif1", b"mif1", b"heic")) == "HEIC"


@pytest.mark.parametrize(
    "data", [b"", b"GIF", b"just some text", bytes(2000), boxed(b"new!", b"new!"), b"\0\0\0\x08ftyp"]
)
def test_what_is_not_known_has_no_name(data: bytes) -> None:
    assert kind_of(data) is None


READ = {"JPEG": "JPEG", "PNG": "PNG", "WEBP": "WebP", "TIFF": "TIFF", "BMP": "BMP", "GIF": "GIF", "AVIF": "AVIF",
        "JPEG2000": "JPEG 2000"}  # fmt: skip


@pytest.mark.parametrize(("format", "kind"), READ.items())
def test_what_is_read_is_told_apart(format: str, kind: str) -> None:
    assert kind_of(to_bytes(PICTURE, format)) == kind


@pytest.mark.parametrize("brand", [b"heic", b"heix", b"hevc", b"mif1", b"msf1"])
def test_brands_of_heic(brand: bytes) -> None:
    assert kind_of(boxed(brand, b"miaf")) == "HEIC"


@pytest.mark.parametrize("signature", [b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"])
def test_tiffs_of_either_order_and_size(signature: bytes) -> None:
    assert kind_of(signature + bytes(12)) == "TIFF"


def test_bare_codestream_of_jpeg_2000() -> None:
    assert kind_of(bytes.fromhex("ff4fff51002f")) == "JPEG 2000"
