"""Lightness and chroma → sRGB: the photograph's own L* with the network's colour, inside the gamut."""

import torch
from torch import Tensor

from service.imaging.color import lab_to_linear_rgb, srgb_encode
from service.imaging.upsample import enlarge

# Float images exist only for this many pixels at a time, so that they need a few megabytes whatever the photograph.
_STRIP_PIXELS = 2**17

# Linear light that counts as inside [0, 1]. Below, float rounding alone: at black, where companding is steepest, 1e-5
# is a thirtieth of an 8-bit level. Above, the published matrix puts white's blue at 1.00008, and white must be inside.
_DARKEST, _BRIGHTEST = -1e-5, 1 + 1e-4

# Each step halves the interval of the chroma's scale: 2⁻¹⁰ of the largest chroma in sRGB, 134, is 0.13, a fraction of
# what one 8-bit level makes.
_BISECTIONS = 10


def recompose(lightness: Tensor, ab: Tensor, saturation: float) -> Tensor:
    """Colours a photograph.

    `lightness` is L* in [0, 100], float32 (H, W); `ab` is the chroma in CIELAB units, float32 (2, h, w) of any size;
    `saturation` multiplies it: 0 is grey, 1 as predicted. Answers sRGB, uint8 (H, W, 3).
    """
    height, width = lightness.shape
    rgb = torch.empty(height, width, 3, dtype=torch.uint8)
    rows = max(1, _STRIP_PIXELS // width)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        chroma = enlarge(ab, height, width, top, bottom) * saturation
        linear = _fit_gamut(torch.cat((lightness[None, top:bottom], chroma)))
        rgb[top:bottom] = (srgb_encode(linear) * 255).round().to(torch.uint8).permute(1, 2, 0)
    return rgb


def _fit_gamut(lab: Tensor) -> Tensor:
    """CIELAB (3, rows, W) → linear sRGB, where colours outside the gamut shrink towards grey of the same L* and hue.

    Clipping the channels instead would change lightness, by up to 8 L*, and hue. Grey itself is always inside, so
    bisection on the chroma's scale keeps a lower end that is inside and ends there.
    """
    linear = lab_to_linear_rgb(lab)
    outside = ~_in_gamut(linear)
    if outside.any():
        lab = lab[:, outside][:, None]  # (3, 1, n): the few colours to move
        low = torch.zeros_like(lab[0])
        step = 1.0
        for _ in range(_BISECTIONS):
            step /= 2
            inside = _in_gamut(lab_to_linear_rgb(_scale_chroma(lab, low + step)))
            low = torch.where(inside, low + step, low)
        linear[:, outside] = lab_to_linear_rgb(_scale_chroma(lab, low))[:, 0]
    return linear


def _scale_chroma(lab: Tensor, scale: Tensor) -> Tensor:
    """CIELAB (3, H, W) with a* and b* multiplied by `scale` (H, W)."""
    return torch.stack((lab[0], lab[1] * scale, lab[2] * scale))


def _in_gamut(linear: Tensor) -> Tensor:
    """Which colours of linear sRGB (3, H, W) the gamut holds: bool (H, W)."""
    return ((linear >= _DARKEST) & (linear <= _BRIGHTEST)).all(dim=0)
