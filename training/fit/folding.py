"""Batch norms whose statistics stay, made part of the convolutions before them while a network learns.

With its statistics fixed a batch norm is a factor and an offset for each channel. Applied to the convolution's weights
they cost next to nothing, forwards and backwards, while a pass over the activations costs as much as a small
convolution. The function and its gradients are the same, but for rounding.
"""

from collections.abc import Callable
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F


def fold_batch_norms(trunk: nn.Module) -> None:
    """Lets every convolution of a trunk compute the batch norm that is registered behind it.

    Parameters, buffers and their names stay. The batch norms' own training mode no longer counts: the statistics are
    always those that they hold.
    """
    for module in trunk.modules():
        for convolution, norm in pairwise(module.children()):
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                _fold(convolution, norm)


def _fold(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    def forward(x: Tensor) -> Tensor:
        # Read at each call: loading a checkpoint or moving the network may replace them.
        mean, variance = norm.running_mean, norm.running_var
        assert mean is not None
        assert variance is not None
        factor = norm.weight * (variance + norm.eps).rsqrt()
        weight, bias = convolution.weight * factor.view(-1, 1, 1, 1), norm.bias - mean * factor
        stride, padding = convolution.stride, convolution.padding
        return F.conv2d(x, weight, bias, stride, padding, convolution.dilation, convolution.groups)

    replaced: dict[nn.Module, Callable[[Tensor], Tensor]] = {convolution: forward, norm: lambda x: x}
    for module, instead in replaced.items():
        module.forward = instead
