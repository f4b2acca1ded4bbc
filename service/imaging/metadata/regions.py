"""Where in the picture who or what is (Metadata Working Group, Guidelines for Handling Image Metadata 2.0, 5.9)."""

from collections.abc import Callable, Mapping
from typing import Any

from service.imaging.metadata.xmp import Packet, name

_TURNED: Mapping[int, Callable[[float, float], tuple[float, float]]] = {
    2: lambda x, y: (1 - x, y),
    3: lambda x, y: (1 - x, 1 - y),
    4: lambda x, y: (x, 1 - y),
    5: lambda x, y: (y, x),
    6: lambda x, y: (1 - y, x),
    7: lambda x, y: (1 - y, 1 - x),
    8: lambda x, y: (y, 1 - x),
}
"""Where a point of the pixels as stored lies once they stand upright, by Exif's orientation; in parts of the sides."""


def turn_regions(packet: Packet, orientation: int, width: int, height: int) -> None:
    """Lets the regions follow the pixels, which were turned upright and are `width` × `height` now."""
    for dimensions in packet.structures("mwg-rs:AppliedToDimensions"):
        _set(dimensions, {"stDim:w": str(width), "stDim:h": str(height), "stDim:unit": "pixel"})
    if orientation == 1:
        return
    for area in packet.structures("mwg-rs:Area"):
        try:
            x, y = _TURNED[orientation](float(_get(area, "stArea:x")), float(_get(area, "stArea:y")))
        except ValueError:
            continue
        fields = {"stArea:x": f"{x:.6g}", "stArea:y": f"{y:.6g}"}
        if orientation >= 5:  # the sides change places
            fields |= {"stArea:w": _get(area, "stArea:h"), "stArea:h": _get(area, "stArea:w")}
        _set(area, fields)


def _get(structure: Any, field: str) -> str:
    for holder in _holders(structure):
        value = holder.findtext(name(field), holder.get(name(field)))
        if value is not None:
            return str(value)
    return ""


def _set(structure: Any, fields: Mapping[str, str]) -> None:
    for holder in _holders(structure):
        for field, value in fields.items():
            if holder.get(name(field)) is not None:
                holder.set(name(field), value)
            elif (found := holder.find(name(field))) is not None:
                found.text = value


def _holders(structure: Any) -> list[Any]:
    """Where a structure's fields are, as attributes or elements: in itself or in an rdf:Description in it."""
    return [structure, *structure.findall(name("rdf:Description"))]
