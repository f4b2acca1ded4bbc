"""From the fused 7×7 map back to colour at 224×224."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Decoder(nn.Module):
    """Five transposed convolutions, 7 → 224, each but the last joined by the encoder's map of its size.

    Kernel 4 with stride 2, so that every output pixel is made of equally many taps: kernel 3 would draw a
    checkerboard (Odena, Dumoulin and Olah 2016, "Deconvolution and Checkerboard Artifacts").
    """

    def __init__(self, fused_width: int, skip_widths: Sequence[int], widths: Sequence[int], dropout: float) -> None:
        """`skip_widths`: channels of the encoder's maps at 14, 28, 56 and 112 pixels; `widths`: this module's own."""
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

    def forward(self, fused: Tensor, skips: Sequence[Tensor]) -> Tensor:
        """(B, fused_width, 7, 7) and the encoder's maps at 14, 28, 56, 112 → ab/128, (B, 2, 224, 224) in (-1, 1)."""
        for stage, skip in zip(self.stages, skips, strict=True):
            fused = torch.cat((stage(fused), skip), dim=1)
        return torch.tanh(self.head(fused))
