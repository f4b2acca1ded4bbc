"""Lightness and chroma → sRGB: the photograph's own L* with the network's colour, inside the gamut."""

import weakref
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from service.imaging.kernels import paint, widen
from service.imaging.upsample import bicubic_weights

_BAND_PIXELS = 2**15
"""Photographs are painted in bands of about so many pixels, a fraction of a millisecond's work."""


@dataclass(frozen=True, slots=True)
class Helpers:
    """Threads that may take on a part of the painting, if they are idle."""

    count: int
    submit: Callable[[Callable[[], None]], "Future[None]"]


def recompose(lightness: Tensor, ab: Tensor, saturation: float, helpers: Helpers | None = None) -> Tensor:
    """Colours a photograph.

    `lightness` is L* in [0, 100], float32 (H, W); `ab` is the chroma in CIELAB units, float32 (2, h, w) of any size;
    `saturation` multiplies it: 0 is grey, 1 as predicted. Answers sRGB, uint8 (H, W, 3).
    """
    painting = _Painting(lightness, ab, saturation)
    # Weakly, as a helper that comes too late finds its job cancelled, but may come late: it must not keep the arrays.
    join_in = weakref.WeakMethod(painting.paint)
    wanted = min(helpers.count, painting.bands_left - 1) if helpers else 0
    helping = [helpers.submit(lambda: _call(join_in)) for _ in range(wanted)] if helpers else []
    painting.paint()
    for job in helping:
        # Who has not come by now is not needed any more, and must not be waited for: it may be behind this very thread.
        if not job.cancel():
            job.result()
    return torch.from_numpy(painting.rgb)


class _Painting:
    """A photograph half done, which several threads may paint."""

    def __init__(self, lightness: Tensor, ab: Tensor, saturation: float) -> None:
        height, width = lightness.shape
        self._gray = np.ascontiguousarray(lightness.numpy())
        self._wide = widen(np.ascontiguousarray(ab.numpy()), *bicubic_weights(ab.shape[2], width))
        self._first, self._weights = bicubic_weights(ab.shape[1], height)
        self._weights *= np.float32(saturation)
        self.rgb = np.empty((height, width, 3), np.uint8)
        rows = max(1, _BAND_PIXELS // width)
        self._bands = deque(slice(top, top + rows) for top in range(0, height, rows))

    @property
    def bands_left(self) -> int:
        """How many nobody has begun."""
        return len(self._bands)

    def paint(self) -> None:
        """Paints bands until none is left."""
        with suppress(IndexError):
            while True:
                band = self._bands.popleft()
                paint(self._gray[band], self._wide, self._first[band], self._weights[band], self.rgb[band])


def _call(method: "weakref.WeakMethod[Callable[[], None]]") -> None:
    if (alive := method()) is not None:
        alive()
