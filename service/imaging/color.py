"""sRGB ↔ CIELAB in float32: D65, 2° observer, the one colour code of training and serving.

All tensors are channels-first, (..., 3, H, W), so one function serves a batch and a strip of a photograph alike.

Sources: IEC 61966-2-1 (sRGB companding); the BT.709 matrix as given by C. Poynton, "Frequently Asked Questions
about Color"; CIE 15:2004 (CIELAB). Matrix and white point are those of scikit-image, against which the tests compare.
"""

import torch
from torch import Tensor

RGB_TO_XYZ = torch.tensor(
    [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]],
    dtype=torch.float64,
)
WHITE_D65 = torch.tensor([0.95047, 1.0, 1.08883], dtype=torch.float64)

# Both matrices absorb the division by, or the multiplication with, the white point.
_RGB_TO_RELATIVE_XYZ = (RGB_TO_XYZ / WHITE_D65[:, None]).float()
RGB_TO_LUMINANCE = _RGB_TO_RELATIVE_XYZ[1]
RELATIVE_XYZ_TO_RGB = (torch.linalg.inv(RGB_TO_XYZ) * WHITE_D65).float()

DELTA = 6 / 29  # where CIELAB's cube root is replaced by its tangent line
SLOPE = 1 / (3 * DELTA**2)
OFFSET = 4 / 29


def srgb_decode(rgb: Tensor) -> Tensor:
    """Companded sRGB in [0, 1] → linear light in [0, 1]."""
    return torch.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055).pow(2.4))


def srgb_encode(linear: Tensor) -> Tensor:
    """Linear light in [0, 1] → companded sRGB in [0, 1]; values outside are clipped."""
    linear = linear.clamp(0, 1)
    return torch.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear.pow(1 / 2.4) - 0.055)


def rgb_to_lab(rgb: Tensor) -> Tensor:
    """Companded sRGB in [0, 1] → L* in [0, 100], a* and b* in about [-110, 110]; both (..., 3, H, W)."""
    f = _compress(_mix(_RGB_TO_RELATIVE_XYZ, srgb_decode(rgb)))
    fx, fy, fz = f.unbind(-3)
    return torch.stack((116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)), dim=-3)


def rgb_to_lightness(rgb: Tensor) -> Tensor:
    """Companded sRGB in [0, 1], (..., 3, H, W) → L* in [0, 100], (..., 1, H, W)."""
    return luminance_to_lightness(_mix(RGB_TO_LUMINANCE[None], srgb_decode(rgb)))


def gray_to_lightness(gray: Tensor) -> Tensor:
    """Companded grey in [0, 1], any shape → L* in [0, 100]; what `rgb_to_lightness` gives for R = G = B."""
    return luminance_to_lightness(srgb_decode(gray))


def luminance_to_lightness(luminance: Tensor) -> Tensor:
    """Luminance in [0, 1], any shape → L* in [0, 100]."""
    return 116 * _compress(luminance) - 16


def lab_to_linear_rgb(lab: Tensor) -> Tensor:
    """CIELAB → linear sRGB, (..., 3, H, W); outside [0, 1] where the colour is outside the gamut."""
    lightness, a, b = lab.unbind(-3)
    fy = (lightness + 16) / 116
    f = torch.stack((fy + a / 500, fy, fy - b / 200), dim=-3)
    relative_xyz = torch.where(f > DELTA, f.pow(3), (f - OFFSET) / SLOPE)
    return _mix(RELATIVE_XYZ_TO_RGB, relative_xyz)


def lab_to_rgb(lab: Tensor) -> Tensor:
    """CIELAB → companded sRGB in [0, 1]; colours outside the gamut have their channels clipped."""
    return srgb_encode(lab_to_linear_rgb(lab))


def _compress(t: Tensor) -> Tensor:
    """CIELAB's f: cube root above δ³, its tangent below."""
    return torch.where(t > DELTA**3, t.clamp(min=DELTA**3).pow(1 / 3), SLOPE * t + OFFSET)


def _mix(matrix: Tensor, image: Tensor) -> Tensor:
    """Applies a (out, 3) matrix to the channels of a (..., 3, H, W) image."""
    mixed = matrix.to(image) @ image.flatten(-2)
    return mixed.reshape(*mixed.shape[:-1], *image.shape[-2:])
