"""The colour arithmetic of color.py on every pixel of a photograph, compiled to run once over memory.

As whole-array operations the same takes some thirty passes over memory, and six times as long. Constants and tables
come from color.py, so that there is one definition of each colour space. The functions release the interpreter lock.
"""

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numba import float32, int32, njit, types, uint8, uint16, void
from numpy.typing import NDArray

from service.imaging import color
from service.imaging.compilation import compiled

if TYPE_CHECKING:
    from service.imaging.upsample import Axis

_LEVELS = 65_535
"""Linear light is looked up in so many steps: at black, where companding is steepest, a twentieth of an 8-bit level."""

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

_ALIKE = 24
"""Colours further away in L* than this count as little as any."""

_LEAST_LIKENESS = 0.2
"""Added for all: without it, what is unlike everything around, a mast or a highlight, would take the colour of the
least unlike alone. With `_ALIKE` and the spread in upsample.py, the best of some forty on 3 megapixels."""

_LINEAR = torch.linspace(0, 1, _LEVELS + 1)
_COMPANDED_8 = (color.srgb_encode(_LINEAR) * 255).round().to(torch.uint8).numpy()
"""Linear light in steps of 1/65535 → 8-bit sRGB."""
_COMPANDED_16 = np.append((color.srgb_encode(_LINEAR) * _LEVELS).numpy(), _f(_LEVELS))
"""The same → 16-bit sRGB, to be rounded; one step more, to interpolate towards."""
_LIGHTNESS = np.append(color.luminance_to_lightness(_LINEAR).numpy(), _f(100))
"""Luminance in the same steps → L*; one step more, to interpolate towards."""


@lru_cache(maxsize=8)
def _luminance(dtype: np.dtype[Any], gamma: float | None) -> NDArray[np.float32]:
    """A red, green or blue level → its share of the luminance, in the steps of `_LIGHTNESS`: (3, levels)."""
    levels = torch.linspace(0, 1, np.iinfo(dtype).max + 1, dtype=torch.float64)
    light = color.srgb_decode(levels) if gamma is None else levels ** (1 / gamma)
    table: NDArray[np.float32] = (color.RGB_TO_LUMINANCE[:, None].double() * light * _LEVELS).float().numpy()
    return table


def lightness_of(rgb: NDArray[Any], gamma: float | None = None) -> NDArray[np.float32]:
    """L* in [0, 100], (H, W), of an image (H, W, 3), uint8 or uint16.

    `gamma`: the exponent from light to levels; None: sRGB's curve.
    """
    lightness = np.empty(rgb.shape[:2], np.float32)
    _lightness_of(np.ascontiguousarray(rgb), _luminance(rgb.dtype, gamma), _LIGHTNESS, lightness)
    return lightness


def enlarge(
    lightness: NDArray[np.float32],
    colors: NDArray[np.float32],
    guide: NDArray[np.float32],
    rows: "Axis",
    columns: "Axis",
    left: int = 0,
) -> NDArray[np.float32]:
    """A chroma map, see `Chroma`, at the size of a photograph: a* and b* (2, h, w), by the axes' lengths.

    The colour of a pixel is the mean of those at `rows.first[y]` and after and `columns.first[x]` and after, with the
    weights given there times those of `_likeness`. Its lightness is at (y, x + left) of L* (h, W).
    """
    enlarged = np.empty((2, len(rows.first), len(columns.first)), np.float32)
    axes = rows.first, rows.weights, columns.first, columns.weights
    _enlarge(lightness, colors, guide, *axes, left, *_room(rows, columns), enlarged)
    return enlarged


def means(
    values: NDArray[np.float32], row_cells: NDArray[np.int32], column_cells: NDArray[np.int32], height: int, width: int
) -> NDArray[np.float32]:
    """The mean of the values (N, H, W) in each of (height, width) cells, (N, height, width).

    Value (y, x) is in the cell (`row_cells[y]`, `column_cells[x]`), and no cell is without any.
    """
    sums = np.zeros((len(values), height, width), np.float32)
    _add(values, row_cells, column_cells, sums)
    counts = np.outer(np.bincount(row_cells), np.bincount(column_cells))
    sums /= counts.astype(np.float32)
    return sums


def _room(rows: "Axis", columns: "Axis") -> tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.float32]]:
    """For `_mix_row` to work in; made here, because compiling it there would take longer."""
    spread = np.empty((len(rows.weights), len(columns.weights), 3, len(columns.first)), np.float32)
    held = np.full(len(rows.weights), -1, np.int32)
    return spread, held, np.empty((6, len(columns.first)), np.float32)


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
    kernel(lightness, colors, guide, *axes, left, *_room(rows, columns), companded, pixels)


def _input(dtype: Any, dimensions: int) -> Any:
    """The type of an array that is only read: Pillow's pixels may not be written to."""
    return types.Array(dtype, dimensions, "C", readonly=True)


_TO_LIGHTNESS = (_input(float32, 2), _input(float32, 1), float32[:, ::1])


@compiled(*(void(_input(level, 3), *_TO_LIGHTNESS) for level in (uint8, uint16)))
def _lightness_of(
    rgb: NDArray[Any],
    luminance: NDArray[np.float32],
    curve: NDArray[np.float32],
    lightness: NDArray[np.float32],
) -> None:
    for y in range(rgb.shape[0]):
        for x in range(rgb.shape[1]):
            level = luminance[0, rgb[y, x, 0]] + luminance[1, rgb[y, x, 1]] + luminance[2, rgb[y, x, 2]]
            step = min(int(level), _LEVELS)
            lightness[y, x] = curve[step] + (level - _f(step)) * (curve[step + 1] - curve[step])


