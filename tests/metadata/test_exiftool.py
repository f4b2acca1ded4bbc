"""What ExifTool finds in a master it finds in the answer, in every container, or else there is a reason for it.

`make metadata-check` prints those.
"""

from pathlib import Path
from typing import Any

import pytest

from service.imaging.metadata.reading import read_facts
from service.imaging.metadata.renewal import COLOURED_BY_NETWORK, renewed
from tests.containers import CONTAINERS, SIZE, answer
from tests.metadata.masters import KINDS, fields, master

SOFTWARE = "Autochrome 0.1.0"
MODEL = "mobilenet_v2 2.0.0"
WIDTH, HEIGHT = SIZE

COMPARED = ("IFD0", "ExifIFD", "GPS", "InteropIFD", "IPTC", "Photoshop", "Canon", "PNG", "JFIF", "PNG-pHYs", "XMP-")
"""Groups of ExifTool's, by how they begin. The others are of the file (System, File) and of pixels (ICC, RIFF, …)."""

FORMATS = {"IFD0:" + name for name in (
    "SubfileType", "ImageWidth", "ImageHeight", "BitsPerSample", "Compression", "PhotometricInterpretation",
    "StripOffsets", "SamplesPerPixel", "RowsPerStrip", "StripByteCounts", "PlanarConfiguration", "YCbCrPositioning",
)} | {"JFIF:JFIFVersion", "Photoshop:IPTCDigest"} | {"PNG:" + name for name in (
    "ImageWidth", "ImageHeight", "BitDepth", "ColorType", "Compression", "Filter", "Interlace",
)}  # fmt: skip
"""How the source is stored."""

RENEWED: dict[str, tuple[Any, str]] = {
    "IFD0:Software": (SOFTWARE, "the program; the scanner's is xmp:CreatorTool"),
    "IFD0:Orientation": (1, "the pixels were turned"),
    "ExifIFD:ColorSpace": (1, "sRGB"),
    "ExifIFD:ExifImageWidth": (WIDTH, "the answer's"),
    "ExifIFD:ExifImageHeight": (HEIGHT, "the answer's"),
    "InteropIFD:InteropIndex": ("R98", "sRGB"),
    "XMP-exif:ColorSpace": (1, "sRGB"),
    "XMP-exif:ExifImageWidth": (WIDTH, "the answer's"),
    "XMP-tiff:ImageWidth": (WIDTH, "the answer's"),
    "XMP-tiff:ImageHeight": (HEIGHT, "the answer's"),
    "XMP-photoshop:ColorMode": (3, "RGB"),
    "XMP-photoshop:ICCProfile": ("sRGB IEC61966-2.1", "the answer's"),
    "XMP-iptcExt:DigitalSourceType": (COLOURED_BY_NETWORK, "the former is autochrome:SourceDigitalSourceType"),
}

GONE = {
    "Photoshop:PhotoshopThumbnail": "grey",
    "XMP-xmp:Thumbnails": "grey",
    "XMP-dc:Format": "the source's",
    "ExifIFD:CompressedBitsPerPixel": "the source's",
    "ExifIFD:Gamma": "the source's pixels'",
    "ExifIFD:SubjectArea": "in pixels that were turned",
    "XMP-x:XMPToolkit": "the program that wrote the source's packet",
}

IN_XMP = {
    "ObjectName": "dc:Title", "Caption-Abstract": "dc:Description", "By-line": "dc:Creator", "Keywords": "dc:Subject",
    "CopyrightNotice": "dc:Rights", "SupplementalCategories": "photoshop:SupplementalCategories",
    "Headline": "photoshop:Headline", "Credit": "photoshop:Credit", "Source": "photoshop:Source",
    "City": "photoshop:City", "Province-State": "photoshop:State", "Sub-location": "iptcCore:Location",
    "Country-PrimaryLocationCode": "iptcCore:CountryCode", "Country-PrimaryLocationName": "photoshop:Country",
    "By-lineTitle": "photoshop:AuthorsPosition", "SpecialInstructions": "photoshop:Instructions",
    "OriginalTransmissionReference": "photoshop:TransmissionReference", "Writer-Editor": "photoshop:CaptionWriter",
    "Urgency": "photoshop:Urgency", "Category": "photoshop:Category", "DateCreated": "photoshop:DateCreated",
    "TimeCreated": "photoshop:DateCreated", "DigitalCreationDate": "xmp:CreateDate",
    "URL": "xmpRights:WebStatement", "CopyrightFlag": "xmpRights:Marked",
}  # fmt: skip
"""What takes a field's place where there is no place for IPTC and Photoshop; a value of XMP's own stays."""

