"""How far coloured pictures are from the truth: one number a picture, or one a pixel where a distribution is asked for.

Pictures are uint8 sRGB (B, 3, H, W), ab are CIELAB's own units, float32 (B, 2, H, W).
"""

import math

import torch
from torch import Tensor

from service.network.preprocessing import AB_SCALE

LARGEST_AB_ERROR = 150.0
"""Up to here Deshpande et al. 2015 and Zhang et al. 2016 sweep the threshold on the ab error."""

_25_TO_THE_7TH = 25.0**7

EXCESS_CHROMA = 25.0
"""A pixel whose chroma is so much above the truth's glows, in units of a* and b*."""


def squared_error(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean squared error on ab/128, both ab (B, 2, H, W) → (B,)."""
    return ((predicted - target) / AB_SCALE).square().mean(dim=(1, 2, 3))


def channel_argmax_accuracy(predicted: Tensor, target: Tensor) -> Tensor:
    """Share of pixels where argmax(a, b) agrees, both (B, 2, H, W) → (B,).

    What Keras's "accuracy" computes for a two-channel regression, and so what was published for this network. A
    tie counts as a, as NumPy's argmax does: the grey answer always says a.
    """
    return (predicted.argmax(dim=1) == target.argmax(dim=1)).float().mean(dim=(1, 2))


def psnr(rgb: Tensor, truth: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB, both uint8 sRGB (B, 3, H, W) → (B,); at most 100 dB, for equal pictures."""
    error = (rgb.float() - truth.float()).square().mean(dim=(1, 2, 3))
    return 10 * torch.log10(255**2 / error.clamp(min=255**2 * 1e-10))


def colorfulness(rgb: Tensor) -> Tensor:
    """Hasler and Süsstrunk 2003, "Measuring Colourfulness in Natural Images": uint8 sRGB (B, 3, H, W) → (B,)."""
    red, green, blue = rgb.float().unbind(1)
    opponents = torch.stack((red - green, 0.5 * (red + green) - blue), dim=1).flatten(2)
    std, mean = opponents.std(dim=2, correction=0), opponents.mean(dim=2)
    return std.square().sum(dim=1).sqrt() + 0.3 * mean.square().sum(dim=1).sqrt()


def area_under_curve(predicted: Tensor, target: Tensor) -> Tensor:
    """The AuC of every pixel's ab error, both ab (B, 2, H, W) → (B, H, W) in [0, 1], 1 where there is no error.

    Deshpande et al. 2015, "Learning Large-Scale Automatic Image Colorization", and Zhang et al. 2016, "Colorful Image
    Colorization", integrate over thresholds from 0 to 150 the share of pixels whose error is smaller, and divide by
    150. A single pixel adds to that integral from its own error on, 1 − min(error, 150) / 150: the mean of these over
    pixels is the area, raw, and their weighted mean the rebalanced one.
    """
    error: Tensor = torch.linalg.vector_norm(predicted - target, dim=1)
    return 1 - error.clamp(max=LARGEST_AB_ERROR) / LARGEST_AB_ERROR


def ciede2000(lab: Tensor, truth: Tensor) -> Tensor:
    """CIEDE2000 difference of every pixel, both CIELAB (…, 3, H, W) → (…, H, W), in the precision of the input.

    Sharma, Wu and Dalal 2005, "The CIEDE2000 Color-Difference Formula: Implementation Notes, Supplementary Test Data,
    and Mathematical Observations", with k_L = k_C = k_H = 1; the names are theirs.
    """
    (l1, a1, b1), (l2, a2, b2) = lab.unbind(-3), truth.unbind(-3)
    stretch = 1.5 - 0.5 * _chroma_step((torch.hypot(a1, b1) + torch.hypot(a2, b2)) / 2)  # 1 + G
    a1, a2 = a1 * stretch, a2 * stretch
    c1, c2 = torch.hypot(a1, b1), torch.hypot(a2, b2)
    h1, h2 = _hue(a1, b1), _hue(a2, b2)

    # The difference goes the short way round, and the mean lies on that way.
    difference = h2 - h1
    difference = torch.where(difference > math.pi, difference - 2 * math.pi, difference)
    difference = torch.where(difference < -math.pi, difference + 2 * math.pi, difference)
    colored = (c1 > 0) & (c2 > 0)
    # A grey pixel has no hue: the mean is the other's.
    mean_h = torch.where(colored, h1 + difference / 2, torch.where(c1 > 0, h1, h2))
    delta_l, delta_c = l2 - l1, c2 - c1
    delta_h = 2 * (c1 * c2).sqrt() * torch.sin(difference / 2)

    t = 1 - 0.17 * torch.cos(mean_h - math.radians(30)) + 0.24 * torch.cos(2 * mean_h)
    t += 0.32 * torch.cos(3 * mean_h + math.radians(6)) - 0.20 * torch.cos(4 * mean_h - math.radians(63))
    lightness_offset = ((l1 + l2) / 2 - 50).square()
    mean_c = (c1 + c2) / 2
    s_l = 1 + 0.015 * lightness_offset / (20 + lightness_offset).sqrt()
    s_c = 1 + 0.045 * mean_c
    s_h = 1 + 0.015 * mean_c * t
    from_blue = torch.remainder(mean_h - math.radians(275) + math.pi, 2 * math.pi) - math.pi
    theta = math.radians(60) * torch.exp(-(from_blue / math.radians(25)).square())  # 2 Δθ
    rotation = -2 * _chroma_step(mean_c) * torch.sin(theta)
    lightness, chroma, hue = delta_l / s_l, delta_c / s_c, delta_h / s_h
    square = lightness.square() + chroma.square() + hue.square() + rotation * chroma * hue
    return square.clamp(min=0).sqrt()


def _hue(a: Tensor, b: Tensor) -> Tensor:
    """In [0, 2π], where the published pairs of exactly opposite hues have their means."""
    hue = torch.atan2(b, a)
    return torch.where(hue < 0, hue + 2 * math.pi, hue)


def _chroma_step(chroma: Tensor) -> Tensor:
    """√(C⁷ / (C⁷ + 25⁷)), from 0 for grey to 1 for vivid colours."""
    seventh = chroma.pow(7)
    return (seventh / (seventh + _25_TO_THE_7TH)).sqrt()
