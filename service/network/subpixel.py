"""The decoder on ordinary convolutions: the same function, for which processors have far faster code."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from service.network.decoder import Decoder, Prediction, run_stages


class SubpixelConvolution(nn.Module):
    """`ConvTranspose2d` of kernel 4, stride 2 and padding 1, and an activation, as a 2×2 convolution and a shuffle.

    It is exact. Output row y = 2p − 1 + s, for s in {0, 1}, is made of input rows p − 1 and p alone. So one 2×2
    convolution over the input padded by one gives, at each of its (H + 1) × (W + 1) places, four output pixels: the
    sub-pixel convolution of Shi et al. 2016 ("Real-Time Single Image and Video Super-Resolution Using an Efficient
    Sub-Pixel CNN"), shifted by one row and column. It multiplies no zeros, as a 3×3 kernel for the unshifted one would.
    """

    def __init__(self, transposed: nn.ConvTranspose2d, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        if (transposed.kernel_size, transposed.stride, transposed.padding) != ((4, 4), (2, 2), (1, 1)):
            raise ValueError(f"not of kernel 4, stride 2 and padding 1: {transposed}")
        self.activation = activation
        inputs, outputs = transposed.in_channels, transposed.out_channels
        self.convolution = nn.Conv2d(inputs, 4 * outputs, kernel_size=2, padding=1)
        # Kernel row k = y + 1 − 2·(input row): for slot s and tap t (input row p − 1 + t), k = 2 + s − 2t.
        kernel = torch.tensor([[2, 0], [3, 1]])
        weight = transposed.weight.detach()[:, :, kernel[:, None, :, None], kernel[None, :, None, :]]
        # (inputs, outputs, slot row, slot column, tap row, tap column) → the order pixel_shuffle expects.
        self.convolution.weight.data = weight.permute(1, 2, 3, 0, 4, 5).reshape(4 * outputs, inputs, 2, 2).contiguous()
        assert transposed.bias is not None
        assert self.convolution.bias is not None
        self.convolution.bias.data = transposed.bias.detach().repeat_interleave(4)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) → (B, outputs, 2H, 2W)."""
        # The activation comes before the shuffle, while memory lies in order; a negative padding crops in one step.
        return F.pad(F.pixel_shuffle(self.activation(self.convolution(x)), 2), (-1, -1, -1, -1))


class SubpixelDecoder(nn.Module):
    """A trained `Decoder`, for inference alone."""

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        transposed = [module for module in decoder.stages.modules() if isinstance(module, nn.ConvTranspose2d)]
        self.stages = nn.ModuleList(SubpixelConvolution(module, F.relu) for module in transposed)
        self.head = SubpixelConvolution(decoder.head, torch.tanh)
        self.confidence = decoder.confidence

    def forward(self, maps: Mapping[int, Tensor]) -> Prediction:
        """See `Decoder.forward`."""
        fused, log_scale = run_stages(maps, self.stages, self.confidence)
        return Prediction(self.head(fused), log_scale)
