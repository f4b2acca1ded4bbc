"""The pictures in a scan, without the film, paper, pages, lids, wedges and targets around them.

What is around them is to stay neutral, and the network is not to see it. How, and how well:
docs/decisions/0017-borders.md.
"""

from dataclasses import replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from service.imaging.borders.boxes import Box
from service.imaging.borders.edges import find_edge, refine
from service.imaging.borders.ground import Ground, grounds

_MOST_PICTURES = 8

_NESTED = 3
"""Borders in borders: film, paper and a page."""

_LEAST_SIDE = 16
"""Pixels. There is nothing to find in what is smaller."""

_BLANK = 0.97
"""So much of a blank row is ground: there is dust."""

_LEAST_AREA, _LEAST_TOTAL = 0.03, 0.1
"""Shares of the scan that a picture has, and all of them."""

_THIN = 0.12
"""In shares of the scan's shorter side: lines of print, rows of sprocket holes, wedges and rulers are thinner."""

_LARGEST_TARGET = 0.2
"""Share of the scan."""

_FULL = 0.5
"""So much of a picture is not like the ground."""

_SOLE_SUPPORT, _SUPPORT, _WEAK_SUPPORT, _WEAKEST_SUPPORT = 0.75, 0.6, 0.45, 0.3
"""So much of an edge must be seen, the less the more the other edges say."""

_WIDEST = 0.12
"""A border on one side only is at most so wide, in shares of the scan's longer side: a sky is wider."""


def find_pictures(lightness: NDArray[np.float32]) -> list[Box] | None:
    """Finds the pictures in a scan.

    `lightness` is L* in [0, 100], float32 (H, W), of any size; what is no number counts as black. Where a picture is
    turned, its box is around all of it. A side at which nothing is sure is the scan's own.

    Returns:
        The pictures' boxes, the largest first, at most 8, none overlapping another. None if the whole is the picture,
        or nothing is sure.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        boxes = _find(lightness, _NESTED)
    # Rather one box around many than one of them left neutral.
    if len(boxes) > _MOST_PICTURES:
        boxes = [
            Box(
                min(box.top for box in boxes),
                min(box.left for box in boxes),
                max(box.bottom for box in boxes),
                max(box.right for box in boxes),
            )
        ]
    return None if boxes == [Box(0, 0, *lightness.shape)] else sorted(boxes, key=lambda box: -box.area)


def _find(lightness: NDArray[np.float32], depth: int) -> list[Box]:
    """The pictures in a part of a scan; the whole of it if nothing is sure."""
    whole = Box(0, 0, *lightness.shape)
    if not depth or min(lightness.shape) < _LEAST_SIDE:
        return [whole]
    most, placed = 0, [(whole, whole)]
    for ground in grounds(lightness):
        sides, pictures = _lay_out(lightness, ground)
        if sides > most:
            most, placed = sides, pictures
    if not most:
        return [whole]
    boxes = []
    for box, inner in placed:
        nested = _find(lightness[inner.slices], depth - 1) if inner.area else [Box(0, 0, inner.height, inner.width)]
        boxes += [_grow(one.moved(inner.top, inner.left), inner, box) for one in nested]
    return boxes


def _grow(box: Box, inner: Box, outer: Box) -> Box:
    """A box in `inner`, the sides that are also inner's moved to those of `outer`."""
    return Box(*(outer.side(side) if box.side(side) == inner.side(side) else box.side(side) for side in (0, 3, 2, 1)))


def _lay_out(lightness: NDArray[np.float32], ground: Ground) -> tuple[int, list[tuple[Box, Box]]]:
    """How many sides of the pictures on a ground are seen, and of each its box and what in it is picture alone."""
    content = _trim(ground, ground.whole)
    if content is None or content == ground.whole:
        return 0, []
    parts = _cut(ground, content)
    placed = [_place(lightness, ground, part) for part in parts] if len(parts) <= _MOST_PICTURES else []
    apart = not any(one.meets(other) for (_, one, _), (_, other, _) in combinations(placed, 2))
    if len(parts) > 1 and not (placed and apart and all(sides >= 3 for sides, *_ in placed)):
        placed = [_place(lightness, ground, content)]
    pictures = [(box, inner) for sides, box, inner in placed if sides and box.area]
    if sum(box.area for box, _ in pictures) < _LEAST_TOTAL * lightness.size:
        return 0, []
    return sum(sides for sides, *_ in placed), pictures


def _trim(ground: Ground, part: Box) -> Box | None:
    """A part, in cells, without its blank rows and columns; None if there is nothing else."""
    while True:
        rows = np.flatnonzero(ground.content[part.slices].mean(axis=1) > 1 - _BLANK) + part.top
        if not len(rows):
            return None
        trimmed = replace(part, top=int(rows[0]), bottom=int(rows[-1]) + 1)
        columns = np.flatnonzero(ground.content[trimmed.slices].mean(axis=0) > 1 - _BLANK) + part.left
        if not len(columns):
            return None
        trimmed = replace(trimmed, left=int(columns[0]), right=int(columns[-1]) + 1)
        if trimmed == part:
            return part
        part = trimmed


