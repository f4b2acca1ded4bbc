"""A ResNet-101 that begins as a MobileNetV2, for those who have no ImageNet weights of the larger one.

An inverted residual (1×1 to many hidden units, 3×3 on each, 1×1 back; Sandler et al. 2018) is a bottleneck (1×1, 3×3,
1×1; He et al. 2016) whose 3×3 convolution happens to be diagonal. So the hidden units of MobileNetV2's blocks can be
set into ResNet-101's, several bottlenecks for one block where it has too many, and compute what they did; what is left
over starts as noise that nobody reads, or zero, and learns. The idea that a larger network should start as the function
of a smaller one is Net2Net's (Chen, Goodfellow and Shlens 2016).

Two things stand in the way and are dealt with so:

* ResNet cuts the residual stream at zero after every block, MobileNetV2's stream is signed. The stream is stored with
  an offset a channel, large enough that hardly anything is cut, and its readers subtract it.
* A block spread over several bottlenecks must read the same stream in each of them. The sum is built in fresh channels
  (a `Slot`), of which there are plenty, and the first of the bottlenecks copies the old stream there.

Where units outnumber places (the last blocks, at 7×7), those that contribute least are left out and their mean goes
into the bias. The stem and layer1 have no counterpart with ResNet's early pooling. training.transplant.distillation
teaches them, and mends the rest.

Where the fusion joins the trunk to the encoder it reads the teacher's stream as a bottleneck does: from the slot that
the layer ends with, less its offset.
"""

import itertools
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.mobilenetv2 import InvertedResidual
from torchvision.models.resnet import Bottleneck

from service.network.colorizer import Colorizer
from service.network.encoder import STRIDES
from training.transplant.units import Slot, Units, fold, strongest, units_of, with_copies

PLAN: dict[str, tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]] = {
    "layer2": (((0,), (4,)), ((1, 2), (5,)), ((3,), (6,))),
    "layer3": (
        ((0,), (7,)),
        ((1, 2), (8,)),
        ((3, 4), (9,)),
        ((5, 6), (10,)),
        ((7, 8), (11,)),
        ((9, 10, 11), (12,)),
        ((12, 13, 14), (13,)),
    ),
    # Two residual blocks in one bottleneck: side by side instead of one after the other, right to first order.
    "layer4": (((0,), (14,)), ((1,), (15, 16)), ((2,), (17,))),
}
"""Which bottlenecks of a layer take the hidden units of which of MobileNetV2's features."""

STAGE_ENDS = {"layer1": 3, "layer2": 6, "layer3": 13, "layer4": 18}
"""The feature of MobileNetV2 whose answer a layer of ResNet-101 ends with."""

CUT_SHARE = 1e-3
"""Share of a channel's values that the offset leaves below zero."""


