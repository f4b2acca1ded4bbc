"""What pictures in a scan lie on: film, paper, a page, a lid. A scan is looked at in cells, not pixel by pixel."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from service.imaging.borders.boxes import Box

_CELLS = 180
"""Squared, so many cells a scan is reduced to."""

_SAMPLES = 4
"""Rows of the photograph that are enough to know a row of cells by."""

_GROWTH = 1.3
"""Cells are a pixel wide at the sides of a scan, so that borders of a pixel are seen, and from one to the next so many
times as wide, until they are as wide as the others."""

_ROUGH, _SMOOTH = 5, 0.85
"""A side shows a ground where so much of it changes by less than so many L* from one cell to the third after it."""

_ALIKE, _SHARED = 12, 0.6
"""Another side shows the same ground where so much of it is less than so many L* away."""

_LEAST_TOLERANCE, _MOST_TOLERANCE = 1.5, 7
_DEVIATIONS = 4.5
"""The tolerance is so many times the median deviation along the sides: three standard deviations."""

_BLACK, _WHITE = 10, 93

_LEVEL, _CLIMB, _STEPS = 1, 40, 5
"""A grey wedge: neighbouring cells differ by less than so much, but for steps that climb so high, at least so many."""


@dataclass(frozen=True, slots=True)
class Ground:
    """A scan in cells, and what may be the ground in it."""

    rows: NDArray[np.int64]
    """Where each row of cells begins, in pixels, and the last ends."""
    columns: NDArray[np.int64]
    lightness: NDArray[np.float32]
    """Mean L* of each cell, (rows, columns)."""
    levels: NDArray[np.float32]
    """L* that the ground has, or would have, at each cell."""
    tolerance: float
    """In L*. What is further from the ground's is content."""
    telling: bool
    """Whether pictures seldom look so at their sides: black, white, and grey wedges."""
    content: NDArray[np.bool_] = field(init=False)
    certain: NDArray[np.bool_] = field(init=False)
    """What is content without doubt."""

    def __post_init__(self) -> None:
        distance = np.abs(self.lightness - self.levels)
        object.__setattr__(self, "content", distance > self.tolerance)
        object.__setattr__(self, "certain", distance > 2 * self.tolerance)

    @property
    def whole(self) -> Box:
        """All cells."""
        return Box(0, 0, *self.content.shape)

    def turned(self) -> "Ground":
        """As `np.rot90` does: what was right is above."""
        rows = (self.columns[-1] - self.columns)[::-1]
        return Ground(rows, self.rows, np.rot90(self.lightness), np.rot90(self.levels), self.tolerance, self.telling)

    def pixels(self, cells: Box) -> Box:
        """A rectangle of cells in pixels."""
        top, bottom = self.rows[[cells.top, cells.bottom]].tolist()
        left, right = self.columns[[cells.left, cells.right]].tolist()
        return Box(top, left, bottom, right)

    def fill(self, cells: Box) -> float:
        """The share of a rectangle's cells that are content."""
        return float(self.content[cells.slices].mean())


