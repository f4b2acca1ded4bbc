"""The hidden units of MobileNetV2's inverted residuals, batch norm folded in, as something that can be moved."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchvision.models.mobilenetv2 import InvertedResidual


@dataclass(frozen=True)
class Slot:
    """Channels of ResNet's residual stream that hold MobileNetV2's stream plus `offset`, (width,)."""

    start: int
    offset: Tensor

    @property
    def channels(self) -> slice:
        """Where in the stream they are."""
        return slice(self.start, self.start + len(self.offset))

    def stored(self, stream: Tensor) -> Tensor:
        """MobileNetV2's stream (B, width, H, W) with the offset, cut at zero as ResNet does."""
        return (stream + self.offset.to(stream.device).view(1, -1, 1, 1)).relu()

    def state(self, stream: Tensor, channels: int) -> Tensor:
        """The same as ResNet would hold it, (B, channels, H, W): all other channels are zero."""
        state = stream.new_zeros(len(stream), channels, *stream.shape[2:])
        state[:, self.channels] = self.stored(stream)
        return state.contiguous(memory_format=torch.channels_last)


@dataclass(frozen=True)
class Units:
    """Hidden units with batch norm folded in; `hidden` is what they answered to the sample of photographs."""

    expand: Tensor  # (units, width of the stream)
    expand_bias: Tensor  # (units,)
    depthwise: Tensor  # (units, 3, 3)
    depthwise_bias: Tensor  # (units,)
    project: Tensor  # (width of the answer, units)
    hidden: Tensor  # (units, samples)

    def __getitem__(self, index: slice | Tensor) -> "Units":
        return Units(
            self.expand[index],
            self.expand_bias[index],
            self.depthwise[index],
            self.depthwise_bias[index],
            self.project[:, index],
            self.hidden[index],
        )


def units_of(sources: list[InvertedResidual], hidden: list[Tensor]) -> tuple[Units, Tensor]:
    """The units of inverted residuals side by side, and their bias."""
    every: list[Units] = []
    bias = torch.zeros(())
    for source, answers in zip(sources, hidden, strict=True):
        (expand, expand_norm, _), (depthwise, depthwise_norm, _), project, norm = source.conv
        expand_weight, expand_bias = fold(expand, expand_norm)
        depthwise_weight, depthwise_bias = fold(depthwise, depthwise_norm)
        project_weight, project_bias = fold(project, norm)
        bias = bias + project_bias
        every.append(
            Units(
                expand_weight.flatten(1),
                expand_bias,
                depthwise_weight.squeeze(1),
                depthwise_bias,
                project_weight.flatten(1),
                answers,
            )
        )
    return Units(
        torch.cat([units.expand for units in every]),
        torch.cat([units.expand_bias for units in every]),
        torch.cat([units.depthwise for units in every]),
        torch.cat([units.depthwise_bias for units in every]),
        torch.cat([units.project for units in every], dim=1),
        torch.cat([units.hidden for units in every]),
    ), bias


def strongest(units: Units, bias: Tensor, places: int) -> tuple[Units, Tensor]:
    """The units that contribute most, as many as there are places; the mean of the others goes into the bias."""
    contribution = units.hidden.std(dim=1) * units.project.norm(dim=0)
    order = contribution.argsort(descending=True)
    others = units[order[places:]]
    return units[order[:places]], bias + others.project @ others.hidden.mean(dim=1)


def with_copies(units: Units, slot: Slot) -> Units:
    """Adds a unit for every channel of the slot that hands it on as it is; stored streams are positive."""
    width = len(slot.offset)
    identity = torch.eye(width)
    center = torch.zeros(width, 3, 3)
    center[:, 1, 1] = 1
    return Units(
        torch.cat((units.expand, identity)),
        # Makes up for the offset that every reader subtracts.
        torch.cat((units.expand_bias, slot.offset)),
        torch.cat((units.depthwise, center)),
        torch.cat((units.depthwise_bias, torch.zeros(width))),
        torch.cat((units.project, identity), dim=1),
        units.hidden,
    )


def fold(convolution: nn.Module, norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution with the batch norm behind it."""
    assert isinstance(convolution, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return convolution.weight * scale.view(-1, 1, 1, 1), norm.bias - norm.running_mean * scale
