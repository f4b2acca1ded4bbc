"""The colour arithmetic of color.py on every pixel of a photograph, compiled to run once over memory.

As whole-array operations the same takes some thirty passes over memory, and six times as long. Constants and tables
come from color.py, so that there is one definition of each colour space. The functions release the interpreter lock.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numba import float32, int32, njit, types, uint8, void
from numpy.typing import NDArray

from service.imaging import color

if TYPE_CHECKING:
    from service.imaging.upsample import Axis

_LEVELS = 65_535
"""Linear light is looked up in so many steps: at black, where companding is steepest, a twentieth of an 8-bit level."""

_f = np.float32
_DELTA, _OFFSET, _INVERSE_SLOPE = _f(color.DELTA), _f(color.OFFSET), _f(1 / color.SLOPE)
_XR, _YR, _ZR, _XG, _YG, _ZG, _XB, _YB, _ZB = (_f(value) for value in color.RELATIVE_XYZ_TO_RGB.flatten().tolist())

# Linear light that counts as inside [0, 1]. Below, float rounding alone: at black, where companding is steepest, 1e-5
# is a thirtieth of an 8-bit level. Above, the published matrix puts white's blue at 1.00008, and white must be inside.
_DARKEST, _BRIGHTEST = _f(-1e-5), _f(1 + 1e-4)

_ABSURD = _f(1e6)
"""Of a*/500 and b*/200: no colour is near it, and its cube is still a number."""

# Each step halves the interval of the chroma's scale: 2⁻¹⁰ of the largest chroma in sRGB, 134, is 0.13, a fraction of
# what one 8-bit level makes.
_BISECTIONS = 10

_ALIKE = 24
"""Colours further away in L* than this count as little as any."""

_LEAST_LIKENESS = 0.2
"""Added for all: without it, what is unlike everything around, a mast or a highlight, would take the colour of the
least unlike alone. With `_ALIKE` and the spread in upsample.py, the best of some forty on 3 megapixels."""

_LINEAR = torch.linspace(0, 1, _LEVELS + 1)
_COMPANDED = (color.srgb_encode(_LINEAR) * 255).round().to(torch.uint8).numpy()
"""Linear light in steps of 1/65535 → 8-bit sRGB."""
_LIGHTNESS = np.append(color.luminance_to_lightness(_LINEAR).numpy(), _f(100))
"""Luminance in the same steps → L*; one step more, to interpolate towards."""
_LUMINANCE = (
    (color.RGB_TO_LUMINANCE[:, None] * color.srgb_decode(torch.arange(256) / 255) * _LEVELS)
    .float()
    .contiguous()
    .numpy()
)
"""An 8-bit red, green or blue → its share of the luminance, in the same steps."""


def lightness_of(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """L* in [0, 100], (H, W), of an sRGB image (H, W, 3)."""
    lightness = np.empty(rgb.shape[:2], np.float32)
    _lightness_of(np.ascontiguousarray(rgb), _LUMINANCE, _LIGHTNESS, lightness)
    return lightness


def enlarge(
    lightness: NDArray[np.float32],
    colors: NDArray[np.float32],
    guide: NDArray[np.float32],
    rows: "Axis",
    columns: "Axis",
) -> NDArray[np.float32]:
    """A chroma map, see `Chroma`, at the size of L* (H, W): a* and b* (2, H, W).

    The colour of a pixel is the mean of those at `rows.first[y]` and after and `columns.first[x]` and after, with the
    weights given there times those of `_likeness`.
    """
    enlarged = np.empty((2, *lightness.shape), np.float32)
    axes = rows.first, rows.weights, columns.first, columns.weights
    _enlarge(lightness, colors, guide, *axes, *_room(rows, columns), enlarged)
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
    saturation: float,
    rgb: NDArray[np.uint8],
) -> None:
    """Lightness with chroma, as sRGB, into `rgb` (H, W, 3).

    For the others see `enlarge`; chroma is multiplied by `saturation`. Colours outside the gamut shrink towards grey of
    the same L* and hue: clipping the channels instead would change lightness, by up to 8 L*, and hue. Chroma that is no
    number, or beyond all bounds, counts as none, and lightness that is no number as black.
    """
    axes = rows.first, rows.weights, columns.first, columns.weights
    _paint(lightness, colors, guide, *axes, *_room(rows, columns), np.float32(saturation), _COMPANDED, rgb)


def _input(dtype: Any, dimensions: int) -> Any:
    """The type of an array that is only read: Pillow's pixels may not be written to."""
    return types.Array(dtype, dimensions, "C", readonly=True)


@njit(void(_input(uint8, 3), _input(float32, 2), _input(float32, 1), float32[:, ::1]), nogil=True)
def _lightness_of(
    rgb: NDArray[np.uint8],
    luminance: NDArray[np.float32],
    curve: NDArray[np.float32],
    lightness: NDArray[np.float32],
) -> None:
    for y in range(rgb.shape[0]):
        for x in range(rgb.shape[1]):
            level = luminance[0, rgb[y, x, 0]] + luminance[1, rgb[y, x, 1]] + luminance[2, rgb[y, x, 2]]
            step = min(int(level), _LEVELS)
            lightness[y, x] = curve[step] + (level - _f(step)) * (curve[step + 1] - curve[step])


