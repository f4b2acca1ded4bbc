"""L* and chroma → sRGB, compiled as kernels.py is: the arithmetic of color.py, inside the gamut."""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numba import float32, njit, uint8, uint16, void
from numpy.typing import NDArray

from service.imaging import color
from service.imaging.compilation import compiled
from service.imaging.kernels import LEVELS, LINEAR, MAP, ROOM, mix_row, read_only, room

if TYPE_CHECKING:
    from service.imaging.upsample import Axis

_f = np.float32
_DELTA, _OFFSET, _INVERSE_SLOPE = _f(color.DELTA), _f(color.OFFSET), _f(1 / color.SLOPE)
_XR, _XG, _XB = (_f(value) for value in color.RELATIVE_XYZ_TO_RGB[:, 0].tolist())
_ZR, _ZG, _ZB = (_f(value) for value in color.RELATIVE_XYZ_TO_RGB[:, 2].tolist())

# Linear light that counts as inside [0, 1], but for rounding: at black, where companding is steepest, 1e-5 is a
# thirtieth of an 8-bit level.
_DARKEST, _BRIGHTEST = _f(-1e-5), _f(1 + 1e-5)

_ABSURD = _f(1e6)
"""Of a*/500 and b*/200: no colour is near it, and its cube is still a number."""

# Each step halves the interval of the chroma's scale: 2⁻¹⁰ of the largest chroma in sRGB, 134, is 0.13, a fraction of
# what one 8-bit level makes.
_BISECTIONS = 10

_STRETCH = 64
"""Pixels of a row that are looked at together: if one is outside the gamut, its neighbours are likely to be."""

_COMPANDED_8 = (color.srgb_encode(LINEAR) * 255).round().to(torch.uint8).numpy()
"""Linear light in steps of 1/65535 → 8-bit sRGB."""
_COMPANDED_16 = np.append((color.srgb_encode(LINEAR) * LEVELS).numpy(), _f(LEVELS))
"""The same → 16-bit sRGB, to be rounded; one step more, to interpolate towards."""


def paint(
    lightness: NDArray[np.float32],
    colors: NDArray[np.float32],
    guide: NDArray[np.float32],
    rows: "Axis",
    columns: "Axis",
    left: int,
    pixels: NDArray[Any],
) -> None:
    """Lightness with chroma, as sRGB, into the first three channels of `pixels` (h, W, 3 or 4), uint8 or uint16.

    For the others see `enlarge`; it is the pixels from column `left` on that are painted. Colours outside the gamut
    shrink towards grey of the same L* and hue: clipping the channels instead would change lightness, by up to 8 L*, and
    hue. Chroma that is no number, or beyond all bounds, counts as none, and lightness that is no number as black.
    """
    axes = rows.first, rows.weights, columns.first, columns.weights
    kernel, companded = (_paint_8, _COMPANDED_8) if pixels.dtype == np.uint8 else (_paint_16, _COMPANDED_16)
    kernel(lightness, colors, guide, *axes, left, *room(rows, columns), companded, pixels)


@njit(nogil=True, inline="always")
def _expand(f: np.float32) -> np.float32:
    return f * f * f if f > _DELTA else (f - _OFFSET) * _INVERSE_SLOPE


@njit(nogil=True, inline="always")
def _f_of(lightness: np.float32) -> np.float32:
    return (lightness + _f(16)) * _f(1 / 116)


@njit(nogil=True, inline="always")
def _linear(fy: np.float32, a: np.float32, b: np.float32) -> tuple[np.float32, np.float32, np.float32]:
    """CIELAB's f of Y, and a*/500 and b*/200 → linear sRGB."""
    y = _expand(fy)
    x, z = _expand(fy + a) - y, _expand(fy - b) - y
    # Each row of the matrix sums to 1, but for the fifth digit that it was published with: so grey is grey exactly.
    return y + _XR * x + _ZR * z, y + _XG * x + _ZG * z, y + _XB * x + _ZB * z


@njit(nogil=True, inline="always")
def _inside(rgb: tuple[np.float32, np.float32, np.float32]) -> bool:
    red, green, blue = rgb
    return bool(min(red, green, blue) >= _DARKEST and max(red, green, blue) <= _BRIGHTEST)


@njit(nogil=True, inline="always")
def _step(linear: np.float32) -> np.uint32:
    """The place in a table; 0 for what is not a number, whose cast could be any place in memory."""
    positive = linear if linear > 0 else _f(0)
    return np.uint32(min(positive, _f(1)) * _f(LEVELS) + _f(0.5))


