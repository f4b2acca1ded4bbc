"""Teaches a transplanted ResNet-101 what MobileNetV2 answers, layer by layer.

First the layers learn apart: each gets what the teacher's stream is at its entry, so that none has to wait for the one
before to be right. layer3, three quarters of the arithmetic, which the transplant made exact, is left out. Then they
learn together: each gets what the student's layers before it make of a photograph, and decoder, fusion and encoder
learn to make the true colours of it. layer3 stays as it is: with so few photographs, gradients would blur the thousands
of zeros around every transplanted weight sooner than they found something better (tried, and so it was).
"""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from service.network.backbones import BackboneName
from service.network.checkpoint import CONFIG_FILE, Checkpoint, CheckpointConfig, save_checkpoint
from service.network.colorizer import Colorizer
from service.network.preprocessing import INPUT_SIZE
from training.data import split_lab, training_batches
from training.errors import ExistingModelError
from training.fit import SELECTION_FILE
from training.photos import open_photos
from training.run import learning_rate_factor
from training.selection import select
from training.transplant import STAGE_ENDS, transplant
from training.units import Slot

# Windows of the photographs in pixels: half of what is to be learned is the stem's and layer1's, which see detail only.
WINDOW_APART = 128
WINDOW_TOGETHER = 160

# The stem and layer1 learn from nothing, the decoder and its like know their work, the rest needs mending.
NEW_RATE = 2e-3
TRANSPLANTED_RATE = 3e-4
WARM_UP = 0.03
BATCH_SIZE = 16
FILM_SHARE = 0.3
SAMPLE_BATCHES = 3

_WIDTHS = {"layer1": 256, "layer2": 512, "layer3": 1024}


