"""Lightness and chroma → sRGB: the photograph's own L* with the network's colour, inside the gamut."""

from collections import deque
from concurrent.futures import Executor
from contextlib import suppress

import numpy as np
import torch
from torch import Tensor

from service.imaging.kernels import paint, widen
from service.imaging.upsample import bicubic_weights

_BAND_PIXELS = 2**15
"""Photographs are painted in bands of about so many pixels, a fraction of a millisecond's work."""

_HELPERS = 3
"""Threads that are asked for help, at most."""


def recompose(lightness: Tensor, ab: Tensor, saturation: float, helpers: Executor | None = None) -> Tensor:
    """Colours a photograph.

    `lightness` is L* in [0, 100], float32 (H, W); `ab` is the chroma in CIELAB units, float32 (2, h, w) of any size;
    `saturation` multiplies it: 0 is grey, 1 as predicted. Answers sRGB, uint8 (H, W, 3).

    `helpers` are threads that may take on a part of it, if they are idle; the caller may be one of them.
    """
    height, width = lightness.shape
    gray = np.ascontiguousarray(lightness.numpy())
    wide = widen(np.ascontiguousarray(ab.numpy()), *bicubic_weights(ab.shape[2], width))
    first, weights = bicubic_weights(ab.shape[1], height)
    weights *= np.float32(saturation)
    rgb = np.empty((height, width, 3), np.uint8)

    rows = max(1, _BAND_PIXELS // width)
    bands = deque(slice(top, top + rows) for top in range(0, height, rows))

    def paint_bands() -> None:
        with suppress(IndexError):  # none is left
            while True:
                band = bands.popleft()
                paint(gray[band], wide, first[band], weights[band], rgb[band])

    helping = [helpers.submit(paint_bands) for _ in range(min(_HELPERS, len(bands) - 1))] if helpers else []
    paint_bands()
    for job in helping:
        # Who has not come by now is not needed any more, and must not be waited for: it may be behind this very thread.
        if not job.cancel():
            job.result()
    return torch.from_numpy(rgb)
