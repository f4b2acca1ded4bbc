"""Lightness and chroma → sRGB: the photograph's own L* with the network's colour, inside the gamut."""

import numpy as np
import torch
from torch import Tensor

from service.imaging.kernels import paint
from service.imaging.upsample import row_weights, widen


def recompose(lightness: Tensor, ab: Tensor, saturation: float) -> Tensor:
    """Colours a photograph.

    `lightness` is L* in [0, 100], float32 (H, W); `ab` is the chroma in CIELAB units, float32 (2, h, w) of any size;
    `saturation` multiplies it: 0 is grey, 1 as predicted. Answers sRGB, uint8 (H, W, 3).
    """
    height, width = lightness.shape
    first, weights = row_weights(ab.shape[1], height)
    rgb = paint(lightness.numpy(), widen(ab, width), first, weights * np.float32(saturation))
    return torch.from_numpy(rgb)
