"""XMP packets (ISO 16684-1; Adobe XMP Specification, parts 1 and 3): facts as RDF in XML.

Nothing is taken from the network, no entity is expanded, and a packet with a document type is none at all.
"""

import codecs
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from lxml import etree

NAMESPACES = {
    "x": "adobe:ns:meta/",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "dc": "http://purl.org/dc/elements/1.1/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "xmpRights": "http://ns.adobe.com/xap/1.0/rights/",
    "xmpNote": "http://ns.adobe.com/xmp/note/",
    "exif": "http://ns.adobe.com/exif/1.0/",
    "tiff": "http://ns.adobe.com/tiff/1.0/",
    "photoshop": "http://ns.adobe.com/photoshop/1.0/",
    "Iptc4xmpCore": "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "mwg-rs": "http://www.metadataworkinggroup.com/schemas/regions/",
    "stArea": "http://ns.adobe.com/xmp/sType/Area#",
    "stDim": "http://ns.adobe.com/xap/1.0/sType/Dimensions#",
    "autochrome": "urn:uuid:2ac77790-a4a3-5fc2-9815-44ab024544ae#",
}
"""By their usual prefixes. The last is our own: an address would be that of a page somebody has to keep."""

LONGEST_PACKET = 2**20
"""Bytes of a packet that is read: a parsed one takes up to fifty times as much. Larger ones hold whole pictures, or one
program's list of every picture ever pasted in."""

_MOST_DESCRIPTIONS = 1000
"""Of a packet: each is looked into for every property."""

_BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
    b"<\0\0\0": "utf-32-le",
    b"\0\0\0<": "utf-32-be",
    b"<\0": "utf-16-le",
    b"\0<": "utf-16-be",
}

_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""In XML 1.0."""

_HEAD = b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
_TAIL = b'\n<?xpacket end="w"?>'


def name(prefixed: str) -> str:
    """lxml's name of a property such as "dc:title"."""
    prefix, local = prefixed.split(":")
    return f"{{{NAMESPACES[prefix]}}}{local}"


_RDF, _DESCRIPTION, _ABOUT, _ITEM = name("rdf:RDF"), name("rdf:Description"), name("rdf:about"), name("rdf:li")
_RESOURCE, _PARSE_TYPE, _META = name("rdf:resource"), name("rdf:parseType"), name("x:xmpmeta")
_EXTENSION = "xmpNote:HasExtendedXMP"
_LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"


