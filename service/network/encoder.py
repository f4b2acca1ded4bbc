"""The convolutional encoder: fine structure of the photograph, kept at every size for the decoder's skips."""

from collections.abc import Sequence

from torch import Tensor, nn


class Encoder(nn.Module):
    """Five 3×3 stride-2 convolutions with batch norm, 224 → 7."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        channels = [1, *widths]
        self.stages = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels[i], channels[i + 1], kernel_size=3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(channels[i + 1]),
                # The first stage sees signed input and must not lose the dark half of it.
                nn.LeakyReLU(0.2, inplace=True) if i == 0 else nn.ReLU(inplace=True),
            )
            for i in range(len(widths))
        )

    def forward(self, lightness: Tensor) -> list[Tensor]:
        """(B, 1, 224, 224) in [-1, 1] → one map a stage, finest first: 112, 56, 28, 14 and 7 pixels wide."""
        maps = []
        for stage in self.stages:
            lightness = stage(lightness)
            maps.append(lightness)
        return maps