NO_PROPERTY = {"CodedCharacterSet", "EnvelopeRecordVersion", "ApplicationRecordVersion", "EditStatus",
               "OriginatingProgram", "Contact"}  # fmt: skip
"""IPTC-IIM's that XMP has no property for."""

RESOLUTION = {"JFIF:XResolution", "JFIF:YResolution", "JFIF:ResolutionUnit", "Photoshop:XResolution",
              "Photoshop:YResolution", "Photoshop:DisplayedUnitsX", "Photoshop:DisplayedUnitsY",
              "PNG-pHYs:PixelsPerUnitX", "PNG-pHYs:PixelsPerUnitY", "PNG-pHYs:PixelUnits"}  # fmt: skip


def unexplained(field: str, values: list[Any], found: dict[str, list[Any]], container: str, notes: list[str]) -> bool:
    """Whether a field is neither kept nor known to be gone; those go into the notes."""
    group, name = field.split(":")
    if found.get(field) == values or field in FORMATS:
        return False
    if field == "IFD0:Orientation" and container == "AVIF":
        notes.append(f"{field} is gone: AVIF has its own way of turning pixels")
        return field in found
    if field in RENEWED:
        expected, reason = RENEWED[field]
        notes.append(f"{field} is {expected}: {reason}")
        return found.get(field) != [expected]
    if field in GONE:
        notes.append(f"{field} is gone: {GONE[field]}")
        return field in found
    if field in RESOLUTION:
        return found.get("IFD0:XResolution") != [600] or found.get("IFD0:YResolution") != [600]
    if field == "PNG:Copyright":
        return "XMP-dc:Rights" not in found
    if field in ("File:Comment", "PNG:Comment"):
        if container in ("JPEG", "PNG"):
            return found.get("File:Comment" if container == "JPEG" else "PNG:Comment") != values
        notes.append(f"{field} is gone: {container} has no place for it but Exif's UserComment, which is taken")
        return False
    if group in ("IPTC", "Photoshop") and container in ("WebP", "AVIF"):
        if name in NO_PROPERTY:
            notes.append(f"{field} is gone: {container} holds no IPTC, and XMP has no property for it")
            return False
        notes.append(f"{field} is XMP-{IN_XMP[name]}, in XMP's own words where it had any")
        return f"XMP-{IN_XMP[name]}" not in found
    return True


@pytest.mark.parametrize("order", ["II", "MM"])
@pytest.mark.parametrize("kind", KINDS)
def test_masters(kind: str, order: str, tmp_path: Path) -> None:
    data = master(kind, tmp_path, order)
    before = fields(tmp_path / f"master.{KINDS[kind]}")
    facts = renewed(
        read_facts(data, kind), width=WIDTH, height=HEIGHT, software=SOFTWARE, model=MODEL, parameters={"format": "x"}
    )
    compared = [field for field in before if field.startswith(COMPARED) or field == "File:Comment"]
    assert len(compared) > 85
    for container in CONTAINERS:
        path = tmp_path / f"answer.{KINDS[container]}"
        path.write_bytes(answer(facts, container))
        found = fields(path)
        notes: list[str] = []
        missing = {
            field: (before[field], found.get(field))
            for field in compared
            if unexplained(field, before[field], found, container, notes)
        }
        kept = sum(found.get(field) == before[field] for field in compared)
        print(f"\n{kind} ({order}) to {container}: {len(compared)} fields, {kept} as they were", *notes, sep="\n  ")
        assert missing == {}
        assert found["XMP-xmp:CreatorTool"] == ["SilverFast 8.8"]
        assert found["XMP-autochrome:SourceDigitalSourceType"] == [before["XMP-iptcExt:DigitalSourceType"][0]]
        assert found["XMP-autochrome:Model"] == [MODEL]
        assert found["XMP-autochrome:Parameters"] == [{"Format": "x"}]
        assert not any(field.startswith("IFD1:") or "Thumbnail" in field for field in found)
        assert "ExifTool:Warning" not in found
        assert "ExifTool:Error" not in found
