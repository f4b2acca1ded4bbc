"""What a client says that it takes (RFC 9110, 12.5.1)."""

from collections.abc import Mapping

from service.imaging.formats import ImageFormat


def accepted_formats(accept: str | None) -> Mapping[ImageFormat, float] | None:
    """How welcome each format is, from 0 to 1, by the header Accept; None where it does not say.

    What cannot be understood of it is passed over.
    """
    ranges: dict[str, float] = {}
    for part in (accept or "").lower().split(","):
        name, *parameters = (piece.strip() for piece in part.split(";"))
        quality = next((value[2:] for value in parameters if value.startswith("q=")), "1")
        try:
            ranges[name] = min(1.0, max(0.0, float(quality)))
        except ValueError:
            continue
    found = {format: _quality(ranges, format.media_type) for format in ImageFormat}
    return found if any(found.values()) else None


def _quality(ranges: Mapping[str, float], media_type: str) -> float:
    """Of the most particular range that it is in."""
    return next((ranges[name] for name in (media_type, "image/*", "*/*") if name in ranges), 0.0)
