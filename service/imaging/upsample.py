"""Between the photograph's size and the network's: lightness reduced on the way down, chroma enlarged on the way up."""

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F


def reduce(lightness: Tensor, size: int) -> Tensor:
    """L* (H, W) of a photograph → the network's input (1, size, size), float32, in the same units.

    The whole photograph is fitted to the square, whatever its aspect ratio: what the network sees distorted is
    undistorted again when its chroma is enlarged. The filter widens with the reduction, so fine texture averages out
    and does not alias; it is the bicubic one that training's crops are made with.
    """
    reduced = F.interpolate(lightness[None, None], (size, size), mode="bicubic", antialias=True)[0]
    return reduced.clamp(0, 100)  # bicubic overshoots at edges


@lru_cache(maxsize=64)
def bicubic_weights(before: int, after: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """What the rows (or columns) of a picture resized from `before` to `after` of them are made of, bicubically.

    Row y is the sum of the rows from `first[y]` on times `weights[y]`: answers `first` (after,) and `weights`
    (after, taps). It is Pillow's filter (a = −0.5; R. Keys 1981, "Cubic Convolution Interpolation for Digital Image
    Processing"): centred, renormalised where it hangs over an edge, and widened where the picture becomes smaller, so
    that nothing aliases there either.
    """
    scale = before / after
    widened = max(scale, 1.0)
    taps = min(before, math.ceil(4 * widened) + 1)
    centers = (np.arange(after) + 0.5) * scale
    first = np.floor(centers - 2 * widened + 0.5).astype(np.int32).clip(0, before - taps)
    weights = _cubic((first[:, None] + np.arange(taps) + 0.5 - centers[:, None]) / widened)
    weights /= weights.sum(axis=1, keepdims=True)
    answer = first, weights.astype(np.float32)
    for array in answer:
        array.flags.writeable = False  # it is everybody's
    return answer


def _cubic(t: NDArray[np.float64]) -> NDArray[np.float64]:
    t = np.abs(t)
    near = (1.5 * t - 2.5) * t * t + 1
    far = ((-0.5 * t + 2.5) * t - 4) * t + 2
    return np.where(t < 1, near, np.where(t < 2, far, 0.0))