@njit(void(_input(float32, 3), _input(int32, 1), _input(int32, 1), float32[:, :, ::1]), nogil=True)
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
    lightness: NDArray[np.float32],
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
    """The chroma of a row of pixels into `row` (6, W): a*, b*, and then what need not be kept.

    `spread` (taps, taps, 3, W) keeps what was last used: of each of the map's rows, for each tap, a*, b* and L* side by
    side as the pixels need them. `held` says which rows these are; −1: none.
    """
    # Each loop runs over arrays of one dimension: of others, it would not be vectorised.
    pixels, a, b, weights = lightness[y], row[0], row[1], row[2]
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
_MAP = (_input(float32, 2), _input(float32, 3), _input(float32, 2), *_AXIS, *_AXIS)
_ROOM = (float32[:, :, :, ::1], int32[::1], float32[:, ::1])


@njit(void(*_MAP, *_ROOM, float32[:, :, ::1]), nogil=True)
def _enlarge(
    lightness: NDArray[np.float32],
    colors: NDArray[np.float32],
    guide: NDArray[np.float32],
    first_rows: NDArray[np.int32],
    row_weights: NDArray[np.float32],
    first_columns: NDArray[np.int32],
    column_weights: NDArray[np.float32],
    spread: NDArray[np.float32],
    held: NDArray[np.int32],
    row: NDArray[np.float32],
    enlarged: NDArray[np.float32],
) -> None:
    for y in range(lightness.shape[0]):
        _mix_row(y, lightness, colors, guide, first_rows, row_weights, first_columns, column_weights, spread, held, row)
        for x in range(lightness.shape[1]):
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
    x, y, z = _expand(fy + a), _expand(fy), _expand(fy - b)
    return _XR * x + _YR * y + _ZR * z, _XG * x + _YG * y + _ZG * z, _XB * x + _YB * y + _ZB * z


@njit(nogil=True, inline="always")
def _inside(rgb: tuple[np.float32, np.float32, np.float32]) -> bool:
    red, green, blue = rgb
    return bool(min(red, green, blue) >= _DARKEST and max(red, green, blue) <= _BRIGHTEST)


@njit(nogil=True, inline="always")
def _step(linear: np.float32) -> np.uint32:
    """The place in a table; 0 for what is not a number, whose cast could be any place in memory."""
    positive = linear if linear > 0 else _f(0)
    return np.uint32(min(positive, _f(1)) * _f(_LEVELS) + _f(0.5))


@njit(void(*_MAP, *_ROOM, float32, _input(uint8, 1), uint8[:, :, ::1]), nogil=True)
def _paint(
    lightness: NDArray[np.float32],
    colors: NDArray[np.float32],
    guide: NDArray[np.float32],
    first_rows: NDArray[np.int32],
    row_weights: NDArray[np.float32],
    first_columns: NDArray[np.int32],
    column_weights: NDArray[np.float32],
    spread: NDArray[np.float32],
    held: NDArray[np.int32],
    row: NDArray[np.float32],
    saturation: np.float32,
    companded: NDArray[np.uint8],
    rgb: NDArray[np.uint8],
) -> None:
    a, b, red, green, blue = row[0], row[1], row[3], row[4], row[5]
    for y in range(lightness.shape[0]):
        _mix_row(y, lightness, colors, guide, first_rows, row_weights, first_columns, column_weights, spread, held, row)
        # In three loops, because the first can be vectorised, and of the second few pixels have a part.
        pixels = lightness[y]
        for x in range(len(pixels)):
            one, other = a[x] * (saturation * _f(1 / 500)), b[x] * (saturation * _f(1 / 200))
            sane = abs(one) < _ABSURD and abs(other) < _ABSURD  # not a number is below nothing
            a[x], b[x] = one if sane else _f(0), other if sane else _f(0)
            red[x], green[x], blue[x] = _linear(_f_of(pixels[x]), a[x], b[x])
        for x in range(len(pixels)):
            if not _inside((red[x], green[x], blue[x])):
                fy = _f_of(pixels[x])
                # Grey itself is always inside: the lower end of the interval stays there.
                low, step = _f(0), _f(0.5)
                for _ in range(_BISECTIONS):
                    if _inside(_linear(fy, a[x] * (low + step), b[x] * (low + step))):
                        low += step
                    step *= _f(0.5)
                red[x], green[x], blue[x] = _linear(fy, a[x] * low, b[x] * low)
        for x in range(len(pixels)):
            rgb[y, x, 0] = companded[_step(red[x])]
            rgb[y, x, 1] = companded[_step(green[x])]
            rgb[y, x, 2] = companded[_step(blue[x])]
