"""Masters as archives have them: files with every kind of fact, written by ExifTool."""

import json
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.ExifTags import IFD, Base

from service.imaging.metadata.directory import UNDEFINED, Directory, Entry, exif_block
from tests.pictures import to_bytes

KINDS = {"JPEG": "jpg", "PNG": "png", "WebP": "webp", "TIFF": "tif", "AVIF": "avif"}
"""And the ends of their names."""

_NAMES = {
    "IFD0:ImageDescription": "Fischmarkt, Zürich", "IFD0:Make": "Canon", "IFD0:Model": "Canon EOS 5D",
    "IFD0:Software": "SilverFast 8.8", "IFD0:ModifyDate": "2024:05:06 07:08:09", "IFD0:Artist": "Jürgen Weiß",
    "IFD0:HostComputer": "scan-3", "IFD0:Copyright": "© 2024 Stadtarchiv", "IFD0:DocumentName": "Box 7/12",
    "IFD0:XPTitle": "Fischmarkt", "IFD0:XPKeywords": "Markt;Fisch", "IFD0:Rating": "4", "IFD0:PageName": "recto",
    "ExifIFD:ExposureTime": "1/125", "ExifIFD:FNumber": "5.6", "ExifIFD:ISO": "100", "ExifIFD:ExifVersion": "0231",
    "ExifIFD:DateTimeOriginal": "1931:08:01 12:00:00", "ExifIFD:CreateDate": "2024:05:06 07:08:09",
    "ExifIFD:OffsetTimeOriginal": "+01:00", "ExifIFD:SubSecTimeOriginal": "42", "ExifIFD:ShutterSpeedValue": "1/128",
    "ExifIFD:ApertureValue": "5.6", "ExifIFD:ExposureCompensation": "-1/3", "ExifIFD:MeteringMode": "Spot",
    "ExifIFD:Flash": "No Flash", "ExifIFD:FocalLength": "50", "ExifIFD:UserComment": "Größe 9×12",
    "ExifIFD:ColorSpace": "Uncalibrated", "ExifIFD:ExifImageWidth": "4000", "ExifIFD:ExifImageHeight": "3000",
    "ExifIFD:FileSource": "Reflection Print Scanner", "ExifIFD:SceneType": "Directly photographed",
    "ExifIFD:WhiteBalance": "Auto", "ExifIFD:LensModel": "Tessar 1:4,5", "ExifIFD:LensInfo": "50 50 4.5 4.5",
    "ExifIFD:SerialNumber": "0042", "ExifIFD:ImageUniqueID": "0123456789abcdef0123456789abcdef",
    "ExifIFD:SubjectDistance": "3.5", "ExifIFD:SubjectArea": "20 15 4 4",
    "ExifIFD:Gamma": "2.2", "InteropIFD:InteropIndex": "R03",
    "GPS:GPSLatitude": "47.3717", "GPS:GPSLatitudeRef": "N", "GPS:GPSLongitude": "8.5423",
    "GPS:GPSLongitudeRef": "E", "GPS:GPSAltitude": "408", "GPS:GPSAltitudeRef": "Above Sea Level",
    "GPS:GPSMapDatum": "WGS-84", "GPS:GPSDateStamp": "1931:08:01", "GPS:GPSTimeStamp": "11:00:00",
    "GPS:GPSProcessingMethod": "MANUAL",
}  # fmt: skip

