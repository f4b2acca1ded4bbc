"""The colour arithmetic of color.py on every pixel of a photograph, compiled to run once over memory.

As whole-array operations the same takes some thirty passes over memory, and six times as long. Constants and tables
come from color.py, so that there is one definition of each colour space. The functions release the interpreter lock.
"""

from typing import Any

import numpy as np
import torch
from numba import float32, int32, njit, types, uint8, void
from numpy.typing import NDArray

from service.imaging import color

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


def widen(ab: NDArray[np.float32], first: NDArray[np.int32], weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Chroma (2, h, w) → (2, h, W): column x is the sum of the columns from `first[x]` on, times `weights[x]`."""
    wide = np.empty((2, ab.shape[1], len(first)), np.float32)
    _widen(ab, first, weights, wide)
    return wide


def paint(
    lightness: NDArray[np.float32],
    ab: NDArray[np.float32],
    first: NDArray[np.int32],
    weights: NDArray[np.float32],
    rgb: NDArray[np.uint8],
) -> None:
    """Lightness with chroma, as sRGB, into `rgb` (H, W, 3).

    `lightness` is L* (H, W); `ab` the chroma (2, h, W), as wide as the photograph; that of row y is the sum of the rows
    from `first[y]` on, times `weights[y]`. Colours outside the gamut shrink towards grey of the same L* and hue:
    clipping the channels instead would change lightness, by up to 8 L*, and hue. Chroma that is no number, or beyond
    all bounds, counts as none, and lightness that is no number as black.
    """
    _paint(lightness, ab, first, weights, _COMPANDED, rgb)


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


@njit(void(_input(float32, 3), _input(int32, 1), _input(float32, 2), float32[:, :, ::1]), nogil=True)
def _widen(
    ab: NDArray[np.float32], first: NDArray[np.int32], weights: NDArray[np.float32], wide: NDArray[np.float32]
) -> None:
    for y in range(ab.shape[1]):
        for x in range(len(first)):
            a, b = _f(0), _f(0)
            for tap in range(weights.shape[1]):
                source, weight = (
                    np.uint32(first[x] + tap),
                    weights[x, tap],
                )  # unsigned: no place is counted from the end
                a += weight * ab[0, y, source]
                b += weight * ab[1, y, source]
            wide[0, y, x], wide[1, y, x] = a, b


@njit(nogil=True, inline="always")
def _expand(f: np.float32) -> np.float32:
    return f * f * f if f > _DELTA else (f - _OFFSET) * _INVERSE_SLOPE


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
def _step(linear: np.float32) -> np.int32:
    """The place in a table; 0 for what is not a number, whose cast could be any place in memory."""
    if not linear > 0:
        return np.int32(0)
    return np.int32(min(linear, _f(1)) * _f(_LEVELS) + _f(0.5))


@njit(
    void(
        _input(float32, 2), _input(float32, 3), _input(int32, 1), _input(float32, 2), _input(uint8, 1), uint8[:, :, ::1]
    ),
    nogil=True,
)
def _paint(
    lightness: NDArray[np.float32],
    ab: NDArray[np.float32],
    first: NDArray[np.int32],
    weights: NDArray[np.float32],
    companded: NDArray[np.uint8],
    rgb: NDArray[np.uint8],
) -> None:
    height, width = lightness.shape
    row_a, row_b = np.empty(width, np.float32), np.empty(width, np.float32)
    for y in range(height):
        row_a[:] = _f(0)
        row_b[:] = _f(0)
        for tap in range(weights.shape[1]):
            source, weight = np.uint32(first[y] + tap), weights[y, tap]
            for x in range(width):
                row_a[x] += weight * ab[0, source, x]
                row_b[x] += weight * ab[1, source, x]
        for x in range(width):
            fy = (lightness[y, x] + _f(16)) * _f(1 / 116)
            a, b = row_a[x] * _f(1 / 500), row_b[x] * _f(1 / 200)
            if not (abs(a) < _ABSURD and abs(b) < _ABSURD):  # not a number is below nothing
                a, b = _f(0), _f(0)
            linear = _linear(fy, a, b)
            if not _inside(linear):
                # Grey itself is always inside: the lower end of the interval stays there.
                low, step = _f(0), _f(0.5)
                for _ in range(_BISECTIONS):
                    if _inside(_linear(fy, a * (low + step), b * (low + step))):
                        low += step
                    step *= _f(0.5)
                linear = _linear(fy, a * low, b * low)
            for channel in range(3):
                rgb[y, x, channel] = companded[_step(linear[channel])]
