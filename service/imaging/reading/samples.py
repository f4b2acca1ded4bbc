"""A TIFF's samples as stored → levels of 8 or 16 bits, black at 0."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tifffile import PHOTOMETRIC, SAMPLEFORMAT, TiffPage

from service.imaging.errors import BrokenImageError, UnsupportedFormatError
from service.imaging.reading.raster import to_16_bits

Levels = Callable[[NDArray[Any]], NDArray[Any]]
"""Samples (h, w, n) → levels (h, w, n), or of a palette (h, w, n + 2), uint8 or uint16."""

_MAX_SAMPLE_VALUE, _S_MIN_SAMPLE_VALUE, _S_MAX_SAMPLE_VALUE = 281, 340, 341

_ROOM_ABOVE_WHITE = 1.5
"""What filters overshoot is less."""

_LAB_WHITE = 0xFF00
"""L* of 100 in 16 bits, where the samples are as ICC profiles have them (ICC.1:2022, 6.3.4.2)."""


def levels_of(page: TiffPage) -> tuple[Levels, int]:
    """What turns the page's samples into levels, and how many bits these have.

    Raises:
        UnsupportedFormatError: Samples of this kind are not read.
        BrokenImageError: The colour map is missing.
    """
    if page.photometric == PHOTOMETRIC.PALETTE:
        return _palette(page), 8
    scale, depth = _scale(page)
    if page.photometric == PHOTOMETRIC.MINISWHITE:

        def inverted(samples: NDArray[Any]) -> NDArray[Any]:
            levels = scale(samples).copy()
            levels[..., 0] = ~levels[..., 0]  # and not alpha
            return levels

        return inverted, depth
    if page.photometric == PHOTOMETRIC.ICCLAB and depth == 16:
        return lambda samples: to_16_bits(scale(samples), _LAB_WHITE), 16
    return scale, depth


def unread(what: str) -> UnsupportedFormatError:
    """The error for a kind of TIFF that is not read."""
    return UnsupportedFormatError(f"This is a TIFF {what}, which is not read here")


def name_of(value: Any) -> str:
    """What a tag's value is called."""
    return getattr(value, "name", None) or str(value)


def _scale(page: TiffPage) -> tuple[Levels, int]:
    bits, kind = page.bitspersample, page.sampleformat
    if page.dtype is None:
        raise unread(f"with samples of {bits} bits and of the kind {name_of(kind)}")
    lowest, highest = (_number(page, tag) for tag in (_S_MIN_SAMPLE_VALUE, _S_MAX_SAMPLE_VALUE))
    limits = (lowest, highest) if lowest is not None and highest is not None and lowest < highest else None
    if kind == SAMPLEFORMAT.IEEEFP:
        return _floats(limits), 16
    if kind == SAMPLEFORMAT.INT and limits is not None:
        low, range_ = limits[0], limits[1] - limits[0]
        return lambda samples: to_16_bits(samples.astype(np.float64) - low, range_), 16
    if kind not in (SAMPLEFORMAT.UINT, SAMPLEFORMAT.VOID):
        raise unread(f"with samples of the kind {name_of(kind)} that does not say its range (SMinSampleValue)")
    if isinstance(bits, tuple) or bits == 8:
        return lambda samples: samples, 8
    if bits < 8:
        narrow = np.round(np.arange(2**bits) * (255 / (2**bits - 1))).astype(np.uint8)
        return lambda samples: narrow[samples.view(np.uint8)], 8
    if bits == 24:
        # In the file's order of bytes, or as bits one after the other: there are files of either kind.
        raise unread("of 24 bits, which programs write in several ways")
    if bits > 16:
        return lambda samples: (samples >> (bits - 16)).astype(np.uint16), 16
    declared = _number(page, _MAX_SAMPLE_VALUE)
    # Any other number may be what is in this very picture.
    narrower = {2**narrow - 1 for narrow in range(9, bits)}
    largest = declared if declared is not None and declared in narrower else 2**bits - 1
    if largest == 65_535:
        return lambda samples: samples.astype(np.uint16), 16  # this machine's own order of bytes, and aligned
    wide = to_16_bits(np.arange(2**bits), largest)
    return lambda samples: wide[samples], 16


def _number(page: TiffPage, tag: int) -> float | None:
    """The first of an entry's values."""
    value = page.tags.valueof(tag)
    first = value[0] if isinstance(value, tuple) and value else value
    return float(first) if isinstance(first, int | float) and np.isfinite(first) else None


def _floats(limits: tuple[float, float] | None) -> Levels:
    lowest, highest = limits or (0.0, 1.0)

    def levels(samples: NDArray[Any]) -> NDArray[Any]:
        with np.errstate(over="ignore", invalid="ignore"):
            values = (samples.astype(np.float64) - lowest) / (highest - lowest)
        values[np.isnan(values)] = 0
        if limits is None and values.max(initial=0) > _ROOM_ABOVE_WHITE:
            raise unread("with floating-point numbers above 1 that does not say which is white (SMaxSampleValue)")
        return to_16_bits(values, 1)

    return levels


def _palette(page: TiffPage) -> Levels:
    table, bits = page.colormap, page.bitspersample
    if isinstance(bits, tuple) or bits > 16 or page.dtype is None:
        raise unread(f"with a palette of {bits} bits")
    if table is None or table.shape != (3, 2**bits):
        raise BrokenImageError("The TIFF image is damaged: its colour map is missing, or not whole")
    # Some programs store 0 to 255 instead of 0 to 65535.
    colors = (table >> 8 if table.max() > 255 else table).astype(np.uint8).T

    def levels(samples: NDArray[Any]) -> NDArray[Any]:
        picked = colors[samples[..., 0].astype(np.uint16)]
        alpha = (samples[..., 1:] * (255 / (2**bits - 1)) + 0.5).astype(np.uint8)
        return np.concatenate((picked, alpha), axis=2)

    return levels
