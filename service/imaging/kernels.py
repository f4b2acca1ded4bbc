"""What is done with every pixel of a photograph, compiled to run once over memory: its L*, and chroma at its size.

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

LEVELS = 65_535
"""Linear light is looked up in so many steps: at black, where companding is steepest, a twentieth of an 8-bit level."""

_f = np.float32
_ALIKE = 24
"""Colours further away in L* than this count as little as any."""

_LEAST_LIKENESS = 0.2
"""Added for all: without it, what is unlike everything around, a mast or a highlight, would take the colour of the
least unlike alone. With `_ALIKE` and the spread in upsample.py, the best of some forty on 3 megapixels."""

LINEAR = torch.linspace(0, 1, LEVELS + 1)
_LIGHTNESS = np.append(color.luminance_to_lightness(LINEAR).numpy(), _f(100))
"""Luminance in the same steps → L*; one step more, to interpolate towards."""


@lru_cache(maxsize=8)
def _luminance(dtype: np.dtype[Any], gamma: float | None) -> NDArray[np.float32]:
    """A red, green or blue level → its share of the luminance, in the steps of `_LIGHTNESS`: (3, levels)."""
    levels = torch.linspace(0, 1, np.iinfo(dtype).max + 1, dtype=torch.float64)
    light = color.srgb_decode(levels) if gamma is None else levels ** (1 / gamma)
    table: NDArray[np.float32] = (color.RGB_TO_LUMINANCE[:, None].double() * light * LEVELS).float().numpy()
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
    _enlarge(lightness, colors, guide, *axes, left, *room(rows, columns), enlarged)
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


def room(rows: "Axis", columns: "Axis") -> tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.float32]]:
    """For `mix_row` to work in; made here, because compiling it there would take longer."""
    spread = np.empty((len(rows.weights), len(columns.weights), 3, len(columns.first)), np.float32)
    held = np.full(len(rows.weights), -1, np.int32)
    return spread, held, np.empty((6, len(columns.first)), np.float32)


def read_only(dtype: Any, dimensions: int) -> Any:
    """The type of an array that is only read: Pillow's pixels may not be written to."""
    return types.Array(dtype, dimensions, "C", readonly=True)


_TO_LIGHTNESS = (read_only(float32, 2), read_only(float32, 1), float32[:, ::1])


@compiled(*(void(read_only(level, 3), *_TO_LIGHTNESS) for level in (uint8, uint16)))
def _lightness_of(
    rgb: NDArray[Any],
    luminance: NDArray[np.float32],
    curve: NDArray[np.float32],
    lightness: NDArray[np.float32],
) -> None:
    for y in range(rgb.shape[0]):
        for x in range(rgb.shape[1]):
            level = luminance[0, rgb[y, x, 0]] + luminance[1, rgb[y, x, 1]] + luminance[2, rgb[y, x, 2]]
            step = min(int(level), LEVELS)
            lightness[y, x] = curve[step] + (level - _f(step)) * (curve[step + 1] - curve[step])


@compiled(void(read_only(float32, 3), read_only(int32, 1), read_only(int32, 1), float32[:, :, ::1]))
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
def mix_row(
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


_AXIS = (read_only(int32, 1), read_only(float32, 2))
MAP = (read_only(float32, 2), read_only(float32, 3), read_only(float32, 2), *_AXIS, *_AXIS, int32)
ROOM = (float32[:, :, :, ::1], int32[::1], float32[:, ::1])


@compiled(void(*MAP, *ROOM, float32[:, :, ::1]))
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
        mix_row(y, lightness[y, left : left + enlarged.shape[2]], colors, guide, *axes, spread, held, row)
        for x in range(enlarged.shape[2]):
            enlarged[0, y, x], enlarged[1, y, x] = row[0, x], row[1, x]