@compiled(void(_input(float32, 3), _input(int32, 1), _input(int32, 1), float32[:, :, ::1]))
def _add(
    values: NDArray[np.float32],
    row_cells: NDArray[np.int32],
    column_cells: NDArray[np.int32],
    sums: NDArray[np.float32],
) -> None:
    for n in range(values.shape[0]):
        for y in range(values.shape[1]):
            row = np.uint32(row_cells[y])  # unsigned: no place is counted from the end
            for x in range(values.shape[2]):
                sums[n, row, np.uint32(column_cells[x])] += values[n, y, x]


@njit(nogil=True, inline="always")
def _likeness(lightness: np.float32, other: np.float32) -> np.float32:
    """The weight of a colour at one L* for a pixel of another: a bell that ends, and a floor."""
    distance = (lightness - other) * _f(1 / _ALIKE)
    closeness = _f(1) - distance * distance
    closeness = closeness if closeness > 0 else _f(0)
    closeness *= closeness
    return closeness * closeness + _f(_LEAST_LIKENESS)


@njit(nogil=True, fastmath={"contract"}, error_model="numpy")
def _mix_row(
    y: int,
    pixels: NDArray[np.float32],
    colors: NDArray[np.float32],
    guide: NDArray[np.float32],
    first_rows: NDArray[np.int32],
    row_weights: NDArray[np.float32],
    first_columns: NDArray[np.int32],
    column_weights: NDArray[np.float32],
    spread: NDArray[np.float32],
    held: NDArray[np.int32],
    row: NDArray[np.float32],
) -> None:
    """The chroma of a row's pixels, given by their L*, into `row` (6, w): a*, b*, and then what need not be kept.

    `spread` (taps, taps, 3, W) keeps what was last used: of each of the map's rows, for each tap, a*, b* and L* side by
    side as the pixels need them. `held` says which rows these are; −1: none.
    """
    # Each loop runs over arrays of one dimension: of others, it would not be vectorised.
    a, b, weights = row[0], row[1], row[2]
    for x in range(len(pixels)):
        a[x] = b[x] = weights[x] = _f(0)
    for i in range(len(row_weights)):
        source = np.uint32(first_rows[y] + i)
        place = source % np.uint32(len(row_weights))
        for tap in range(len(column_weights)):
            spread_a, spread_b, spread_l = spread[place, tap, 0], spread[place, tap, 1], spread[place, tap, 2]
            if held[place] != np.int32(source):
                for x in range(len(pixels)):
                    column = np.uint32(first_columns[x] + tap)
                    spread_a[x], spread_b[x] = colors[0, source, column], colors[1, source, column]
                    spread_l[x] = guide[source, column]
            row_weight, column_weight = row_weights[i, y], column_weights[tap]
            for x in range(len(pixels)):
                weight = row_weight * column_weight[x] * _likeness(pixels[x], spread_l[x])
                a[x] += weight * spread_a[x]
                b[x] += weight * spread_b[x]
                weights[x] += weight
        held[place] = source
    for x in range(len(pixels)):
        share = _f(1) / weights[x]
        a[x] *= share
        b[x] *= share


_AXIS = (_input(int32, 1), _input(float32, 2))
_MAP = (_input(float32, 2), _input(float32, 3), _input(float32, 2), *_AXIS, *_AXIS, int32)
_ROOM = (float32[:, :, :, ::1], int32[::1], float32[:, ::1])


@compiled(void(*_MAP, *_ROOM, float32[:, :, ::1]))
def _enlarge(
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
    enlarged: NDArray[np.float32],
) -> None:
    axes = first_rows, row_weights, first_columns, column_weights
    for y in range(enlarged.shape[1]):
        _mix_row(y, lightness[y, left : left + enlarged.shape[2]], colors, guide, *axes, spread, held, row)
        for x in range(enlarged.shape[2]):
            enlarged[0, y, x], enlarged[1, y, x] = row[0, x], row[1, x]


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
    return np.uint32(min(positive, _f(1)) * _f(_LEVELS) + _f(0.5))


@njit(nogil=True, fastmath={"contract"}, error_model="numpy")
def _shade_row(pixels: NDArray[np.float32], row: NDArray[np.float32]) -> None:
    """The linear light of a row's pixels, from their L* and what `_mix_row` left, into `row[3:]`."""
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


@compiled(void(*_MAP, *_ROOM, _input(uint8, 1), uint8[:, :, ::1]))
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
        _mix_row(y, own, colors, guide, *axes, spread, held, row)
        _shade_row(own, row)
        red, green, blue = row[3], row[4], row[5]
        for x in range(len(own)):
            pixels[y, left + x, 0] = companded[_step(red[x])]
            pixels[y, left + x, 1] = companded[_step(green[x])]
            pixels[y, left + x, 2] = companded[_step(blue[x])]


@compiled(void(*_MAP, *_ROOM, _input(float32, 1), uint16[:, :, ::1]))
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
        _mix_row(y, own, colors, guide, *axes, spread, held, row)
        _shade_row(own, row)
        for channel in range(3):
            linear = row[3 + channel]
            for x in range(len(own)):
                positive = linear[x] if linear[x] > 0 else _f(0)
                level = min(positive, _f(1)) * _f(_LEVELS)
                step = np.uint32(level)
                between = (level - _f(step)) * (companded[step + 1] - companded[step])
                pixels[y, left + x, channel] = np.uint16(companded[step] + between + _f(0.5))
