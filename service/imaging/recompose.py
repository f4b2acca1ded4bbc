"""Lightness and chroma → sRGB: the photograph's own L* with the network's colour, inside the gamut."""

import math
import threading
from collections import deque

import numpy as np
import torch
from torch import Tensor

from service.imaging.kernels import paint
from service.imaging.upsample import Axis, Chroma

_BAND_PIXELS = 2**16
"""Photographs are painted in bands of about so many pixels, half a millisecond's work."""

_LEAST_ROWS = 8
"""Of a band: neighbouring rows share most of what is made ready for them."""


def recompose(lightness: Tensor, ab: Tensor, saturation: float) -> Tensor:
    """Colours a photograph.

    `lightness` is L* in [0, 100], float32 (H, W); `ab` is the chroma in CIELAB units, float32 (2, h, w) of any size;
    `saturation` multiplies it: 0 is grey, 1 as predicted. Answers sRGB, uint8 (H, W, 3). What is no number in
    `lightness` is black, in `ab` grey.

    Raises:
        ValueError: `saturation` is no number, or infinite.
    """
    painting = Painting(lightness, ab, saturation)
    painting.paint()
    painting.wait()
    return painting.rgb


class Painting:
    """What `recompose` does, band by band, by one thread or by several."""

    def __init__(self, lightness: Tensor, ab: Tensor, saturation: float) -> None:
        """See `recompose`."""
        if not math.isfinite(saturation):
            raise ValueError(f"a saturation of {saturation}")
        height, width = lightness.shape
        self._gray = np.ascontiguousarray(lightness.numpy())
        self._chroma = Chroma.of(ab, lightness)
        self._saturation = saturation
        self._rgb = np.empty((height, width, 3), np.uint8)
        rows = max(_LEAST_ROWS, _BAND_PIXELS // width)
        self._bands = deque(slice(top, top + rows) for top in range(0, height, rows))
        self._unfinished = len(self._bands)
        self._finished = threading.Condition()
        self._error: Exception | None = None

    @property
    def rgb(self) -> Tensor:
        """sRGB, uint8 (H, W, 3); complete after `wait`."""
        return torch.from_numpy(self._rgb)

    @property
    def bands_left(self) -> int:
        """How many nobody has begun."""
        return len(self._bands)

    def paint(self, most: int | None = None) -> bool:
        """Paints bands that nobody has begun, all of them or so many at most; tells whether some are left."""
        for _ in range(self._unfinished if most is None else most):
            try:
                band = self._bands.popleft()
            except IndexError:
                return False
            try:
                chroma = self._chroma
                rows = Axis(chroma.rows.first[band], np.ascontiguousarray(chroma.rows.weights[:, band]))
                paint(
                    self._gray[band],
                    chroma.colors,
                    chroma.guide,
                    rows,
                    chroma.columns,
                    self._saturation,
                    self._rgb[band],
                )
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
        if self._error is not None:
            raise self._error
