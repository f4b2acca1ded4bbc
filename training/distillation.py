"""Teaches the layers of a transplanted ResNet-101 what MobileNetV2 answers there, each layer by itself.

Every layer gets what the teacher's stream is at its entry, so that none has to wait for the one before to be right, and
layer3, three quarters of the arithmetic, which the transplant made exact, is left out. Half of what is then left to do
is the stem's and layer1's, which see detail only, so small windows of the photographs serve.
"""

from collections.abc import Iterable
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
from training.data import training_batches
from training.errors import ExistingModelError
from training.fit import SELECTION_FILE
from training.photos import open_photos
from training.run import learning_rate_factor
from training.selection import select
from training.transplant import STAGE_ENDS, transplant
from training.units import Slot

WINDOW = 128
"""Side of the windows of the photographs that are looked at, in pixels."""

# The stem and layer1 learn from nothing; what was transplanted needs mending only.
NEW_RATE = 1e-3
TRANSPLANTED_RATE = 3e-4
WARM_UP = 0.03
BATCH_SIZE = 16
FILM_SHARE = 0.3
SAMPLE_BATCHES = 3


class Distillation(nn.Module):
    """The teacher's trunk beside the student's."""

    def __init__(self, teacher: Colorizer, student: Colorizer, ends: dict[str, Slot]) -> None:
        """`ends`: what training.transplant returned for these two."""
        super().__init__()
        self.teacher = teacher.requires_grad_(False)
        self.student = student
        self.ends = ends

    def forward(self, lightness: Tensor) -> dict[str, Tensor]:
        """L* (B, 1, H, W) → for each layer learning, the share of the teacher's variance it does not explain."""
        backbone_input = self.student.preprocessing(lightness)[1]
        streams = self._streams(backbone_input)
        trunk: Any = self.student.backbone  # torch does not know a module's children by name
        width = {"layer1": 256, "layer2": 512, "layer3": 1024}
        states = {name: slot.state(streams[name], width[name]) for name, slot in self.ends.items()}
        stem = trunk.maxpool(trunk.relu(trunk.bn1(trunk.conv1(backbone_input))))
        first, second = self.ends["layer1"].channels, self.ends["layer2"].channels
        answer = slice(0, self.teacher.config.backbone.width)
        return {
            "layer1": unexplained(trunk.layer1(stem)[:, first], states["layer1"][:, first]),
            "layer2": unexplained(trunk.layer2(states["layer1"])[:, second], states["layer2"][:, second]),
            "layer4": unexplained(trunk.layer4(states["layer3"])[:, answer], streams["layer4"]),
        }

    def train(self, mode: bool = True) -> "Distillation":
        """The teacher never trains."""
        super().train(mode)
        self.teacher.eval()
        return self

    @torch.no_grad()
    def _streams(self, x: Tensor) -> dict[str, Tensor]:
        ends = {feature: name for name, feature in STAGE_ENDS.items()}
        streams = {}
        for index, feature in enumerate(self.teacher.backbone):
            x = feature(x)
            if index in ends:
                streams[ends[index]] = x
        return streams


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
    distill(Distillation(source.colorizer, student, ends), batches, photographs // BATCH_SIZE)
    provenance = {"transplanted_from": source.config.tag, "photos_seen": photographs, "seed": seed}
    return save_checkpoint(student, out, source.config.version, provenance)


def distill(distillation: Distillation, batches: Iterable[tuple[Tensor, Tensor]], steps: int) -> None:
    """Trains the student's stem, layer1, layer2 and layer4 on batches of `TrainingCrops`."""
    trunk = distillation.student.backbone
    new = [parameter for name in ("conv1", "bn1", "layer1") for parameter in getattr(trunk, name).parameters()]
    mended = [parameter for name in ("layer2", "layer4") for parameter in getattr(trunk, name).parameters()]
    groups = [{"params": new, "initial_lr": NEW_RATE}, {"params": mended, "initial_lr": TRANSPLANTED_RATE}]
    optimizer = torch.optim.AdamW(groups)
    distillation.train().to(memory_format=torch.channels_last)
    with tqdm(zip(range(steps), batches, strict=False), total=steps, unit="step") as bar:
        for step, (_, lightness) in bar:
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * learning_rate_factor(step / steps, WARM_UP)
            top, left = torch.randint(INPUT_SIZE - WINDOW + 1, (2,)).tolist()
            window = lightness[:, :, top : top + WINDOW, left : left + WINDOW]
            with torch.autocast("cpu", torch.bfloat16):
                parts = distillation(window.contiguous(memory_format=torch.channels_last))
            optimizer.zero_grad()
            torch.stack(list(parts.values())).sum().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            bar.set_postfix({name: f"{part.item():.3f}" for name, part in parts.items()})
