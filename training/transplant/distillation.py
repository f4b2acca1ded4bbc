"""How far a transplanted ResNet-101 is from what MobileNetV2 answers, layer by layer: what is minimised.

First the layers learn apart: each gets what the teacher's stream is at its entry, so that none has to wait for the one
before to be right. layer3, three quarters of the arithmetic, which the transplant made exact, is left out.

Then they learn together: each gets what the student's layers before it make of a photograph, and decoder, fusion and
encoder learn to make the true colours of it. Max pooling has no counterpart in MobileNetV2, so layer1 stays some way
from the teacher, and all behind it with it. Which of its errors do harm is for its readers to say: the decoder, through
whose joins the gradient of the colours reaches every layer, and layer3, which passes on the gradient of its own error
(a quarter more time a step). layer3 itself stays as it is: with so few photographs, gradients would blur the thousands
of zeros around every transplanted weight sooner than they found something better (tried, and so it was).
"""

from typing import Any

import torch
from torch import Tensor, nn

from service.network.backbones import trunk_maps
from service.network.colorizer import Colorizer
from training.fit.losses import distance, laplace
from training.transplant.units import Slot

_STRIDES = {"layer1": 4, "layer2": 8, "layer3": 16, "layer4": 32}

Parts = dict[str, Tensor]
"""What is minimised, a scalar each: for every layer that learns, and for `layer3`, the share of the teacher's variance
that it does not explain; of `colors` the `distance` to the true ones, as a share of a grey answer's; and `confidence`,
weighted as in `fit`."""

LEAST_VARIANCE = 1e-4
"""Of a stream, where about 1 is usual."""

LEAST_LOSS = 0.01
"""Of a grey answer, where 0.13 is usual."""


class Distillation(nn.Module):
    """The teacher's trunk beside the student's."""

    def __init__(self, teacher: Colorizer, student: Colorizer, ends: dict[str, Slot]) -> None:
        """`ends`: what training.transplant.surgery returned for these two. Freezes the teacher and layer3."""
        super().__init__()
        self.teacher = teacher.requires_grad_(False)
        self.student = student
        self.ends = ends
        student.backbone.get_submodule("layer3").requires_grad_(False)

    def apart(self, lightness: Tensor) -> Parts:
        """L* (B, 1, H, W) → the errors of layer1, with the stem, layer2 and layer4, given the teacher's streams."""
        backbone_input = self.student.preprocessing(lightness)[1]
        streams = self._streams(backbone_input)
        trunk: Any = self.student.backbone  # torch does not know a module's children by name
        stem = trunk.maxpool(trunk.relu(trunk.bn1(trunk.conv1(backbone_input))))
        answers = {
            "layer1": trunk.layer1(stem),
            "layer2": trunk.layer2(self._state("layer1", streams, trunk.layer2)),
            "layer4": trunk.layer4(self._state("layer3", streams, trunk.layer4)),
        }
        return self._unexplained(answers, streams)

    def together(self, lightness: Tensor, target: Tensor, hints: Tensor | None) -> Parts:
        """The errors of all four layers, given the student's own streams, of the colours and of the confidence.

        `lightness`: L* (B, 1, H, W); `target`: ab/128 (B, 2, H, W); `hints`: as in `Colorizer.forward`, and None only
        where the network takes none. `confidence` is missing where the network has no head for it.
        """
        encoder_input, backbone_input = self.student.preprocessing(lightness, hints)
        maps = trunk_maps(self.student.config.backbone, list(self.student.backbone), backbone_input)
        predicted = self.student.decoder(self.student.fusion(self.student.encoder(encoder_input), maps))
        answers = {name: maps[stride] for name, stride in _STRIDES.items()}
        parts = self._unexplained(answers, self._streams(backbone_input))
        parts["colors"] = color_loss(predicted.ab, target)
        if predicted.log_scale is not None:
            parts["confidence"] = laplace(predicted.log_scale.float(), predicted.ab.float(), target)
        return parts

    def train(self, mode: bool = True) -> "Distillation":
        """The teacher never trains, and neither does layer3."""
        super().train(mode)
        self.teacher.eval()
        self.student.backbone.get_submodule("layer3").eval()
        return self

    @torch.no_grad()
    def _streams(self, backbone_input: Tensor) -> dict[str, Tensor]:
        """What the teacher's streams are where layers end."""
        maps = trunk_maps(self.teacher.config.backbone, list(self.teacher.backbone), backbone_input)
        return {name: maps[stride] for name, stride in _STRIDES.items()}

    def _state(self, name: str, streams: dict[str, Tensor], reader: Any) -> Tensor:
        """The teacher's stream where a layer ends as the student would hold it for the next."""
        return self.ends[name].state(streams[name], reader[0].conv1.in_channels)

    def _unexplained(self, answers: dict[str, Tensor], streams: dict[str, Tensor]) -> Parts:
        parts = {}
        for name, answer in answers.items():
            stream = streams[name]
            if name in self.ends:
                slot = self.ends[name]
                answer, stream = answer[:, slot.channels], slot.stored(stream)
            parts[name] = unexplained(answer[:, : stream.shape[1]], stream)
        return parts


def color_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """`distance` over what it is of a grey answer; both ab/128 (B, 2, H, W), the result a scalar.

    A grey answer's below `LEAST_LOSS` counts as that: a batch of grey photographs has none. Squared error would draw
    a student whose teacher learned medians to means.
    """
    predicted, target = predicted.float(), target.float()
    grey = distance(torch.zeros_like(target), target)
    return distance(predicted, target) / grey.clamp(min=LEAST_LOSS)


def unexplained(predicted: Tensor, target: Tensor) -> Tensor:
    """Squared error over the target's variance about its channels' means; both (B, C, H, W), the result a scalar.

    A variance below `LEAST_VARIANCE` counts as that.
    """
    predicted, target = predicted.float(), target.float()
    spread = target - target.mean(dim=(0, 2, 3), keepdim=True)
    return (predicted - target).square().mean() / spread.square().mean().clamp(min=LEAST_VARIANCE)