class _Surgery:
    """Sets units into bottlenecks and remembers which of batch norm's channels must keep their function."""

    def __init__(self) -> None:
        self.kept: dict[nn.Module, Tensor] = {}

    def silence(self, layer: Any, slot: Slot) -> None:
        """No block of a layer says anything yet, and its first reads the slot alone, whatever comes to lie beside."""
        for bottleneck in layer:
            nn.init.zeros_(bottleneck.bn3.weight)
        first: Bottleneck = layer[0]
        assert first.downsample is not None
        nn.init.zeros_(first.downsample[1].weight)
        outside = torch.ones(first.conv1.in_channels, dtype=torch.bool)
        outside[slot.channels] = False
        first.conv1.weight[:, outside] = 0
        first.downsample[0].weight[:, outside] = 0

    def place(self, units: Units, bias: Tensor, bottleneck: Bottleneck, read: Slot, write: slice) -> None:
        """Makes a bottleneck add what `units` answer to `read`, plus `bias`, to the channels `write`."""
        used = slice(0, len(units.expand))
        bottleneck.conv1.weight[used] = 0
        bottleneck.conv1.weight[used, read.channels, 0, 0] = units.expand
        self._set(bottleneck.bn1, used, units.expand_bias - units.expand @ read.offset)
        bottleneck.conv2.weight[used] = 0
        diagonal = torch.arange(used.stop)
        bottleneck.conv2.weight[diagonal, diagonal] = units.depthwise
        self._set(bottleneck.bn2, used, units.depthwise_bias)
        bottleneck.conv3.weight[write] = 0
        bottleneck.conv3.weight[write, used, 0, 0] = units.project
        self._set(bottleneck.bn3, write, bias)

    def _set(self, norm: nn.BatchNorm2d, channels: slice, bias: Tensor) -> None:
        norm.weight[channels] = 1
        norm.bias[channels] = bias
        self.kept.setdefault(norm, torch.zeros(norm.num_features, dtype=torch.bool))[channels] = True

    def calibrate(self, module: nn.Module, inputs: Tensor) -> None:
        """Gives every batch norm the statistics of `inputs`, so that it answers alike in training and evaluation.

        Channels that were set keep their function; the others become normalised noise.
        """

        def measure(norm: nn.Module, arguments: tuple[Tensor]) -> None:
            assert isinstance(norm, nn.BatchNorm2d)
            variance, mean = torch.var_mean(arguments[0], dim=(0, 2, 3), correction=0)
            kept = self.kept.get(norm, torch.zeros(norm.num_features, dtype=torch.bool))
            norm.bias.copy_(torch.where(kept, norm.bias + norm.weight * mean, norm.bias))
            norm.weight.copy_(torch.where(kept, norm.weight * (variance + norm.eps).sqrt(), norm.weight))
            norm.running_mean.copy_(mean)  # type: ignore[union-attr]
            norm.running_var.copy_(variance)  # type: ignore[union-attr]

        norms = [part for part in module.modules() if isinstance(part, nn.BatchNorm2d)]
        handles = [norm.register_forward_pre_hook(measure) for norm in norms]
        module(inputs)
        for handle in handles:
            handle.remove()


@torch.no_grad()
def transplant(teacher: Colorizer, student: Colorizer, lightness: Tensor) -> dict[str, Slot]:
    """Makes an untrained ResNet-101 colorizer begin as a MobileNetV2 one; in all else their configurations are alike.

    `lightness`: L* (B, 1, 224, 224) of a few dozen photographs, to find offsets and batch norm's statistics with.

    Returns where layer1, layer2 and layer3 end with the teacher's stream.
    """
    teacher.eval()
    student.eval()
    backbone_input = teacher.preprocessing(lightness)[1]
    hidden, streams = _record(teacher.backbone, backbone_input)
    surgery = _Surgery()
    trunk: Any = student.backbone  # torch does not know a module's children by name
    source: Any = teacher.backbone
    first: nn.Conv2d = source[0][0]
    trunk.conv1.weight[: first.out_channels] = 0
    trunk.conv1.weight[: first.out_channels, :, 2:5, 2:5] = first.weight
    surgery.calibrate(nn.Sequential(*list(trunk.children())[:5]), backbone_input)
    slot = Slot(0, _offset(_flat(streams[STAGE_ENDS["layer1"]])))
    ends = {"layer1": slot}
    for before, (name, plan) in zip(STAGE_ENDS, PLAN.items(), strict=False):
        layer = getattr(trunk, name)
        entry = slot.state(streams[STAGE_ENDS[before]], layer[0].conv1.in_channels)
        surgery.silence(layer, slot)
        # In the last layer the answer of the trunk comes first, where the fusion's weights expect it.
        free = teacher.config.backbone.width if name == "layer4" else 0
        for blocks, features in plan:
            bottlenecks = [layer[block] for block in blocks]
            units, bias = units_of([source[feature] for feature in features], [hidden[feature] for feature in features])
            if features[-1] + 2 == len(source):
                _place_answer(surgery, units, bias, bottlenecks[0], slot, source[-1])
            else:
                added = _flat(streams[features[0] - 1]) if source[features[0]].use_res_connect else None
                slot, free = _place_stream(surgery, units, bias, bottlenecks, slot, free, added)
        ends[name] = slot
        surgery.calibrate(layer, entry)
    ends = {name: ends[name] for name in ("layer1", "layer2", "layer3")}
    _copy_rest(teacher, student, ends)
    return ends


