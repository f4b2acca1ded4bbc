"""A teacher that could have been trained, and the student made of it."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from service.network.backbones import BackboneName, trunk_maps
from service.network.colorizer import Colorizer, ColorizerConfig
from training.transplant.surgery import transplant
from training.transplant.units import Slot

JOINED = {"layer1": 4, "layer2": 8, "layer3": 16}
"""The strides where layers end whose streams have slots."""

FULL = ColorizerConfig(BackboneName.MOBILENET_V2, fusion_strides=(32, 16, 8, 4), hints=True, confidence=True)

PUBLISHED = ColorizerConfig(BackboneName.MOBILENET_V2)


@dataclass(frozen=True)
class Pair:
    """Two networks in evaluation mode, and the slots in which the student's layers end."""

    teacher: Colorizer
    student: Colorizer
    ends: dict[str, Slot]

    def streams(self, lightness: Tensor) -> dict[int, Tensor]:
        """The teacher's, by stride, cut where the student's offsets cut them."""
        maps = trunk_maps(
            BackboneName.MOBILENET_V2, list(self.teacher.backbone), self.teacher.preprocessing(lightness)[1]
        )
        for name, stride in JOINED.items():
            maps[stride] = torch.maximum(maps[stride], -self.ends[name].offset.view(1, -1, 1, 1))
        return maps

    def states(self, lightness: Tensor) -> dict[int, Tensor]:
        """The same as the student would hold them."""
        streams, widths = self.streams(lightness), BackboneName.RESNET101.widths
        states = {stride: self.ends[name].state(streams[stride], widths[stride]) for name, stride in JOINED.items()}
        answer = streams[32]
        states[32] = torch.cat((answer, answer.new_zeros(len(answer), 2048 - 1280, *answer.shape[2:])), dim=1)
        return states


def make_pair(config: ColorizerConfig, lightness: Tensor) -> Pair:
    """`config`: the teacher's. `lightness`: L* of pictures whose statistics its batch norms have."""
    torch.manual_seed(0)
    teacher = Colorizer(config)
    nn.init.normal_(teacher.decoder.head.weight, std=0.05)
    for module in teacher.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the plain mean over what follows
            nn.init.uniform_(module.weight, 0.5, 1.0)
            nn.init.normal_(module.bias, std=0.2)
    hints = make_hints(lightness) if config.hints else None
    with torch.no_grad():
        teacher.train()(lightness, hints)
    teacher.eval()
    torch.manual_seed(1)
    names = {name: getattr(config, name) for name in ("fusion_strides", "hints", "confidence")}
    student = Colorizer(ColorizerConfig(BackboneName.RESNET101, **names))
    ends = transplant(teacher, student, lightness)
    return Pair(teacher, student.eval(), ends)


def make_hints(lightness: Tensor) -> Tensor:
    """A square of one colour in the middle of every picture, as `Colorizer.forward` takes them."""
    hints = lightness.new_zeros(len(lightness), 3, *lightness.shape[2:])
    hints[:, 0, 40:56, 40:56] = 0.5
    hints[:, 2, 40:56, 40:56] = 1
    return hints
