"""CIELAB's ab plane in bins: how rare a colour is, and colour as a class instead of a number.

After Zhang, Isola and Efros 2016, "Colorful Image Colorization", section 2.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from service.imaging import color
from service.network.colorizer import Colorizer, ColorizerConfig
from service.network.decoder import SKIP_STRIDES, Prediction
from service.network.preprocessing import AB_SCALE

BIN = 10.0
"""Width of a bin in a* and in b*."""

_SIDE = 24  # bins along each axis, over [-120, 120)
_LIMIT = _SIDE * BIN / 2

# The paper's: how much of the uniform distribution is mixed in, and the smoothing and the soft encoding in ab units.
UNIFORM_SHARE = 0.5
SMOOTHING = 5.0
NEIGHBOURS = 5
TEMPERATURE = 0.38


def in_gamut_bins() -> Tensor:
    """Centres of the bins that sRGB reaches, (Q, 2) in a*, b*."""
    levels = torch.linspace(0, 1, 48)
    rgb = torch.stack(torch.meshgrid(levels, levels, levels, indexing="ij")).reshape(1, 3, 48, -1)
    ab = color.rgb_to_lab(rgb)[0, 1:].flatten(1)
    used = torch.unique(_cell(ab))
    return torch.stack((used // _SIDE, used % _SIDE), dim=1).float() * BIN - _LIMIT + BIN / 2


def _cell(ab: Tensor) -> Tensor:
    """a*, b* (2, …) → the number of its cell in the whole grid."""
    steps = ((ab + _LIMIT) / BIN).floor().clamp(0, _SIDE - 1).long()
    return steps[0] * _SIDE + steps[1]


def color_histogram(target: Tensor) -> Tensor:
    """How often each cell of the grid occurs: ab/128 (B, 2, H, W) → counts (cells,)."""
    return torch.bincount(_cell(target.transpose(0, 1) * AB_SCALE).flatten(), minlength=_SIDE**2).double()


class Rarity(nn.Module):
    """Weights that bring rare colours up: 1 / ((1 − λ) p + λ / Q), with p smoothed, scaled to a mean of 1."""

    weights: Tensor

    def __init__(self, histogram: Tensor) -> None:
        """`histogram`: what `color_histogram` counted over a sample of the training photographs."""
        super().__init__()
        reach = torch.arange(-3, 4) * BIN
        kernel = torch.exp(-reach.square() / (2 * SMOOTHING**2)).double()
        kernel /= kernel.sum()
        grid = (histogram / histogram.sum()).view(1, 1, _SIDE, _SIDE)
        smooth = F.conv2d(
            F.conv2d(grid, kernel.view(1, 1, -1, 1), padding=(3, 0)), kernel.view(1, 1, 1, -1), padding=(0, 3)
        )
        bins = _cell(in_gamut_bins().T)
        mixed = (1 - UNIFORM_SHARE) * smooth.flatten() + UNIFORM_SHARE / len(bins)
        weights = 1 / mixed
        weights /= (weights * grid.flatten()).sum()
        self.register_buffer("weights", weights.float(), persistent=False)

    def forward(self, target: Tensor) -> Tensor:
        """ab/128 (B, 2, H, W) → weights (B, 1, H, W)."""
        return self.weights[_cell(target.transpose(0, 1) * AB_SCALE)].unsqueeze(1)


class QuantizedColorizer(Colorizer):
    """The colorizer with a class for every bin of ab in place of tanh's two numbers, at a quarter of the size.

    In training its output is logits (B, Q, 56, 56); in evaluation it is, like every colorizer's, ab/128
    (B, 2, 224, 224): the annealed mean of the bins.
    """

    bins: Tensor

    def __init__(self, config: ColorizerConfig) -> None:
        super().__init__(config)
        self.register_buffer("bins", in_gamut_bins(), persistent=False)
        # The last stages, tanh's head and the confidence have nothing to say here.
        width = config.decoder_widths[2] + config.encoder_widths[1]
        self.decoder.stages = self.decoder.stages[:3]
        del self.decoder.head
        self.decoder.confidence = None
        self.classify = nn.Conv2d(width, len(self.bins), kernel_size=1)

    def forward(self, lightness: Tensor, hints: Tensor | None = None) -> Prediction:
        fused = self.fused(lightness, hints)
        x = fused[32]
        for stride, stage in zip(SKIP_STRIDES, self.decoder.stages, strict=False):
            x = torch.cat((stage(x), fused[stride]), dim=1)
        logits: Tensor = self.classify(x)
        # How sure it is, the classes' shares would say.
        return Prediction(logits if self.training else self.annealed_mean(logits), None)

    def annealed_mean(self, logits: Tensor) -> Tensor:
        """Logits (B, Q, 56, 56) → ab/128 (B, 2, 224, 224), between the mode and the mean of the bins."""
        shares = (logits.float() / TEMPERATURE).softmax(dim=1)
        ab = torch.einsum("bqhw,qc->bchw", shares, self.bins) / AB_SCALE
        return F.interpolate(ab, scale_factor=4, mode="bilinear", align_corners=False)

    def classification_loss(self, logits: Tensor, target: Tensor, rarity: Rarity) -> Tensor:
        """Cross-entropy with softly encoded bins, rare colours brought up; `target` is ab/128 (B, 2, 224, 224)."""
        small = F.interpolate(target, size=logits.shape[2:], mode="area")
        points = small.permute(0, 2, 3, 1).reshape(-1, 2) * AB_SCALE
        distances, nearest = torch.cdist(points, self.bins).topk(NEIGHBOURS, largest=False)
        shares = torch.exp(-distances.square() / (2 * SMOOTHING**2))
        shares = shares / shares.sum(dim=1, keepdim=True)
        log_likelihood = logits.permute(0, 2, 3, 1).reshape(len(points), -1).log_softmax(dim=1)
        losses = -(shares * log_likelihood.gather(1, nearest)).sum(dim=1)
        loss: Tensor = (losses * rarity(small).flatten()).mean()
        return loss