def grounds(lightness: NDArray[np.float32]) -> Iterator[Ground]:
    """What may be the ground of a scan of L* (H, W); nothing where no side of it looks like any."""
    size = -(-int(np.sqrt(lightness.size)) // _CELLS)
    rows, columns = (_cells(pixels, size) for pixels in lightness.shape)
    reduced = _reduce(lightness, rows, columns)
    yield from _planes(rows, columns, reduced)
    yield from _wedges(rows, columns, reduced)


def middles(starts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Of cells, given where each begins and the last ends."""
    return (starts[1:] + starts[:-1]) / 2


def sane(lightness: NDArray[np.float32]) -> NDArray[np.float32]:
    """L* in [0, 100]; what is no number is black."""
    return np.nan_to_num(lightness, nan=0, posinf=100, neginf=0).clip(0, 100)


def _cells(pixels: int, size: int) -> NDArray[np.int64]:
    """Where cells begin, and the last ends."""
    growing: list[int] = []
    wide = 1.0
    while int(wide) < size and 2 * (sum(growing) + size) < pixels:
        growing.append(int(wide))
        wide *= _GROWTH
    begin = np.cumsum([0, *growing])
    middle = np.arange(begin[-1] + size, pixels - begin[-1] - size // 2, size)
    return np.concatenate((begin, middle, (pixels - begin)[::-1]))


def _reduce(lightness: NDArray[np.float32], rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.float32]:
    """Mean L* of cells."""
    cells = np.empty((len(rows) - 1, len(columns) - 1), np.float32)
    for row, (begin, end) in enumerate(zip(rows[:-1].tolist(), rows[1:].tolist(), strict=True)):
        step = -(-(end - begin) // _SAMPLES)
        sample = lightness[begin + (step - 1) // 2 : end : step]
        cells[row] = np.add.reduceat(sample.mean(axis=0, dtype=np.float32), columns[:-1])
    cells /= np.diff(columns)
    return sane(cells)


def _planes(rows: NDArray[np.int64], columns: NDArray[np.int64], lightness: NDArray[np.float32]) -> Iterator[Ground]:
    """Grounds that one side at least shows: of one lightness, but for the lamp's, which is a plane."""
    places = np.broadcast_arrays(middles(rows)[:, None], middles(columns))
    sides = (lightness[0], lightness[:, -1], lightness[-1], lightness[:, 0])
    levels = np.concatenate(sides)
    y, x = (np.concatenate((place[0], place[:, -1], place[-1], place[:, 0])) for place in places)
    found: list[float] = []
    for number, side in enumerate(sides):
        level = float(np.median(side))
        smooth = np.mean(np.abs(side[3:] - side[:-3]) < _ROUGH) > _SMOOTH if len(side) > 3 else False
        if not smooth or any(abs(level - other) < _ALIKE / 3 for other in found):
            continue
        found.append(level)
        # A side where a few cells are so is not of this ground: they would tilt it.
        shared = [i == number or np.mean(np.abs(other - level) < _ALIKE) > _SHARED for i, other in enumerate(sides)]
        near = np.repeat(shared, [len(other) for other in sides]) & (np.abs(levels - level) < _ALIKE)
        if not near.any():
            continue
        for reach in (_ALIKE * 2 / 3, _ALIKE / 2):
            middle_y, middle_x = y[near].mean(), x[near].mean()
            design = np.stack((np.ones_like(y), y - middle_y, x - middle_x), axis=1)
            height, down, across = np.linalg.lstsq(design[near], levels[near], rcond=None)[0].tolist()
            deviations = np.abs(levels - design @ (height, down, across))
            near &= deviations <= max(reach, float(np.median(deviations[near])))
        tolerance = _DEVIATIONS * float(np.median(deviations[near]))
        plane = height + down * (places[0] - middle_y) + across * (places[1] - middle_x)
        yield Ground(
            rows,
            columns,
            lightness,
            plane.astype(np.float32),
            min(max(tolerance, _LEAST_TOLERANCE), _MOST_TOLERANCE),
            not _BLACK < height < _WHITE,
        )


def _wedges(rows: NDArray[np.int64], columns: NDArray[np.int64], lightness: NDArray[np.float32]) -> Iterator[Ground]:
    """Grounds that are a grey wedge along a side, as if it went on to the other side."""
    for number, outer in enumerate((lightness[:3], lightness[:, -3:].T, lightness[-3:], lightness[:, :3].T)):
        profile = np.median(outer, axis=0)
        changes = np.diff(profile)
        steps = changes[np.abs(changes) >= _LEVEL]
        climb = abs(float(steps.sum()))
        # They lead up, or down, and not both.
        stairs = _STEPS <= len(steps) < 0.4 * len(changes) and climb > max(_CLIMB, 0.95 * float(np.abs(steps).sum()))
        if stairs and np.abs(outer - profile).mean() < _LEVEL:
            levels = np.broadcast_to(profile[:, None] if number % 2 else profile, lightness.shape)
            yield Ground(rows, columns, lightness, levels, 2 * _LEAST_TOLERANCE, True)
