"""From the fused maps back to colour at the photograph's size, and to how sure of it the network is."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from service.network.preprocessing import AB_SCALE

SKIP_STRIDES = (16, 8, 4, 2)
"""Of the maps that join the decoder's own, in its order."""

_CONFIDENCE_STRIDE = 4
_CONFIDENCE_WIDTH = 32

_FIRST_SCALE = -2.5
"""e to this, times 128, is 10.5: about the mean error of a grey answer, in units of a* and b*."""


class Prediction(NamedTuple):
    """What the network says of every pixel."""

    ab: Tensor
    """a* and b* divided by 128, (B, 2, H, W) in (-1, 1)."""
    log_scale: Tensor | None
    """Natural logarithm of the scale of a Laplace distribution of the error in `ab`, (B, 1, H, W): the scale is the
    mean error to expect. None: the network has no such head.

    Source: Kendall and Gal 2017, "What Uncertainties Do We Need in Bayesian Deep Learning for Computer Vision?"
    """

    @property
    def raw(self) -> Tensor:
        """a* and b* as the network says them, before any calibration: (B, 2, H, W), float32."""
        return self.ab.float() * AB_SCALE

    @property
    def expected_error(self) -> Tensor | None:
        """The mean error to expect of a* and b*, in their units: (B, 1, H, W), float32."""
        return None if self.log_scale is None else self.log_scale.float().exp() * AB_SCALE


class Decoder(nn.Module):
    """Five transposed convolutions, 7 → 224, each but the last joined by the fused map of its size.

    Kernel 4 with stride 2, so that every output pixel is made of equally many taps: kernel 3 would draw a
    checkerboard (Odena, Dumoulin and Olah 2016, "Deconvolution and Checkerboard Artifacts").
    """

    def __init__(
        self, fused_width: int, skip_widths: Sequence[int], widths: Sequence[int], dropout: float, confidence: bool
    ) -> None:
        """`skip_widths`: channels of the maps at `SKIP_STRIDES`; `widths`: this module's own.

        `confidence`: whether there is a head for it.
        """
        super().__init__()
        inputs = [fused_width, *(own + skip for own, skip in zip(widths, skip_widths, strict=True))]
        self.stages = nn.ModuleList(
            nn.Sequential(
                nn.ConvTranspose2d(inputs[i], width, kernel_size=4, stride=2, padding=1),
                nn.ReLU(inplace=True),
                # Only the two coarse stages: dropping fine maps would show as noise.
                nn.Dropout2d(dropout if i < 2 else 0.0),
            )
            for i, width in enumerate(widths)
        )
        self.head = nn.ConvTranspose2d(inputs[-1], 2, kernel_size=4, stride=2, padding=1)
        # Training starts from the grey answer instead of spending its first hundred steps on finding it.
        nn.init.zeros_(self.head.weight)
        assert self.head.bias is not None
        nn.init.zeros_(self.head.bias)
        self.confidence = Confidence(inputs[-2]) if confidence else None

    def forward(self, maps: Mapping[int, Tensor]) -> Prediction:
        """The fused maps by stride, 32 to 2 → `Prediction` at stride 1."""
        fused, log_scale = run_stages(maps, self.stages, self.confidence)
        return Prediction(torch.tanh(self.head(fused)), log_scale)


def run_stages(
    maps: Mapping[int, Tensor], stages: nn.ModuleList, confidence: nn.Module | None
) -> tuple[Tensor, Tensor | None]:
    """A decoder's stages over the fused maps by stride → what its head is given, and `Prediction.log_scale`."""
    fused, log_scale = maps[32], None
    for stride, stage in zip(SKIP_STRIDES, stages, strict=True):
        fused = torch.cat((stage(fused), maps[stride]), dim=1)
        if stride == _CONFIDENCE_STRIDE and confidence is not None:
            log_scale = confidence(fused)
    return fused, log_scale


class Confidence(nn.Module):
    """How far off the colours will be, from the decoder's map at stride 4.

    The map is detached: what is learned here must not move the colours.
    """

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(inputs, _CONFIDENCE_WIDTH, kernel_size=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(_CONFIDENCE_WIDTH, 1, kernel_size=1),
        )
        last = self.layers[-1]
        assert isinstance(last, nn.Conv2d)
        assert last.bias is not None
        nn.init.constant_(last.bias, _FIRST_SCALE)

    def forward(self, fused: Tensor) -> Tensor:
        """(B, inputs, H/4, W/4) → `Prediction.log_scale`."""
        coarse = self.layers(fused.detach())
        return F.interpolate(coarse, scale_factor=_CONFIDENCE_STRIDE, mode="bilinear", align_corners=False)
