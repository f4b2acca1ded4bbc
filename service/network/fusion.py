"""Where structure meets meaning."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn


class Fusion(nn.Module):
    """Joins the encoder's and the backbone's maps: at stride 32 for the decoder to begin with, at finer ones its skips.

    Each join is a concatenation, a 1×1 convolution and a ReLU: both maps have seen their surroundings already, what is
    left to do is to mix channels. At stride 32 alone it is the fusion of Iizuka, Simo-Serra and Ishikawa 2016, "Let
    there be Color!". But what is known there is known of cells of 32 pixels; finer joins tell the decoder where an
    object ends (the skips of U-Net, Ronneberger, Fischer and Brox 2015, from a trunk that knows what it sees).
    """

    def __init__(
        self,
        encoder_widths: Mapping[int, int],
        backbone_widths: Mapping[int, int],
        width: int,
        strides: Sequence[int],
    ) -> None:
        """`encoder_widths`, `backbone_widths`: channels by stride; `width`: of the answer at stride 32.

        `strides`: where to join; 32 must be among them.
        """
        super().__init__()
        self.mix = _join(encoder_widths[32] + backbone_widths[32], width)
        self.joins = nn.ModuleDict(
            {
                str(stride): _join(encoder_widths[stride] + backbone_widths[stride], encoder_widths[stride])
                for stride in strides
                if stride != 32
            }
        )

    def forward(self, encoded: Mapping[int, Tensor], features: Mapping[int, Tensor]) -> dict[int, Tensor]:
        """Both maps by stride → the decoder's by stride: fused where they are joined, else the encoder's own."""
        fused = {
            stride: self.joins[str(stride)](torch.cat((skip, features[stride]), dim=1))
            if str(stride) in self.joins
            else skip
            for stride, skip in encoded.items()
            if stride != 32
        }
        fused[32] = self.mix(torch.cat((encoded[32], features[32]), dim=1))
        return fused


def _join(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel_size=1), nn.ReLU(inplace=True))
