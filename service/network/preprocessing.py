"""Lightness in, the two inputs of the network out; the scale of its targets."""

import torch
from torch import Tensor, nn

INPUT_SIZE = 224
"""Height and width of the network's input and output, in pixels."""

AB_SCALE = 128.0
"""a* and b* are divided by this, so that tanh's (-1, 1) spans them."""

HINT_CHANNELS = 3
"""a* and b* of hinted pixels, and where those are (Zhang et al. 2017, "Real-Time User-Guided Image Colorization")."""

# The normalisation the ImageNet trunks were trained with (torchvision's weights documentation).
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Preprocessing(nn.Module):
    """L* as the encoder and as the backbone want to see it."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        # Constants, not weights: they are rebuilt from the code and never stored in a checkpoint.
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, lightness: Tensor, hints: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """L* (B, 1, H, W) in [0, 100], `hints` as in `Colorizer.forward` → the encoder's input and the backbone's.

        The encoder's is (B, 1, …) in [-1, 1], or (B, 4, …) where there are hints; the backbone's (B, 3, …).
        """
        centred = lightness / 50 - 1
        gray = (lightness / 100).expand(-1, 3, -1, -1)
        encoder_input = centred if hints is None else torch.cat((centred, hints), dim=1)
        return encoder_input, (gray - self.mean) / self.std