@njit(nogil=True, fastmath={"contract"}, error_model="numpy")
def _shade_row(pixels: NDArray[np.float32], row: NDArray[np.float32]) -> None:
    """The linear light of a row's pixels, from their L* and what `mix_row` left, into `row[3:]`."""
    a, b, red, green, blue = row[0], row[1], row[3], row[4], row[5]
    for x in range(len(pixels)):
        one, other = a[x] * _f(1 / 500), b[x] * _f(1 / 200)
        sane = abs(one) < _ABSURD and abs(other) < _ABSURD  # not a number is below nothing
        a[x], b[x] = one if sane else _f(0), other if sane else _f(0)
        red[x], green[x], blue[x] = _linear(_f_of(pixels[x]), a[x], b[x])
    for begin in range(0, len(pixels), _STRETCH):
        stretch = slice(begin, min(begin + _STRETCH, len(pixels)))
        for x in range(stretch.start, stretch.stop):
            if not _inside((red[x], green[x], blue[x])):
                _shrink(
                    pixels[stretch],
                    a[stretch],
                    b[stretch],
                    row[2, stretch],
                    red[stretch],
                    green[stretch],
                    blue[stretch],
                )
                break


@njit(nogil=True, fastmath={"contract"}, error_model="numpy")
def _shrink(
    pixels: NDArray[np.float32],
    a: NDArray[np.float32],
    b: NDArray[np.float32],
    low: NDArray[np.float32],
    red: NDArray[np.float32],
    green: NDArray[np.float32],
    blue: NDArray[np.float32],
) -> None:
    """Moves the pixels that are outside the gamut to its border, by bisection between grey and their colours.

    For all of a stretch at once, because so it is vectorised, and those outside come together. `low` is where the
    search has come to.
    """
    for x in range(len(pixels)):
        low[x] = _f(0)  # grey itself is always inside
    step = _f(0.5)
    for _ in range(_BISECTIONS):
        for x in range(len(pixels)):
            share = low[x] + step
            inside = _inside(_linear(_f_of(pixels[x]), a[x] * share, b[x] * share))
            low[x] = share if inside else low[x]
        step *= _f(0.5)
    for x in range(len(pixels)):
        inside = _inside((red[x], green[x], blue[x]))
        share = _f(1) if inside else low[x]
        red[x], green[x], blue[x] = _linear(_f_of(pixels[x]), a[x] * share, b[x] * share)


@compiled(void(*MAP, *ROOM, read_only(uint8, 1), uint8[:, :, ::1]))
def _paint_8(
    lightness: NDArray[np.float32],
    colors: NDArray[np.float32],
    guide: NDArray[np.float32],
    first_rows: NDArray[np.int32],
    row_weights: NDArray[np.float32],
    first_columns: NDArray[np.int32],
    column_weights: NDArray[np.float32],
    left: int,
    spread: NDArray[np.float32],
    held: NDArray[np.int32],
    row: NDArray[np.float32],
    companded: NDArray[np.uint8],
    pixels: NDArray[np.uint8],
) -> None:
    axes = first_rows, row_weights, first_columns, column_weights
    for y in range(len(first_rows)):
        own = lightness[y, left : left + len(first_columns)]
        mix_row(y, own, colors, guide, *axes, spread, held, row)
        _shade_row(own, row)
        red, green, blue = row[3], row[4], row[5]
        for x in range(len(own)):
            pixels[y, left + x, 0] = companded[_step(red[x])]
            pixels[y, left + x, 1] = companded[_step(green[x])]
            pixels[y, left + x, 2] = companded[_step(blue[x])]


@compiled(void(*MAP, *ROOM, read_only(float32, 1), uint16[:, :, ::1]))
def _paint_16(
    lightness: NDArray[np.float32],
    colors: NDArray[np.float32],
    guide: NDArray[np.float32],
    first_rows: NDArray[np.int32],
    row_weights: NDArray[np.float32],
    first_columns: NDArray[np.int32],
    column_weights: NDArray[np.float32],
    left: int,
    spread: NDArray[np.float32],
    held: NDArray[np.int32],
    row: NDArray[np.float32],
    companded: NDArray[np.float32],
    pixels: NDArray[np.uint16],
) -> None:
    axes = first_rows, row_weights, first_columns, column_weights
    for y in range(len(first_rows)):
        own = lightness[y, left : left + len(first_columns)]
        mix_row(y, own, colors, guide, *axes, spread, held, row)
        _shade_row(own, row)
        for channel in range(3):
            linear = row[3 + channel]
            for x in range(len(own)):
                positive = linear[x] if linear[x] > 0 else _f(0)
                level = min(positive, _f(1)) * _f(LEVELS)
                step = np.uint32(level)
                between = (level - _f(step)) * (companded[step + 1] - companded[step])
                pixels[y, left + x, channel] = np.uint16(companded[step] + between + _f(0.5))