class Packet:
    """One packet; properties go by their prefixed names, such as "dc:title", where they are in `NAMESPACES`."""

    def __init__(self, root: Any, rdf: Any) -> None:
        """See `parse` and `new`."""
        self._root = root
        self._rdf = rdf
        for description in rdf.findall(_DESCRIPTION):
            _spell_out(description)

    @classmethod
    def parse(cls, data: bytes) -> "Packet | None":
        """None where it is no packet, is longer than `LONGEST_PACKET`, or declares a document type."""
        if len(data) > LONGEST_PACKET:
            return None
        encoding = next((found for mark, found in _BYTE_ORDER_MARKS.items() if data.startswith(mark)), "utf-8")
        parser = etree.XMLParser(
            encoding="utf-8", resolve_entities=False, no_network=True, remove_comments=True, remove_pis=True
        )
        try:
            text = _unwrapped(data.decode(encoding)).strip("\0\ufeff \t\r\n")
            if "<!DOCTYPE" in text:
                return None
            root = etree.fromstring(text.encode(), parser)
        except (UnicodeDecodeError, etree.XMLSyntaxError, ValueError):
            return None
        rdf = next(root.iter(_RDF), None)
        return None if rdf is None or len(rdf) > _MOST_DESCRIPTIONS else cls(root, rdf)

    @classmethod
    def new(cls) -> "Packet":
        """An empty one."""
        root = etree.Element(_META, nsmap={"x": NAMESPACES["x"]})
        rdf = etree.SubElement(root, _RDF, nsmap={"rdf": NAMESPACES["rdf"]})
        etree.SubElement(rdf, _DESCRIPTION, {_ABOUT: ""})
        return cls(root, rdf)

    def serialized(self) -> bytes:
        """As UTF-8 between its processing instructions."""
        return b"".join((_HEAD, etree.tostring(self._root, encoding="utf-8"), _TAIL))

    def has(self, prefixed: str) -> bool:
        """Whether there is such a property."""
        return bool(self._properties(name(prefixed)))

    def text(self, prefixed: str) -> str:
        """A simple property's value, or the first item's; empty where there is none."""
        for found in self._properties(name(prefixed)):
            item = next(found.iter(_ITEM), found)
            return (found.get(_RESOURCE) or item.text or "").strip()
        return ""

    def structures(self, prefixed: str) -> Iterator[Any]:
        """All elements of a name, however deep they are."""
        return iter(self._root.iter(name(prefixed)))

    def set_text(self, prefixed: str, value: str) -> None:
        """Makes it the property's one value."""
        self._fresh(prefixed).text = _legal(value)

    def set_items(self, prefixed: str, array: str, values: Iterable[str]) -> None:
        """Makes the property an array, "Bag" or "Seq", or, for "Alt", texts in the default language."""
        items = etree.SubElement(self._fresh(prefixed), name(f"rdf:{array}"))
        for value in values:
            item = etree.SubElement(items, _ITEM, {_LANGUAGE: "x-default"} if array == "Alt" else {})
            item.text = _legal(value)

    def set_fields(self, prefixed: str, fields: Mapping[str, str]) -> None:
        """Makes the property a structure, its fields in the property's own namespace."""
        prefix, _ = prefixed.split(":")
        structure = self._fresh(prefixed)
        structure.set(_PARSE_TYPE, "Resource")
        for field, value in fields.items():
            etree.SubElement(structure, name(f"{prefix}:{field}")).text = _legal(value)

    def remove(self, prefixed: str) -> None:
        """Takes the property out where it is there."""
        for found in self._properties(name(prefixed)):
            found.getparent().remove(found)

    def remove_namespaces(self, namespaces: frozenset[str]) -> None:
        """Takes all properties of these namespaces out."""
        for namespace in namespaces:
            for found in self._properties(f"{{{namespace}}}*"):
                found.getparent().remove(found)

    def join(self, extension: "Packet") -> None:
        """Takes over what did not fit into a JPEG's main packet."""
        self.remove(_EXTENSION)
        for description in extension._rdf.findall(_DESCRIPTION):
            self._rdf.append(description)

    def split(self, limit: int) -> tuple[bytes, bytes | None]:
        """The packet within so many bytes, and a second with the largest properties where there was too much.

        Nothing else is to be asked of the packet afterwards. Part 3 of the specification, "Extended XMP in JPEG".
        """
        self.remove(_EXTENSION)
        main = self.serialized()
        if len(main) <= limit:
            return main, None
        extension = Packet.new()
        (target,) = extension._rdf
        target.set(_ABOUT, self._description().get(_ABOUT, ""))
        largest = sorted(self._properties("*"), key=_length, reverse=True)
        self.set_text(_EXTENSION, "0" * 32)
        while largest and len(self.serialized()) > limit:
            # The largest alone, unless there are so many that it would take for ever.
            step = 1 + len(largest) // 50
            for found in largest[:step]:
                target.append(found)
            del largest[:step]
        extended = etree.tostring(extension._root, encoding="utf-8")
        self.set_text(_EXTENSION, guid(extended))
        return self.serialized(), extended

    @property
    def extension(self) -> str:
        """The `guid` of what belongs to this packet and did not fit into it; empty where there is none."""
        return self.text(_EXTENSION)

    def _properties(self, tag: str) -> list[Any]:
        return [found for description in self._rdf.findall(_DESCRIPTION) for found in description.findall(tag)]

    def _description(self) -> Any:
        found = self._rdf.find(_DESCRIPTION)
        return etree.SubElement(self._rdf, _DESCRIPTION, {_ABOUT: ""}) if found is None else found

    def _fresh(self, prefixed: str) -> Any:
        """The property, empty, where the first of its name was; behind all others where there was none."""
        found = self._properties(name(prefixed))
        if found:
            for other in found[1:]:
                other.getparent().remove(other)
            found[0].clear(keep_tail=True)
            return found[0]
        prefix, _ = prefixed.split(":")
        return etree.SubElement(self._description(), name(prefixed), nsmap={prefix: NAMESPACES[prefix]})


def guid(extension: bytes) -> str:
    """By which a JPEG's main packet names its extension: the MD5 digest."""
    return hashlib.md5(extension, usedforsecurity=False).hexdigest().upper()


def _length(found: Any) -> int:
    """Of a property, roughly: serialised alone, it would declare all namespaces around it."""
    return sum(len(part.tag) + len(part.text or "") for part in found.iter())


def _unwrapped(text: str) -> str:
    """What stands between the packet's processing instructions: some writers leave rubbish behind the second."""
    begin = text.find("<?xpacket begin")
    end = text.find("<?xpacket end", begin)
    return text[text.find("?>", begin) + 2 : end] if 0 <= begin < end else text


def _spell_out(description: Any) -> None:
    """Turns properties that are attributes into elements, which mean the same, so that there is one form of them."""
    for key in description.attrib.keys():  # noqa: SIM118 - lxml's iterator does not outlive a change
        namespace = etree.QName(key).namespace
        if namespace is not None and namespace != NAMESPACES["rdf"] and key != _LANGUAGE:
            # Each is looked for from the first on; taken out in their order, all of them take linear time.
            value = description.attrib.pop(key)
            etree.SubElement(description, key).text = value


def _legal(text: str) -> str:
    return _ILLEGAL.sub("", text)