_CAPTIONS = {
    "IPTC:CodedCharacterSet": "UTF8", "IPTC:ObjectName": "Fischmarkt", "IPTC:Caption-Abstract": "Händler am Fluß",
    "IPTC:By-line": "Jürgen Weiß", "IPTC:By-lineTitle": "Fotograf", "IPTC:CopyrightNotice": "© Stadtarchiv",
    "IPTC:Headline": "Märkte", "IPTC:Credit": "Stadtarchiv", "IPTC:Source": "Nachlaß Weiß", "IPTC:City": "Zürich",
    "IPTC:Sub-location": "Limmatquai", "IPTC:Province-State": "Zürich", "IPTC:Country-PrimaryLocationCode": "CHE",
    "IPTC:Country-PrimaryLocationName": "Schweiz", "IPTC:DateCreated": "1931:08:01",
    "IPTC:TimeCreated": "12:00:00+01:00", "IPTC:DigitalCreationDate": "2024:05:06",
    "IPTC:SpecialInstructions": "Nur mit Nachweis", "IPTC:OriginalTransmissionReference": "W-0042",
    "IPTC:Writer-Editor": "mk", "IPTC:Urgency": "5", "IPTC:Category": "HIS", "IPTC:EditStatus": "final",
    "IPTC:OriginatingProgram": "FotoStation", "IPTC:Contact": "archiv@example.org",
    "IPTC:Keywords": ["Markt", "Fische", "Flüsse"], "IPTC:SupplementalCategories": ["Alltag", "Handel"],
}  # fmt: skip

_PROPERTIES = {
    "XMP-dc:Title": "Fischmarkt", "XMP-dc:Title-de": "Fischmarkt in Zürich", "XMP-dc:Description": "Fishmongers",
    "XMP-dc:Description-de": "Fischhändler", "XMP-dc:Rights": "© Stadtarchiv", "XMP-dc:Format": "image/tiff",
    "XMP-dc:Creator": ["Jürgen Weiß", "Anna Weiß"], "XMP-dc:Subject": ["market", "fish"],
    "XMP-xmp:CreateDate": "2024:05:06 07:08:09+02:00", "XMP-xmp:Rating": "4", "XMP-xmp:Label": "Grün",
    "XMP-xmpRights:UsageTerms": "CC BY", "XMP-xmpRights:Marked": "True", "XMP-photoshop:City": "Zürich",
    "XMP-photoshop:DateCreated": "1931:08", "XMP-photoshop:ColorMode": "1", "XMP-photoshop:ICCProfile": "Dot Gain",
    "XMP-iptcCore:CreatorContactInfo": "{CiAdrCity=Zürich,CiEmailWork=archiv@example.org}",
    "XMP-iptcExt:LocationShown": "[{City=Zürich,CountryName=Schweiz},{City=Basel}]",
    "XMP-iptcExt:DigitalSourceType": "http://cv.iptc.org/newscodes/digitalsourcetype/negativeFilm",
    "XMP-iptcExt:PersonInImage": ["A. Weiß", "Unbekannt"], "XMP-tiff:Orientation": "Horizontal (normal)",
    "XMP-tiff:ImageWidth": "4000", "XMP-tiff:ImageHeight": "3000", "XMP-exif:ExifImageWidth": "4000",
    "XMP-exif:ColorSpace": "Uncalibrated", "XMP-xmpMM:DocumentID": "xmp.did:0042",
    "XMP-xmpMM:History": "[{Action=created,SoftwareAgent=SilverFast},{Action=saved}]",
    "XMP-xmp:Thumbnails": "[{Format=JPEG,Width=1,Height=1,Image=/9j/}]",
    "XMP-archive:Shelf": "R 7", "XMP-archive:Boxes": ["7", "12"],
}  # fmt: skip

_RESOURCES = {"Photoshop:CopyrightFlag": "True", "Photoshop:URL": "https://example.org/7"}

_UNKNOWN_NAMESPACE = """
%Image::ExifTool::UserDefined = (
    'Image::ExifTool::XMP::Main' => { archive => { SubDirectory => { TagTable => 'Image::ExifTool::UserDefined::archive' } } },
);
%Image::ExifTool::UserDefined::archive = (
    GROUPS => { 0 => 'XMP', 1 => 'XMP-archive', 2 => 'Image' },
    NAMESPACE => { 'archive' => 'https://archive.example.org/ns/' },
    WRITABLE => 'string',
    Shelf => { },
    Boxes => { List => 'Bag' },
);
1;
"""  # noqa: E501


