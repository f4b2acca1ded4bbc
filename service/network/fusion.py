"""Where structure meets meaning."""

import torch
from torch import Tensor, nn


class Fusion(nn.Module):
    """Concatenates the encoder's and the backbone's 7×7 maps and mixes them with one convolution.

    1×1, as both maps already see (nearly) the whole picture: what is left to do is to mix channels. The same
    choice as in Iizuka, Simo-Serra and Ishikawa 2016, "Let there be Color!".
    """

    def __init__(self, encoder_width: int, backbone_width: int, width: int) -> None:
        super().__init__()
        self.mix = nn.Sequential(nn.Conv2d(encoder_width + backbone_width, width, kernel_size=1), nn.ReLU(inplace=True))

    def forward(self, encoded: Tensor, features: Tensor) -> Tensor:
        """(B, encoder_width, 7, 7) and (B, backbone_width, 7, 7) → (B, width, 7, 7)."""
        fused: Tensor = self.mix(torch.cat((encoded, features), dim=1))
        return fused