def _cut(ground: Ground, part: Box) -> list[Box]:
    """The pictures in a trimmed part, in cells; the part itself where they are not seen to be apart.

    It is cut along blank rows and columns (the recursive X-Y cut; Nagy and Seth 1984, "Hierarchical Representation of
    Optically Scanned Documents"), but only where the pictures' edges are straight: pictures have blank rows of their
    own.
    """
    pieces = _pieces(ground, part)
    if len(pieces) == 1:
        return [part]
    pieces = [piece for piece in pieces if not _is_accessory(ground, piece)]
    if not pieces or any(ground.fill(piece) < _FULL for piece in pieces):
        return [part]
    pictures = [picture for piece in pieces for picture in _cut(ground, piece)]
    for picture in pictures:
        for side in range(4):
            within = picture.side(side) != part.side(side)
            if within and find_edge(*_turn(ground, picture, side)).support < _WEAKEST_SUPPORT:
                return [part]
    return pictures


def _pieces(ground: Ground, part: Box) -> list[Box]:
    """A part cut along all blank rows, or all blank columns, whichever have the widest gap among them; trimmed."""
    widest, strips = 0, [part]
    for axis, starts in enumerate((ground.rows, ground.columns)):
        begin = part.left if axis else part.top
        filled = np.flatnonzero(ground.content[part.slices].mean(axis=1 - axis) > 1 - _BLANK) + begin
        gaps = np.flatnonzero(np.diff(filled) > 1)
        begins = [begin, *filled[gaps + 1].tolist()]
        ends = [*(filled[gaps] + 1).tolist(), part.right if axis else part.bottom]
        gap = max((starts[after] - starts[before] for before, after in zip(ends, begins[1:], strict=False)), default=0)
        if gap > widest:
            widest = int(gap)
            strips = [
                replace(part, left=first, right=last) if axis else replace(part, top=first, bottom=last)
                for first, last in zip(begins, ends, strict=True)
            ]
    return [trimmed for strip in strips if (trimmed := _trim(ground, strip))]


def _is_accessory(ground: Ground, cells: Box) -> bool:
    """Whether a piece is no picture: a line of print, a row of sprocket holes, a wedge, a target, a ruler."""
    box, whole = ground.pixels(cells), ground.pixels(ground.whole)
    if min(box.height, box.width) < _THIN * min(whole.height, whole.width) or box.area < _LEAST_AREA * whole.area:
        return True
    if box.area > _LARGEST_TARGET * whole.area:
        return False
    # The lightness of even patches stays or jumps. In the smoothest picture it mostly glides.
    lightness = ground.lightness[cells.slices]
    steps = np.concatenate([np.abs(np.diff(lightness, axis=axis)).ravel() for axis in (0, 1)])
    noise = max(1, ground.tolerance / 2)
    changing = np.mean(steps > noise)
    return bool(changing < 0.4 and np.mean(steps > 5 * noise) > 0.7 * changing)


def _turn(ground: Ground, cells: Box, side: int) -> tuple[Ground, Box]:
    """With that side above."""
    for _ in range(side):
        ground, cells = ground.turned(), cells.turned(ground.whole.width)
    return ground, cells


def _place(lightness: NDArray[np.float32], ground: Ground, cells: Box) -> tuple[int, Box, Box]:
    """How many sides of a piece are seen, its box to the pixel, and what in it is picture alone.

    A side that is not seen is moved to the scan's: rather is a border coloured than a picture cut. No side is seen
    where they are too few to be sure.
    """
    bordered = [cells.side(side) != ground.whole.side(side) for side in range(4)]
    edges = [find_edge(*_turn(ground, cells, side)) if bordered[side] else None for side in range(4)]
    strong = sum(edge is not None and edge.support >= _SUPPORT for edge in edges)
    facing = bordered in ([True, False, True, False], [False, True, False, True])
    if strong >= 3:
        enough = _WEAKEST_SUPPORT
    elif strong == 2 or (strong and facing and ground.telling):
        enough = _WEAK_SUPPORT
    else:
        enough = _SUPPORT
    box = inner = ground.pixels(cells)
    seen: list[tuple[float, float]] = []
    for edge in edges:
        exact = refine(lightness, ground, cells, box, edge) if edge and edge.support >= enough else None
        first, last = exact or (0, 0)
        box, inner = replace(box, top=first), replace(inner, top=last)
        if edge and exact:
            seen.append((edge.support, first / max(lightness.shape)))
        width = lightness.shape[1]
        lightness, box, inner = np.rot90(lightness), box.turned(width), inner.turned(width)
        ground, cells = _turn(ground, cells, 1)
    all_seen = len(seen) == sum(bordered)
    support, wide = min((one for one, _ in seen), default=0), max((share for _, share in seen), default=0)
    sure = (
        len(seen) >= 3
        or (len(seen) == 2 and all_seen and (support >= _SOLE_SUPPORT or (facing and ground.telling)))
        or (len(seen) == 1 and all_seen and ground.telling and support >= _SOLE_SUPPORT and wide <= _WIDEST)
    )
    return (len(seen) if sure else 0), box, inner