class Distillation(nn.Module):
    """The teacher's trunk beside the student's."""

    def __init__(self, teacher: Colorizer, student: Colorizer, ends: dict[str, Slot]) -> None:
        """`ends`: what training.transplant returned for these two."""
        super().__init__()
        self.teacher = teacher.requires_grad_(False)
        self.student = student
        self.ends = ends

    def apart(self, lightness: Tensor) -> dict[str, Tensor]:
        """L* (B, 1, H, W) → for each layer learning, the share of the teacher's variance it does not explain."""
        backbone_input = self.student.preprocessing(lightness)[1]
        streams, states = self._streams(backbone_input)
        trunk: Any = self.student.backbone  # torch does not know a module's children by name
        answers = {
            "layer1": trunk.layer1(self._stem(backbone_input)),
            "layer2": trunk.layer2(states["layer1"]),
            "layer4": trunk.layer4(states["layer3"]),
        }
        return self._unexplained(answers, states, streams)

    def together(self, lightness: Tensor, target: Tensor) -> dict[str, Tensor]:
        """The same where every layer gets the student's own answers, and that of the colours ab/128 (B, 2, H, W)."""
        encoder_input, backbone_input = self.student.preprocessing(lightness)
        streams, states = self._streams(backbone_input)
        trunk: Any = self.student.backbone
        answers = {"layer1": trunk.layer1(self._stem(backbone_input))}
        answers["layer2"] = trunk.layer2(answers["layer1"])
        with torch.no_grad():
            deep = trunk.layer3(answers["layer2"])
        answers["layer4"] = trunk.layer4(deep)
        *skips, encoded = self.student.encoder(encoder_input)
        colors = self.student.decoder(self.student.fusion(encoded, answers["layer4"]), skips[::-1])
        return self._unexplained(answers, states, streams) | {"colors": unexplained(colors, target)}

    def _stem(self, backbone_input: Tensor) -> Tensor:
        trunk: Any = self.student.backbone
        stem: Tensor = trunk.maxpool(trunk.relu(trunk.bn1(trunk.conv1(backbone_input))))
        return stem

    def _unexplained(
        self, answers: dict[str, Tensor], states: dict[str, Tensor], streams: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        parts = {}
        for name, answer in answers.items():
            if name in self.ends:
                channels = self.ends[name].channels
                parts[name] = unexplained(answer[:, channels], states[name][:, channels])
            else:
                parts[name] = unexplained(answer[:, : self.teacher.config.backbone.width], streams[name])
        return parts

    def train(self, mode: bool = True) -> "Distillation":
        """The teacher never trains, and neither does layer3."""
        super().train(mode)
        self.teacher.eval()
        self.student.backbone.get_submodule("layer3").eval()
        return self

    @torch.no_grad()
    def _streams(self, x: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """What the teacher's streams are where layers end, and the same as the student would hold them."""
        ends = {feature: name for name, feature in STAGE_ENDS.items()}
        streams = {}
        for index, feature in enumerate(self.teacher.backbone):
            x = feature(x)
            if index in ends:
                streams[ends[index]] = x
        return streams, {name: slot.state(streams[name], _WIDTHS[name]) for name, slot in self.ends.items()}


def unexplained(predicted: Tensor, target: Tensor) -> Tensor:
    """Squared error over the target's variance about its channels' means; both (B, C, H, W), the result a scalar."""
    predicted, target = predicted.float(), target.float()
    spread = target - target.mean(dim=(0, 2, 3), keepdim=True)
    return (predicted - target).square().sum() / spread.square().sum()


def grow(teacher: Path, photos: Path, out: Path, photographs: int, seed: int) -> CheckpointConfig:
    """Writes to `out` a ResNet-101 model made of the MobileNetV2 model in the folder `teacher`: where to begin from.

    Raises:
        CheckpointError: There is no such model.
        ExistingModelError: There is a model in `out`.
        NoPhotosError: The folder `photos` holds no photographs.
    """
    if (out / CONFIG_FILE).exists():
        raise ExistingModelError(f"there is a model in {out} already: name another folder")
    source = Checkpoint.load(teacher, BackboneName.MOBILENET_V2)
    photo_set = open_photos(photos)
    selection = select(photo_set, out / SELECTION_FILE)
    batches = iter(training_batches(photo_set, selection.train, BATCH_SIZE, seed, 0, FILM_SHARE))
    sample = torch.cat([next(batches)[1] for _ in range(SAMPLE_BATCHES)])
    torch.manual_seed(seed)
    student = Colorizer(replace(source.config.network, backbone=BackboneName.RESNET101))
    ends = transplant(source.colorizer, student, sample)
    steps = photographs // (2 * BATCH_SIZE)
    distill(Distillation(source.colorizer, student, ends), batches, apart=steps, together=steps)
    provenance = {"transplanted_from": source.config.tag, "photos_seen": photographs, "seed": seed}
    return save_checkpoint(student, out, source.config.version, provenance)


def distill(distillation: Distillation, batches: Iterator[tuple[Tensor, Tensor]], apart: int, together: int) -> None:
    """Trains everything of the student but layer3 on batches of `TrainingCrops`, so many steps apart and together."""
    student = distillation.student
    new = [p for name, p in student.backbone.named_parameters() if name.startswith(("conv1.", "bn1.", "layer1."))]
    old = [p for name, p in student.backbone.named_parameters() if name.startswith(("layer2.", "layer4."))]
    old += [p for name, p in student.named_parameters() if not name.startswith("backbone.")]
    groups = [{"params": new, "initial_lr": NEW_RATE}, {"params": old, "initial_lr": TRANSPLANTED_RATE}]
    for phase, steps, window in (("apart", apart, WINDOW_APART), ("together", together, WINDOW_TOGETHER)):
        optimizer = torch.optim.AdamW([dict(group) for group in groups])
        distillation.train().to(memory_format=torch.channels_last)
        with tqdm(itertools.islice(batches, steps), total=steps, unit="step", desc=phase) as bar:
            for step, (rgb, lightness) in enumerate(bar):
                for group in optimizer.param_groups:
                    group["lr"] = group["initial_lr"] * learning_rate_factor(step / steps, WARM_UP)
                top, left = torch.randint(INPUT_SIZE - window + 1, (2,)).tolist()
                place = (..., slice(top, top + window), slice(left, left + window))
                seen = lightness[place].contiguous(memory_format=torch.channels_last)
                with torch.autocast("cpu", torch.bfloat16):
                    if phase == "apart":
                        parts = distillation.apart(seen)
                    else:
                        parts = distillation.together(seen, split_lab(rgb[place])[1])
                optimizer.zero_grad()
                torch.stack(list(parts.values())).sum().backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                bar.set_postfix({name: f"{part.item():.3f}" for name, part in parts.items()})
