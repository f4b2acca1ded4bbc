"""One transplanted ResNet-101 while its layers learn: everything that changes, and its file."""

import random
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from service.network.backbones import BackboneName
from service.network.checkpoint import Checkpoint
from service.network.colorizer import Colorizer
from training.errors import OtherRunError
from training.fit.hints import simulate_hints
from training.fit.precision import computes_in_bfloat16, keep_float32
from training.fit.resume import write_checkpoint
from training.fit.run import learning_rate_factor, read_config
from training.photos.crops import split_lab
from training.transplant.distillation import Distillation
from training.transplant.units import Slot

# The stem and layer1 learn from nothing, the decoder and its like know their work, the rest needs mending.
NEW_RATE = 2e-3
TRANSPLANTED_RATE = 3e-4
WARM_UP = 0.03
"""Share of a phase."""

HINT_SHARE = 0.5
"""Share of the crops that come with hints, where the network takes them, as in Zhang et al. 2017."""


@dataclass(frozen=True)
class Curriculum:
    """What a student's layers are taught with: so many crops apart, then as many together."""

    photographs: int = 45_000
    """Crops of both phases; what is more than two equal numbers of whole batches is left out."""
    batch_size: int = 16
    # Half of what is to be learned is the stem's and layer1's, which see detail only.
    side_apart: int = 128
    """Of the crops of the first phase, in pixels; a multiple of 32."""
    side_together: int = 160
    film_share: float = 0.3
    """Share of the crops whose lightness is what old film would have recorded."""

    @property
    def phase(self) -> int:
        """Crops of one phase."""
        return self.photographs // (2 * self.batch_size) * self.batch_size

    def side(self, position: int) -> int:
        """Of the crop at that position of the stream, in pixels; the same for all of a batch."""
        return self.side_apart if position < self.phase else self.side_together


class DistillationRun:
    """Teacher, student, optimizer, and how far the run has come.

    The random numbers of a step depend on the seed and on the crops seen before it, on nothing else.
    """

    def __init__(
        self, teacher: Checkpoint, student: Colorizer, ends: dict[str, Slot], curriculum: Curriculum, seed: int
    ) -> None:
        """`ends`: what training.transplant.surgery returned for these two. Neither is to be used by others any more."""
        self.teacher_tag = teacher.config.tag
        self.student = student
        self.ends = ends
        self.curriculum = curriculum
        self.seed = seed
        self.seconds = 0.0
        self.photos_seen = 0
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        # See training.fit.run.
        self.bfloat16 = computes_in_bfloat16(self.device)
        if self.bfloat16 and self.device == "cpu":
            keep_float32(teacher.colorizer)
        distillation = Distillation(teacher.colorizer, student, ends)
        self.distillation = distillation.to(memory_format=torch.channels_last).to(self.device)
        self.optimizer = self._new_optimizer()

    def _new_optimizer(self) -> torch.optim.AdamW:
        """Two groups: what begins as noise, and what was transplanted. layer3 is in neither."""
        new: list[nn.Parameter] = []
        old: list[nn.Parameter] = []
        for name, parameter in self.student.named_parameters():
            if parameter.requires_grad:
                noise = name.startswith(("backbone.conv1.", "backbone.bn1.", "backbone.layer1."))
                (new if noise else old).append(parameter)
        groups = [{"params": new, "initial_lr": NEW_RATE}, {"params": old, "initial_lr": TRANSPLANTED_RATE}]
        return torch.optim.AdamW(groups, fused=True)

    def step(self, rgb: torch.Tensor, lightness: torch.Tensor) -> dict[str, float]:
        """One optimizer step on uint8 sRGB (B, 3, H, W) seen as L* (B, 1, H, W); returns what was minimised, by name.

        Each of the two phases has a schedule of its own, and the second begins with a new optimizer.
        """
        rng = random.Random(f"step {self.seed}-{self.photos_seen}")
        torch.manual_seed(rng.getrandbits(60))
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * self._rate_factor
        lightness = lightness.to(self.device, memory_format=torch.channels_last)
        self.distillation.train()
        with torch.autocast(self.device, torch.bfloat16, enabled=self.bfloat16):
            if self.phase_name == "apart":
                parts = self.distillation.apart(lightness)
            else:
                _, target = split_lab(rgb.to(self.device))
                hints = None
                if self.student.config.hints:
                    hints = simulate_hints(target, HINT_SHARE, rng.getrandbits(60))
                parts = self.distillation.together(lightness, target, hints)
        self.optimizer.zero_grad()
        torch.stack(list(parts.values())).sum().backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.photos_seen += len(rgb)
        if self.photos_seen == self.curriculum.phase:
            self.optimizer = self._new_optimizer()
        return {name: part.item() for name, part in parts.items()}

    @property
    def phase_name(self) -> str:
        """Whether the layers learn `apart` or `together` at the next step."""
        return "apart" if self.photos_seen < self.curriculum.phase else "together"

    @property
    def _rate_factor(self) -> float:
        return learning_rate_factor(self.photos_seen % self.curriculum.phase / self.curriculum.phase, WARM_UP)

    @property
    def learning_rate(self) -> float:
        """Of what was transplanted, at the next step; 0 at the end."""
        return 0.0 if self.finished else TRANSPLANTED_RATE * self._rate_factor

    @property
    def finished(self) -> bool:
        """Whether all crops of both phases were seen."""
        return self.photos_seen >= 2 * self.curriculum.phase

    def save(self, file: Path) -> None:
        """Writes everything needed to go on but the teacher; the old file is replaced only by a whole new one."""
        state = {
            "transplanted_from": self.teacher_tag,
            "config": asdict(self.student.config),
            "ends": {name: asdict(slot) for name, slot in self.ends.items()},
            "curriculum": asdict(self.curriculum),
            "seed": self.seed,
            "seconds": self.seconds,
            "photos_seen": self.photos_seen,
            "student": self.student.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        write_checkpoint(state, file)

    @classmethod
    def load(cls, file: Path, teacher: Checkpoint, curriculum: Curriculum, seed: int) -> "DistillationRun":
        """Reads what `save` wrote; the file cannot run code (weights_only).

        Raises:
            OtherRunError: It holds another kind of run, or one with another teacher, curriculum or seed.
        """
        with torch.serialization.safe_globals([BackboneName]):
            state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
        if "transplanted_from" not in state:
            raise OtherRunError(f"{file.parent} holds a run that is no transplant's: name another folder")
        begun_with = Curriculum(**state["curriculum"])
        if (state["transplanted_from"], begun_with, state["seed"]) != (teacher.config.tag, curriculum, seed):
            raise OtherRunError(
                f"{file.parent} holds a transplant from {state['transplanted_from']} with seed {state['seed']} and "
                f"{begun_with}: name another folder, or go on with these"
            )
        student = Colorizer(read_config(file, state["config"]))
        ends = {name: Slot(**slot) for name, slot in state["ends"].items()}
        run = cls(teacher, student, ends, curriculum, seed)
        run.seconds, run.photos_seen = state["seconds"], state["photos_seen"]
        run.student.load_state_dict(state["student"])
        run.optimizer.load_state_dict(state["optimizer"])
        return run
