"""Between the photograph's size and the network's: lightness reduced on the way down, chroma enlarged on the way up."""

import numpy as np
import torch
from PIL import Image
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


def enlarge(ab: Tensor, height: int, width: int, top: int, bottom: int) -> Tensor:
    """Rows `top` to `bottom` (exclusive) of the chroma `ab` (2, h, w) resized to `height` × `width`, bicubically.

    Answers float32 (2, bottom − top, width), in the units of `ab`. Strips agree with the same rows of the whole to
    float rounding, because the filter reads the rows of `ab` beyond the strip's edge as well. A photograph smaller
    than the map gets the same filter widened, so nothing aliases there either.
    """
    _, h, w = ab.shape
    box = (0, top * h / height, w, bottom * h / height)
    planes = [
        Image.fromarray(plane.numpy()).resize((width, bottom - top), Image.Resampling.BICUBIC, box) for plane in ab
    ]
    return torch.from_numpy(np.stack([np.asarray(plane) for plane in planes]))
