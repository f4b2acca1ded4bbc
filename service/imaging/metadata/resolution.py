"""How many pixels of a picture go on an inch of what was scanned."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

from PIL.ExifTags import Base

from service.imaging.metadata.directory import RATIONAL, SHORT, Directory, Entry

INCH = 0.0254
"""In metres."""

_UNITS = {2: 1.0, 3: 2.54}
"""Tag 296: inches, centimetres; 1 is none."""

_UNKNOWN = 72
"""Exif 2.32, 4.6.4: what is to be written where the resolution is not known."""

_LEAST, _MOST = 0.01, 1e6
"""What a rational of 32-bit integers tells apart from its neighbours, in any unit."""


@dataclass(frozen=True, slots=True)
class Resolution:
    """Pixels per inch, across and down."""

    x: float
    y: float

    @classmethod
    def of(cls, x: float, y: float) -> "Resolution | None":
        """None where they are no resolution."""
        sound = all(math.isfinite(value) and _LEAST <= value <= _MOST for value in (x, y))
        return cls(x, y) if sound else None

    @classmethod
    def of_directory(cls, directory: Directory | None) -> "Resolution | None":
        """Tags 282, 283 and 296 (TIFF 6.0, page 38)."""
        if directory is None:
            return None
        x, y = directory.numbers(Base.XResolution), directory.numbers(Base.YResolution)
        (unit,) = directory.numbers(Base.ResolutionUnit)[:1] or (2,)
        if not x or not y or unit not in _UNITS:
            return None
        return cls.of(x[0] * _UNITS[int(unit)], y[0] * _UNITS[int(unit)])

    def written_into(self, directory: Directory) -> Directory:
        """The directory with tags 282, 283 and 296; as it is, unit included, where it says the same already."""
        if Resolution.of_directory(directory) == self:
            return directory
        fractions = [Fraction(value).limit_denominator(4000) for value in (self.x, self.y)]
        x, y = (
            Entry(RATIONAL, 1, _integers(directory, fraction.numerator, fraction.denominator)) for fraction in fractions
        )
        return directory.with_entries(
            {
                Base.XResolution: x,
                Base.YResolution: y,
                Base.ResolutionUnit: Entry.integers(SHORT, directory.order, 2),
            }
        )

    def scaled(self, factor: float) -> "Resolution | None":
        """Of the same scan with `factor` times as many pixels a side."""
        return Resolution.of(self.x * factor, self.y * factor)


def _integers(directory: Directory, *values: int) -> bytes:
    return Entry.integers(4, directory.order, *values).value


def best(resolutions: Iterable[Resolution | None]) -> Resolution | None:
    """Of what a file says in several places, the first that says something: 72 mostly says that nobody knows."""
    known = [resolution for resolution in resolutions if resolution is not None]
    telling = [resolution for resolution in known if (resolution.x, resolution.y) != (_UNKNOWN, _UNKNOWN)]
    return next(iter(telling + known), None)
