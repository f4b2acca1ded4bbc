"""The same fact in another standard's words, for containers that lack a place for the first.

IPTC Photo Metadata Standard 2025.1 and the Metadata Working Group's Guidelines for Handling Image Metadata 2.0, 5.5.
"""

import re
from collections.abc import Sequence

from PIL.ExifTags import IFD, Base

from service.imaging.metadata import iptc
from service.imaging.metadata.directory import UNDEFINED, Directory, Entry
from service.imaging.metadata.facts import Facts
from service.imaging.metadata.photoshop import COPYRIGHT_FLAG, URL
from service.imaging.metadata.xmp import Packet

_LISTS = {25: ("dc:subject", "Bag"), 80: ("dc:creator", "Seq"), 20: ("photoshop:SupplementalCategories", "Bag")}

_LANGUAGES = {5: "dc:title", 116: "dc:rights", 120: "dc:description"}

_TEXTS = {
    10: "photoshop:Urgency",
    15: "photoshop:Category",
    40: "photoshop:Instructions",
    85: "photoshop:AuthorsPosition",
    90: "photoshop:City",
    92: "Iptc4xmpCore:Location",
    95: "photoshop:State",
    100: "Iptc4xmpCore:CountryCode",
    101: "photoshop:Country",
    103: "photoshop:TransmissionReference",
    105: "photoshop:Headline",
    110: "photoshop:Credit",
    115: "photoshop:Source",
    122: "photoshop:CaptionWriter",
}

_DATES = {(55, 60): "photoshop:DateCreated", (62, 63): "xmp:CreateDate"}
"""By the data sets of the day and the time."""

_APPLICATION = 2
"""The record that describes the picture."""


def captions_into_xmp(facts: Facts, packet: Packet) -> None:
    """Adds what IPTC-IIM and Photoshop's resources say and XMP has properties for, where the packet lacks them."""
    texts = iptc.texts(facts.iptc or b"")

    def values(number: int) -> Sequence[str]:
        return texts.get((_APPLICATION, number), ())

    for number, (name, array) in _LISTS.items():
        if values(number) and not packet.has(name):
            packet.set_items(name, array, values(number))
    for number, name in _LANGUAGES.items():
        if values(number) and not packet.has(name):
            packet.set_items(name, "Alt", values(number)[:1])
    for number, name in _TEXTS.items():
        if values(number) and not packet.has(name):
            packet.set_text(name, values(number)[0])
    for (day, time), name in _DATES.items():
        date = _date("".join(values(day)[:1]), "".join(values(time)[:1]))
        if date and not packet.has(name):
            packet.set_text(name, date)
    for resource in facts.resources:
        if resource.identifier == COPYRIGHT_FLAG and any(resource.data) and not packet.has("xmpRights:Marked"):
            packet.set_text("xmpRights:Marked", "True")
        if resource.identifier == URL and not packet.has("xmpRights:WebStatement"):
            packet.set_text("xmpRights:WebStatement", text_of(resource.data))


def _date(day: str, time: str) -> str:
    """IIM's CCYYMMDD and HHMMSS±HHMM as ISO 8601; an unknown month or day, which is 00 there, is left out."""
    found = re.fullmatch(r"(\d{4})(\d\d)(\d\d)", day)
    if found is None:
        return ""
    known = [found[1]]
    for part in found.groups()[1:]:
        if part == "00":
            return "-".join(known)
        known.append(part)
    clock = re.fullmatch(r"(\d\d)(\d\d)(\d\d)(?:([+-]\d\d)(\d\d))?", time)
    zone = f"{clock[4]}:{clock[5]}" if clock is not None and clock[4] else ""
    return "-".join(known) + (f"T{clock[1]}:{clock[2]}:{clock[3]}{zone}" if clock is not None else "")


def comment_into_exif(facts: Facts) -> Directory:
    """The Exif directory with the comment as UserComment, where it has none."""
    directory = facts.exif or Directory()
    camera = directory.child(IFD.Exif)
    if facts.comment is None or Base.UserComment in camera.entries:
        return directory
    text = text_of(facts.comment)
    if text.isascii():
        value = b"ASCII\0\0\0" + text.encode()
    else:
        value = b"UNICODE\0" + text.encode("utf-16-le" if directory.order == "<" else "utf-16-be")
    camera = camera.with_entries({Base.UserComment: Entry(UNDEFINED, len(value), value)})
    return directory.with_child(IFD.Exif, camera)


def text_of(value: bytes) -> str:
    """Text of no declared encoding: UTF-8, or else Latin-1."""
    try:
        return value.rstrip(b"\0").decode()
    except UnicodeDecodeError:
        return value.rstrip(b"\0").decode("latin-1")
