"""Straight edges of pictures in a scan, turned by some degrees at most: found in cells, then to the pixel."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.imaging.borders.boxes import Box
from service.imaging.borders.ground import Ground, middles, sane

_STEEPEST = float(np.tan(np.radians(3.5)))
_SLOPES = sorted(np.linspace(-_STEEPEST, _STEEPEST, 29).tolist(), key=abs)
"""Pixels down for each to the right; the level one first: others must do better."""

_BETTER, _ENOUGH = 0.02, 0.9

_STRAIGHT = 0.006
"""A straight edge, of a deckled print too, is so near its line, in shares of the box's longer side."""

_SHARP = 0.012
"""From ground to what is certainly none it goes within so much. A vignette does not."""

_LINES, _BREADTH = 96, 6
"""Across an edge the photograph is looked at along so many lines, each the mean of so many neighbouring pixels."""

_LEAST_LINES, _LEAST_STEPS = 4, 0.1
"""Along so many lines, and so many of all, an edge must be a step from one pixel to the next."""

_SOFT = 1500
"""Scans of so many pixels a side are sharp to the pixel, larger ones to some."""


@dataclass(frozen=True, slots=True)
class Edge:
    """The line along the upper side of a box at which ground ends: at column x it is at `row + slope * x`."""

    support: float
    """The share of columns in which ground ends there."""
    row: float
    slope: float


def find_edge(ground: Ground, cells: Box) -> Edge:
    """Finds the straight line, of all that are nearly level, at which ground ends in most columns of a box."""
    box = ground.pixels(cells)
    longer = max(box.height, box.width)
    deepest = box.top + _STEEPEST * box.width + 5 * _STRAIGHT * longer
    part = Box(cells.top, cells.left, min(int(np.searchsorted(ground.rows, deepest)) + 2, cells.bottom), cells.right)
    content, certain = ground.content[part.slices], ground.certain[part.slices]
    lasting = content.copy()
    lasting[:-1] &= content[1:]  # a single cell is a speck
    first, sure = lasting.argmax(axis=0), certain.argmax(axis=0)
    starts, columns = ground.rows[part.top :], ground.columns[part.left : part.right + 1]
    y = starts[first]
    sharp = lasting.any(axis=0) & certain.any(axis=0)
    sharp &= starts[np.maximum(sure, first)] - y <= max(_SHARP * longer, 3)
    x, weights = middles(columns), np.diff(columns) * sharp
    reach = max(_STRAIGHT * longer, float(starts[1] - starts[0]))
    best = Edge(0, box.top, 0)
    for slope in _SLOPES:
        rows = y - slope * x
        order = np.argsort(rows)
        rows, sums = rows[order], np.concatenate(([0], np.cumsum(weights[order])))
        counts = sums[np.searchsorted(rows, rows + 2 * reach, side="right")] - sums[:-1]
        peak = int(counts.argmax())
        support = float(counts[peak] / box.width)
        if support > best.support + (_BETTER if slope else 0):
            best = Edge(support, float(rows[peak]), slope)
        if best.support > _ENOUGH:
            break
    return best


def refine(lightness: NDArray[np.float32], ground: Ground, cells: Box, box: Box, edge: Edge) -> tuple[int, int] | None:
    """Finds an edge to the pixel.

    `lightness` is the scan's L* (H, W), `box` the box in its pixels, `cells` in the ground's.

    Returns:
        The first row that is not all ground, and the first below which all is picture; None if there is no step.
    """
    longer = max(box.height, box.width)
    cell = int(np.diff(ground.rows).max())
    above, below = cell // 2 + 2, cell + round(2 * _STRAIGHT * longer) + 2
    bounds = np.linspace(box.left, box.right, min(_LINES, box.width) + 1).astype(np.int64)
    breadth = min(int(np.diff(bounds).min()), _BREADTH)
    starts = (bounds[:-1] + bounds[1:] - breadth) // 2
    x = starts + breadth / 2
    line = edge.row + edge.slope * x
    top = max(0, int(line.min()) - above)
    bottom = min(len(lightness), int(line.max()) + below + 2)
    window = lightness[top:bottom, (starts[:, None] + np.arange(breadth)).ravel()].reshape(bottom - top, -1, breadth)
    y = np.arange(top, bottom)[:, None]
    levels = np.interp(x, middles(ground.columns), ground.levels[max(cells.top - 1, 0)])
    distance = np.abs(sane(window.mean(axis=2)) - levels)
    # The picture begins with a step. What goes softly is its shadow.
    span = min(1 + len(lightness) // _SOFT, len(distance) - 1)
    steps = np.abs(distance - np.concatenate((np.zeros((span, len(x))), distance[:-span])))
    steps *= (y >= line - above) & (y <= line + below) & (distance > ground.tolerance)
    heights = steps.max(axis=0)
    rows = (steps >= heights / 2).argmax(axis=0) + top
    near = heights > 2 * ground.tolerance
    if near.any():
        # Where the picture is as light as its shadow, only the shadow is seen.
        near &= heights > np.quantile(heights[near], 0.75) / 2
    offsets = rows - edge.slope * x
    lowest = _densest(offsets[near], 1 + _STRAIGHT * longer)
    near &= (offsets >= lowest) & (offsets <= lowest + 2 * (1 + _STRAIGHT * longer))
    if near.sum() < max(_LEAST_LINES, _LEAST_STEPS * len(x)):
        return None
    slope = edge.slope
    for _ in range(2):
        slope = _slope(x[near], rows[near])
        deviations = np.abs(rows - slope * x - np.mean(rows[near] - slope * x[near]))
        near &= deviations <= max(2, 3 * float(np.median(deviations[near])))
    if abs(slope) * box.width < 2:
        slope = 0.0
    offsets = np.sort(rows[near] - slope * x[near])
    early, quarter, middle, late = (offsets[int(share * (len(offsets) - 1))] for share in (0.1, 0.25, 0.5, 0.75))
    ends = slope * box.left, slope * box.right
    # A ragged edge begins where the first of it do.
    first = (middle if late - quarter <= 1 else early) + min(ends)
    return max(0, int(np.floor(first + 0.01))), int(np.ceil(offsets[-1] + max(ends))) + 1


def _densest(values: NDArray[np.float64], reach: float) -> float:
    """Where the interval of twice `reach` begins in which most of the values are."""
    if not len(values):
        return 0
    values = np.sort(values)
    counts = np.searchsorted(values, values + 2 * reach, side="right") - np.arange(len(values))
    return float(values[counts.argmax()])


def _slope(x: NDArray[np.float64], y: NDArray[np.int64]) -> float:
    """Of the line of least squares."""
    x = x - x.mean()
    return float((x * y).sum() / max((x * x).sum(), 1e-9))
