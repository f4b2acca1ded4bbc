"""Lightness and chroma → sRGB: the photograph's own L* with the network's colour, inside the gamut."""

import threading
from collections import deque
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from service.imaging.borders.boxes import Box
from service.imaging.kernels import enlarge
from service.imaging.shading import paint
from service.imaging.upsample import Axis, Chroma
from service.imaging.writing.sheets import Layout

_BAND_PIXELS = 2**16
"""Photographs are painted in bands of about so many pixels, half a millisecond's work."""

_LEAST_ROWS = 8
"""Of a band: neighbouring rows share most of what is made ready for them."""


class Output(StrEnum):
    """What is painted; the values are the names clients use."""

    IMAGE = "image"
    AB = "ab"
    """The chroma alone, for programs that mix it themselves: a* is red and b* is green, in steps from the middle level,
    which is 0 and what blue is throughout; a step is 1 in 8 bits, and 1/256 in 16."""
    CONFIDENCE = "confidence"
    """How sure the network is of its colours, as grey: from black, not at all, to white."""

    @property
    def channels(self) -> int:
        """Beside alpha, which only the image has."""
        return 1 if self is Output.CONFIDENCE else 3


class Part(NamedTuple):
    """A picture in the photograph."""

    box: Box
    field: Tensor
    """Chroma in CIELAB units, or confidence in [0, 1] twice, float32 (2, h, w) of any size."""


class Sheet(Protocol):
    """What is painted on: see `service.imaging.writing.sheets.Sheet`."""

    @property
    def layout(self) -> Layout: ...

    def put(self, index: int, pixels: NDArray[Any]) -> None:
        """Takes a band's pixels."""


def recompose(lightness: Tensor, ab: Tensor) -> Tensor:
    """Colours a photograph.

    `lightness` is L* in [0, 100], float32 (H, W); `ab` is the chroma in CIELAB units, float32 (2, h, w) of any size.
    Answers sRGB, uint8 (H, W, 3). What is no number in `lightness` is black, in `ab` grey.
    """
    height, width = lightness.shape
    rgb = np.empty((height, width, 3), np.uint8)
    layout = layout_of(width, height, 3, 8)
    painting = Painting(lightness, None, [Part(Box(0, 0, height, width), ab)], _Array(layout, rgb))
    painting.paint()
    painting.wait()
    return torch.from_numpy(rgb)


def layout_of(width: int, height: int, channels: int, depth: int) -> Layout:
    """How a picture of so many channels and bits is painted: in bands of about `_BAND_PIXELS`."""
    return Layout(width, height, channels, depth, max(_LEAST_ROWS, _BAND_PIXELS // width))


class _Array(NamedTuple):
    """A sheet that is an array."""

    layout: Layout
    pixels: NDArray[np.uint8]

    def put(self, index: int, pixels: NDArray[Any]) -> None:
        self.pixels[index * self.layout.rows :][: len(pixels)] = pixels


class Painting:
    """What `recompose` does, onto any sheet, band by band, by one thread or by several."""

    def __init__(
        self,
        lightness: Tensor,
        alpha: Tensor | None,
        parts: Sequence[Part],
        sheet: Sheet,
        output: Output = Output.IMAGE,
    ) -> None:
        """Paints `parts`, which do not overlap, of a photograph with L* (H, W) in [0, 100]; what is outside is neutral.

        `alpha`, (H, W), uint8 or uint16, goes with an image.
        """
        self._lightness = np.ascontiguousarray(lightness.numpy())
        self._alpha = None if alpha is None else alpha.numpy()
        height, width = lightness.shape
        whole = Box(0, 0, height, width)
        self._parts = [
            (part.box, Chroma.of(part.field, lightness[part.box.top : part.box.bottom, part.box.left : part.box.right]))
            for part in parts
        ]
        if [part.box for part in parts] != [whole]:
            # Painted first, and then over.
            self._parts.insert(0, (whole, Chroma.of(torch.zeros(2, 1, 1), lightness)))
        self._sheet = sheet
        self._output = output
        self._bands = deque(range(sheet.layout.bands))
        self._unfinished = len(self._bands)
        self._finished = threading.Condition()
        self._error: Exception | None = None

    @property
    def bands_left(self) -> int:
        """How many nobody has begun."""
        return len(self._bands)

    def paint(self, most: int | None = None) -> bool:
        """Paints bands that nobody has begun, all of them or so many at most; tells whether some are left."""
        for _ in range(self._unfinished if most is None else most):
            try:
                index = self._bands.popleft()
            except IndexError:
                return False
            try:
                self._sheet.put(index, self._band(index))
            except Exception as error:
                self._error = error
            with self._finished:
                self._unfinished -= 1
                if not self._unfinished:
                    self._finished.notify_all()
        return bool(self._bands)

    def wait(self) -> None:
        """Until others have painted the bands that they have begun, once none is left; raises what befell any."""
        with self._finished:
            self._finished.wait_for(lambda: not self._unfinished)
        error, self._error = self._error, None
        try:
            if error is not None:
                raise error
        finally:
            del error  # its traceback knows this frame, and the frame the photograph

    def _band(self, index: int) -> NDArray[Any]:
        layout = self._sheet.layout
        top = index * layout.rows
        bottom = min(top + layout.rows, layout.height)
        pixels = np.empty((bottom - top, layout.width, layout.channels), f"u{layout.depth // 8}")
        for box, chroma in self._parts:
            first, last = max(top, box.top), min(bottom, box.bottom)
            if first >= last:
                continue
            own = slice(first - box.top, last - box.top)
            rows = Axis(chroma.rows.first[own], np.ascontiguousarray(chroma.rows.weights[:, own]))
            lightness, target = self._lightness[first:last], pixels[first - top : last - top]
            if self._output is Output.IMAGE:
                paint(lightness, chroma.colors, chroma.guide, rows, chroma.columns, box.left, target)
            else:
                field = enlarge(lightness, chroma.colors, chroma.guide, rows, chroma.columns, box.left)
                target[:, box.left : box.right] = self._levels(field, layout.depth)
        if layout.transparent and self._alpha is not None:
            pixels[..., -1] = _at_depth(self._alpha[top:bottom], layout.depth)
        return pixels

    def _levels(self, field: NDArray[np.float32], depth: int) -> NDArray[Any]:
        """An enlarged field (2, h, w) as `Output` has it, (h, w, channels)."""
        dtype = np.dtype(f"u{depth // 8}")
        field = np.nan_to_num(field)
        if self._output is Output.CONFIDENCE:
            shares: NDArray[Any] = (field[0].clip(0, 1) * (2**depth - 1) + 0.5).astype(dtype)
            return shares[..., None]
        middle = 2 ** (depth - 1)
        levels = np.full((*field.shape[1:], 3), middle, dtype)
        steps = (field * 2 ** (depth - 8) + (middle + 0.5)).clip(0, 2**depth - 1)
        levels[..., :2] = steps.transpose(1, 2, 0)
        return levels


def _at_depth(alpha: NDArray[Any], depth: int) -> NDArray[Any]:
    match alpha.dtype.itemsize * 8, depth:
        case 8, 16:
            wide: NDArray[Any] = np.multiply(alpha, 257, dtype=np.uint16)
            return wide
        case 16, 8:
            narrow: NDArray[Any] = ((alpha.astype(np.uint32) * 255 + 32_767) // 65_535).astype(np.uint8)
            return narrow
    return alpha