def _place_stream(
    surgery: _Surgery,
    units: Units,
    bias: Tensor,
    bottlenecks: list[Bottleneck],
    slot: Slot,
    free: int,
    added: Tensor | None,
) -> tuple[Slot, int]:
    """Spreads the units of a block over bottlenecks; `added`: the old stream, where the new one is added to it.

    Returns the slot of the new stream, and the first channel that is free behind it.
    """
    places = bottlenecks[0].conv1.out_channels
    in_place = added is not None and len(bottlenecks) == 1
    copies = 0 if added is None or in_place else len(slot.offset)
    units, bias = strongest(units, bias, places * len(bottlenecks) - copies)
    cuts = [0, *(places * count - copies for count in range(1, len(bottlenecks) + 1))]
    parts = [units[start:stop] for start, stop in itertools.pairwise(cuts)]
    # The offset must keep every partial sum above zero, not only the last.
    total = bias[:, None] + (added if added is not None else 0)
    offset = torch.zeros_like(bias)
    for part in parts:
        total = total + part.project @ part.hidden
        offset = torch.maximum(offset, _offset(total))
    new = Slot(slot.start if in_place else free, offset)
    bias = bias + offset
    if added is not None:
        bias -= slot.offset
        if not in_place:
            parts[0] = with_copies(parts[0], slot)
    for part, bottleneck in zip(parts, bottlenecks, strict=True):
        surgery.place(part, bias, bottleneck, slot, new.channels)
        bias = torch.zeros_like(bias)
    return new, free if in_place else new.channels.stop


def _place_answer(surgery: _Surgery, units: Units, bias: Tensor, bottleneck: Bottleneck, slot: Slot, last: Any) -> None:
    """The last inverted residual and the 1×1 convolution behind it, which is linear in what the former answers."""
    units, bias = strongest(units, bias, bottleneck.conv1.out_channels)
    weight, shift = fold(last[0], last[1])
    weight = weight.flatten(1)
    surgery.place(
        replace(units, project=weight @ units.project), weight @ bias + shift, bottleneck, slot, slice(0, len(weight))
    )


def _copy_rest(teacher: Colorizer, student: Colorizer, ends: dict[str, Slot]) -> None:
    student.encoder.load_state_dict(teacher.encoder.state_dict())
    student.decoder.load_state_dict(teacher.decoder.state_dict())
    widths = dict(zip(STRIDES, teacher.config.encoder_widths, strict=True))
    # The last layer's answer is the teacher's as it is.
    answer = Slot(0, torch.zeros(teacher.config.backbone.width))
    _copy_join(teacher.fusion.mix, student.fusion.mix, widths[32], answer)
    for stride, layer in ((4, "layer1"), (8, "layer2"), (16, "layer3")):
        if stride in teacher.config.fusion_strides:
            source, target = (network.fusion.joins[str(stride)] for network in (teacher, student))
            _copy_join(source, target, widths[stride], ends[layer])


def _copy_join(source: Any, target: Any, encoder_width: int, slot: Slot) -> None:
    """Makes a 1×1 convolution over the encoder's map and the student's answer what the teacher's does over its own."""
    convolution, copy = source[0], target[0]
    from_trunk = convolution.weight[:, encoder_width:]
    in_trunk = copy.weight[:, encoder_width:]
    copy.weight.zero_()
    copy.weight[:, :encoder_width] = convolution.weight[:, :encoder_width]
    in_trunk[:, slot.channels] = from_trunk
    copy.bias.copy_(convolution.bias - from_trunk.flatten(1) @ slot.offset)


def _record(trunk: nn.Sequential, backbone_input: Tensor) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
    """What the hidden units (units, samples) and the streams (B, width, H, W) of every feature answer."""
    hidden: dict[int, Tensor] = {}
    streams: dict[int, Tensor] = {}
    x = backbone_input
    for index, feature in enumerate(trunk):
        if isinstance(feature, InvertedResidual) and len(feature.conv) == 4:
            hidden[index] = _flat(feature.conv[:2](x))
        x = streams[index] = feature(x)
    return hidden, streams


def _flat(maps: Tensor) -> Tensor:
    """(B, channels, H, W) → (channels, samples)."""
    return maps.transpose(0, 1).flatten(1)


def _offset(samples: Tensor) -> Tensor:
    """What to add to (channels, samples) so that hardly any is negative, (channels,)."""
    return -samples.kthvalue(max(1, round(CUT_SHARE * samples.shape[1])), dim=1).values.clamp(max=0)