def master(kind: str, folder: Path, order: str) -> bytes:
    """A file of this kind with all that ExifTool can put into it, 600 pixels per inch, "II" or "MM"."""
    width, height = 40, 30
    image = Image.linear_gradient("L").resize((width, height)).convert("RGB")
    exif = b"Exif\0\0" + exif_block(makers_exif("<" if order == "II" else ">"))
    options: dict[str, Any] = {} if kind == "TIFF" else {"exif": exif}
    path = folder / f"master.{KINDS[kind]}"
    path.write_bytes(to_bytes(image, kind, **options))
    thumbnail = folder / "thumbnail.jpg"
    thumbnail.write_bytes(to_bytes(image.resize((16, 12)), "JPEG"))
    configuration = folder / "archive.config"
    configuration.write_text(_UNKNOWN_NAMESPACE)
    fields = _NAMES | _PROPERTIES | {"IFD0:XResolution": "600", "IFD0:YResolution": "600"}
    fields |= {"IFD0:ResolutionUnit": "inches", "IFD0:Orientation#": "6"}
    if kind in ("JPEG", "PNG", "TIFF"):
        fields |= _CAPTIONS
    if kind == "JPEG":
        fields |= _RESOURCES | {"Photoshop:XResolution": "600", "Photoshop:YResolution": "600"}
        fields |= {"JFIF:XResolution": "600", "JFIF:YResolution": "600", "JFIF:ResolutionUnit": "inches"}
        fields |= {"File:Comment": "Abzug, Rückseite leer"}
    if kind == "PNG":
        fields |= {"PNG:PixelsPerUnitX": "23622", "PNG:PixelsPerUnitY": "23622", "PNG:PixelUnits": "meters"}
        fields |= {"PNG:Comment": "Abzug, Rückseite leer", "PNG:Copyright": "© Stadtarchiv"}
    arguments = [f"-{name}={value}" for name, values in fields.items() for value in _listed(values)]
    if kind in ("JPEG", "TIFF"):
        arguments += [f"-PhotoshopThumbnail<={thumbnail}"]
    if kind == "JPEG":
        arguments += [f"-IFD1:ThumbnailImage<={thumbnail}"]
    exiftool("-config", str(configuration), "-q", "-m", "-overwrite_original", f"-ExifByteOrder={order}",
             "-charset", "iptc=utf8", *arguments, str(path))  # fmt: skip
    return path.read_bytes()


def _listed(value: str | Sequence[str]) -> Sequence[str]:
    return [value] if isinstance(value, str) else value


def makers_exif(order: Any) -> Directory:
    """Exif with makers' notes as Canon writes them: a directory whose offsets count from the TIFF header."""
    at = 0x200
    texts = (b"Canon EOS 5D\0".ljust(32, b"\0"), b"Firmware 1.1.0\0".ljust(24, b"\0"))
    begin = at + 2 + 12 * len(texts) + 4
    note = struct.pack(order + "H", len(texts))
    for tag, text in zip((6, 7), texts, strict=True):
        note += struct.pack(order + "HHII", tag, 2, len(text), begin)
        begin += len(text)
    note += bytes(4) + b"".join(texts)
    camera = Directory(order, {Base.MakerNote: Entry(UNDEFINED, len(note), note, at)})
    return Directory(order, {Base.Make: Entry.text("Canon"), Base.Model: Entry.text("EOS")}, {IFD.Exif: camera})


def exiftool(*arguments: str) -> str:
    """What ExifTool prints."""
    run = subprocess.run(["exiftool", *arguments], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    return run.stdout


def fields(path: Path) -> dict[str, list[Any]]:
    """All that ExifTool finds in a file, by group and name; mostly one value, several where it stands there twice."""
    (found,) = json.loads(exiftool("-a", "-G1:4", "-s", "-j", "-n", "-struct", "-charset", "iptc=latin", str(path)))
    gathered: dict[str, list[Any]] = {}
    del found["SourceFile"]
    for key, value in found.items():
        group, *_, name = key.split(":")
        gathered.setdefault(f"{group}:{name}", []).append(value)
    return gathered
