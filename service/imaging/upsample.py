"""Between the photograph's size and the network's: lightness reduced on the way down, chroma enlarged on the way up."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from service.imaging.kernels import enlarge, means

_SAMPLES = 4
"""So many pixels of each row and column of the network's are enough to know its mean by."""

_SPREAD = 0.3
"""Variance of the spatial weights in the network's pixels, where the photograph has many times as many."""

_TAPS = 3
"""Rows, and columns, of the network's that a pixel's colour is made of."""

_OVERSHOOT = np.float32(1.5)
"""A correction goes further than what is lacking, as what it adds is averaged again: two such do what else takes
three."""

_LARGER = 2
"""So many times as large as the map a photograph must be for its edges to tell more than a smooth curve does."""

_ABSURD = 1e4
"""In units of a* and b*: far beyond any colour."""


def reduce(lightness: Tensor, size: int) -> Tensor:
    """L* (H, W) of a photograph → the network's input (1, size, size), float32, in the same units.

    The whole photograph is fitted to the square, whatever its aspect ratio: what the network sees distorted is
    undistorted again when its chroma is enlarged. The filter widens with the reduction, so fine texture averages out
    and does not alias; it is the bicubic one that training's crops are made with.
    """
    return resample(lightness, size, size)[None].clamp(0, 100)  # bicubic overshoots at edges


def resample(values: Tensor, height: int, width: int) -> Tensor:
    """Values (H, W) → (height, width), bicubic with a filter that widens with the reduction; it may overshoot."""
    return F.interpolate(values[None, None], (height, width), mode="bicubic", antialias=True)[0, 0]


@dataclass(frozen=True, slots=True)
class Axis:
    """Which of a map's rows (or columns) those of a photograph are made of: `weights[:, y]` from `first[y]` on."""

    first: NDArray[np.int32]
    """(pixels,)."""
    weights: NDArray[np.float32]
    """(taps, pixels); each column's sum is 1."""


@dataclass(frozen=True, slots=True)
class Chroma:
    """A chroma map, to be read at a photograph's size along the photograph's own edges.

    It is a joint bilateral filter (Kopf et al. 2007, "Joint Bilateral Upsampling"): a pixel's colour is the mean of the
    nine nearest of the map, the nearer and the more alike in lightness the heavier. Such a mean alone is paler than the
    map, and worse than bicubic; so `colors` are corrected until what they are enlarged to averages to the map again
    (back-projection; Irani and Peleg 1991, "Improving Resolution by Image Registration"). What else was tried:
    docs/decisions/0015-edges.md.
    """

    colors: NDArray[np.float32]
    """a* and b*, (2, h, w)."""
    guide: NDArray[np.float32]
    """The photograph's mean L* at each, (h, w)."""
    rows: Axis
    columns: Axis

    @classmethod
    def of(cls, ab: Tensor, lightness: Tensor) -> "Chroma":
        """Fits `ab` (2, h, w) of any size to a photograph's L* (H, W).

        What is no number, or beyond all bounds, counts as no colour, and as black.
        """
        ab = torch.where(ab.abs() < _ABSURD, ab, 0.0)
        # Where the photograph is smaller than the map, or not much larger, the map becomes as large first.
        size = [
            pixels if pixels < _LARGER * count else count
            for count, pixels in zip(ab.shape[1:], lightness.shape, strict=True)
        ]
        if size != list(ab.shape[1:]):
            ab = F.interpolate(ab[None], size, mode="bicubic", antialias=True)[0]
        target = np.ascontiguousarray(ab.numpy())
        # The map's means need not be those of all pixels.
        height, width = (
            _Sampling(count, pixels, -(-pixels // (_SAMPLES * count)))
            for count, pixels in zip(size, lightness.shape, strict=True)
        )
        samples = lightness.numpy()[height.step // 2 :: height.step, width.step // 2 :: width.step]
        samples = np.ascontiguousarray(samples)
        # Not a number is not above 0.
        samples = np.where(samples > 0, np.minimum(samples, np.float32(100)), np.float32(0))
        cells = _cells(height), _cells(width)
        guide = means(samples[None], *cells, *size)[0]
        colors = target
        # Where few pixels are in each cell, a second correction gains little and takes as long as painting.
        corrections = 0 if size == list(lightness.shape) else 1 if height.step == width.step == 1 else 2
        for _ in range(corrections):
            enlarged = enlarge(samples, colors, guide, _axis(height), _axis(width))
            colors = colors + _OVERSHOOT * (target - means(enlarged, *cells, *size))
        rows, columns = (_axis(_Sampling(side.cells, side.pixels, 1)) for side in (height, width))
        return cls(colors, guide, rows, columns)


@dataclass(frozen=True, slots=True)
class _Sampling:
    """Every `step`th of the pixels of a photograph's side, and the cells of a map's, at most as many."""

    cells: int
    pixels: int
    step: int

    @property
    def centers(self) -> NDArray[np.float64]:
        """Where the pixels are, in cells; the first cell's middle is 0."""
        places = np.arange(self.step // 2, self.pixels, self.step, dtype=np.float64)
        return (places + 0.5) * (self.cells / self.pixels) - 0.5


@lru_cache(maxsize=64)
def _axis(side: _Sampling) -> Axis:
    """What each pixel is made of.

    The weights are a Gaussian's. It is the narrower the fewer pixels there are: where each cell is a pixel, each is its
    own.
    """
    centers = side.centers
    taps = min(_TAPS, side.cells)
    first = (np.floor(centers + 0.5) - taps // 2).clip(0, side.cells - taps).astype(np.int32)
    distances = (first + np.arange(taps)[:, None] - centers) ** 2
    variance = _SPREAD * (1 - (side.cells / side.pixels) ** 2)
    # Beside the nearest's, which is 1 whatever the variance.
    weights = np.exp((distances.min(axis=0) - distances) / max(2 * variance, 1e-6))
    weights = (weights / weights.sum(axis=0)).astype(np.float32)
    for array in (first, weights):
        array.flags.writeable = False  # it is everybody's
    return Axis(first, weights)


@lru_cache(maxsize=64)
def _cells(side: _Sampling) -> NDArray[np.int32]:
    """The cell that each of the pixels is in."""
    cells = np.floor(side.centers + 0.5).astype(np.int32)
    cells.flags.writeable = False
    return cells
