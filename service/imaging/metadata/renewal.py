"""The facts of an answer: the photograph's own, but for those that are no longer true, and what became of it."""

from collections.abc import Mapping
from dataclasses import replace

from PIL.ExifTags import IFD, Base

from service.imaging.metadata.directory import LONG, SHORT, UNDEFINED, Directory, Entry
from service.imaging.metadata.facts import Facts, orientation
from service.imaging.metadata.regions import turn_regions
from service.imaging.metadata.resolution import Resolution
from service.imaging.metadata.xmp import Packet

COLOURED_BY_NETWORK = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
"""Of IPTC's digital source types the one for what was photographed and then changed by a trained network."""

_SRGB = 1

_GEOREFERENCE = {33_550, 33_922, 34_264}
"""GeoTIFF's, which tie pixels to places."""

_START_OF_JPEG, _END_OF_JPEG = b"\xff\xd8\xff", b"\xff\xd9"

_COUNTED_IN_PIXELS = {37_396, Base.SubjectLocation, Base.FocalPlaneXResolution, Base.FocalPlaneYResolution,
                      Base.FocalPlaneResolutionUnit}  # fmt: skip
"""37396 is the subject's area."""

_STORAGE = ("tiff:BitsPerSample", "tiff:Compression", "tiff:PhotometricInterpretation", "tiff:SamplesPerPixel",
            "tiff:PlanarConfiguration", "tiff:YCbCrSubSampling", "tiff:YCbCrPositioning", "tiff:YCbCrCoefficients",
            "tiff:TransferFunction", "tiff:WhitePoint", "tiff:PrimaryChromaticities", "tiff:ReferenceBlackWhite",
            "exif:Gamma", "exif:CompressedBitsPerPixel", "dc:format")  # fmt: skip
"""How the source was stored, in XMP's words."""

_OTHER_PICTURES = frozenset(
    {
        "http://ns.google.com/photos/1.0/container/",
        "http://ns.google.com/photos/1.0/image/",
        "http://ns.google.com/photos/1.0/depthmap/",
        "http://ns.adobe.com/hdr-gain-map/1.0/",
    }
)
"""XMP namespaces that hold or describe further pictures of the file, such as gain maps: the answer has none."""


def renewed(
    facts: Facts,
    *,
    width: int,
    height: int,
    software: str,
    model: str,
    parameters: Mapping[str, str],
    scale: float = 1.0,
) -> Facts:
    """The facts of an upright answer in sRGB, `width` × `height` pixels, that `model` coloured.

    `software` names and versions the program, `parameters` what it was asked for, by names that XML allows. `scale` is
    the answer's side over the photograph's.
    """
    moved = scale != 1 or orientation(facts) != 1
    on_its_side = orientation(facts) in (5, 6, 7, 8)
    resolution = None if facts.resolution is None else facts.resolution.scaled(scale)
    if resolution is not None and on_its_side:
        resolution = Resolution(resolution.y, resolution.x)
    directory = facts.exif or Directory()
    former_software = directory.text(Base.Software)
    directory = _renewed_exif(directory, width, height, software, moved)
    if resolution is not None:
        directory = resolution.written_into(directory)
    else:
        directory = directory.without((Base.XResolution, Base.YResolution, Base.ResolutionUnit))

    packet = (Packet.parse(facts.xmp) if facts.xmp is not None else None) or Packet.new()
    _renew_xmp(packet, width, height, software, former_software)
    if scale != 1 or on_its_side:
        for name in ("tiff:XResolution", "tiff:YResolution", "tiff:ResolutionUnit"):
            packet.remove(name)
    turn_regions(packet, orientation(facts), width, height)
    _tell(packet, software, model, parameters)
    return replace(facts, exif=directory, xmp=packet.serialized(), resolution=resolution)


def _renewed_exif(directory: Directory, width: int, height: int, software: str, moved: bool) -> Directory:
    def integer(type_: int, value: int) -> Entry:
        return Entry.integers(type_, directory.order, value)

    camera = directory.child(IFD.Exif).without({Base.Gamma, Base.CompressedBitsPerPixel})
    if Base.MakerNote in camera.entries:
        camera = camera.with_entries({Base.MakerNote: _without_preview(camera.entries[Base.MakerNote])})
    if moved:
        directory = directory.without(_GEOREFERENCE)
        camera = camera.without(_COUNTED_IN_PIXELS)
    if Base.ExifVersion not in camera.entries:
        camera = camera.with_entries({Base.ExifVersion: Entry(UNDEFINED, 4, b"0232")})
    camera = camera.with_entries(
        {
            Base.ColorSpace: integer(SHORT, _SRGB),
            Base.ExifImageWidth: integer(LONG, width),
            Base.ExifImageHeight: integer(LONG, height),
        }
    )
    interoperability = camera.child(IFD.Interop)
    if interoperability.text(Base.InteropIndex) == "R03":  # DCF's sign for Adobe RGB; R98 is that for sRGB
        camera = camera.with_child(IFD.Interop, interoperability.with_entries({Base.InteropIndex: Entry.text("R98")}))
    directory = directory.with_child(IFD.Exif, camera).with_entries({Base.Software: Entry.text(software)})
    if Base.Orientation in directory.entries:
        directory = directory.with_entries({Base.Orientation: integer(SHORT, 1)})
    return directory


def _without_preview(note: Entry) -> Entry:
    """The makers' notes with zeros where a JPEG lay in them, so that everything else stays in its place."""
    begin = note.value.find(_START_OF_JPEG)
    end = note.value.rfind(_END_OF_JPEG) + len(_END_OF_JPEG)
    if not 0 <= begin < end:
        return note
    return replace(note, value=note.value[:begin] + bytes(end - begin) + note.value[end:])


def _renew_xmp(packet: Packet, width: int, height: int, software: str, former_software: str) -> None:
    for name in (*_STORAGE, "xmp:Thumbnails"):
        packet.remove(name)
    packet.remove_namespaces(_OTHER_PICTURES)
    now = {
        "tiff:Orientation": "1",
        "tiff:ImageWidth": str(width),
        "tiff:ImageLength": str(height),
        "exif:PixelXDimension": str(width),
        "exif:PixelYDimension": str(height),
        "exif:ColorSpace": str(_SRGB),
        "photoshop:ColorMode": "3",
        "photoshop:ICCProfile": "sRGB IEC61966-2.1",
        "tiff:Software": software,
    }
    for name, value in now.items():
        if packet.has(name):
            packet.set_text(name, value)
    # XMP means the first tool that made the picture, Exif the last one: that is how the scanner's name survives.
    if not packet.has("xmp:CreatorTool"):
        packet.set_text("xmp:CreatorTool", former_software or software)


def _tell(packet: Packet, software: str, model: str, parameters: Mapping[str, str]) -> None:
    """Writes down that colours were computed, by what and how."""
    former = packet.text("Iptc4xmpExt:DigitalSourceType")
    if former and former != COLOURED_BY_NETWORK:
        packet.set_text("autochrome:SourceDigitalSourceType", former)
    packet.set_text("Iptc4xmpExt:DigitalSourceType", COLOURED_BY_NETWORK)
    packet.set_text("Iptc4xmpExt:AISystemUsed", software)
    packet.set_text("Iptc4xmpExt:AISystemVersionUsed", model)
    packet.set_text("autochrome:Model", model)
    packet.set_fields("autochrome:Parameters", parameters)
