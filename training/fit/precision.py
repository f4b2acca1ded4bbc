"""What must stay float32 where the processor computes in bfloat16."""

import torch
from torch import Tensor, nn

from service.network.colorizer import Colorizer


def computes_in_bfloat16(device: str) -> bool:
    """Whether "cuda" or "cpu" has instructions for it: processors without emulate it, slowly."""
    # There is no public name for the question in all of the torch versions permitted.
    return device == "cuda" or torch.cpu._is_avx512_bf16_supported()


def keep_float32(colorizer: Colorizer) -> None:
    """Takes two kinds of layers of a trunk out of autocast, on the CPU.

    Its first `BackboneName.float32_layers` lose their meaning in 8 bits. And for the gradients of depthwise
    convolutions with a stride oneDNN has no bfloat16 code but its reference, many times slower than float32's.
    """
    for layer in colorizer.backbone[: colorizer.config.backbone.float32_layers]:
        _keep_float32(layer)
    for module in colorizer.backbone.modules():
        if isinstance(module, nn.Conv2d) and module.groups > 1 and module.stride != (1, 1):
            _keep_float32(module)


def _keep_float32(module: nn.Module) -> None:
    forward = module.forward

    def forward_in_float32(x: Tensor) -> Tensor:
        with torch.autocast("cpu", enabled=False):
            answer: Tensor = forward(x.float())
            return answer

    module.forward = forward_in_float32
