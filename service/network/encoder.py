"""The convolutional encoder: fine structure of the photograph, kept at every size for the decoder's skips."""

from collections.abc import Sequence

from torch import Tensor, nn

STRIDES = (2, 4, 8, 16, 32)
"""How many of the photograph's pixels a step in each of the encoder's maps is."""


class Encoder(nn.Module):
    """Five 3×3 stride-2 convolutions with batch norm, 224 → 7."""

    def __init__(self, inputs: int, widths: Sequence[int]) -> None:
        """`inputs`: channels of the input; `widths`: of the maps, one a stride."""
        super().__init__()
        channels = [inputs, *widths]
        self.stages = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels[i], channels[i + 1], kernel_size=3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(channels[i + 1]),
                # The first stage sees signed input and must not lose the dark half of it.
                nn.LeakyReLU(0.2, inplace=True) if i == 0 else nn.ReLU(inplace=True),
            )
            for i in range(len(widths))
        )

    def forward(self, canvas: Tensor) -> dict[int, Tensor]:
        """(B, inputs, H, W), of lightness in [-1, 1] and hints, H and W multiples of 32 → a map for each stride."""
        maps = {}
        for stride, stage in zip(STRIDES, self.stages, strict=True):
            canvas = maps[stride] = stage(canvas)
        return maps
