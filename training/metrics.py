"""How far a coloured picture is from the truth, one number a picture. Pictures are (…, 3, H, W) or as said."""

import numpy as np
import torch
from skimage.color import deltaE_ciede2000
from torch import Tensor


def squared_error(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean squared error on ab/128, both (B, 2, H, W) → (B,)."""
    return (predicted - target).square().mean(dim=(1, 2, 3))


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


def ciede2000(lab: Tensor, truth: Tensor) -> Tensor:
    """Mean CIEDE2000 difference, both CIELAB (B, 3, H, W) → (B,)."""
    differences = deltaE_ciede2000(  # type: ignore[no-untyped-call]
        lab.double().numpy(), truth.double().numpy(), channel_axis=1
    )
    return torch.from_numpy(np.asarray(differences)).float().mean(dim=(1, 2))


def colorfulness(rgb: Tensor) -> Tensor:
    """Hasler and Süsstrunk 2003, "Measuring Colourfulness in Natural Images": uint8 sRGB (B, 3, H, W) → (B,)."""
    red, green, blue = rgb.float().unbind(1)
    opponents = torch.stack((red - green, 0.5 * (red + green) - blue), dim=1).flatten(2)
    std, mean = opponents.std(dim=2, correction=0), opponents.mean(dim=2)
    return std.square().sum(dim=1).sqrt() + 0.3 * mean.square().sum(dim=1).sqrt()
