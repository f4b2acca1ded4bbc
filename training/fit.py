"""Fits a colorizer to a folder of photographs within a given time, resumable at any moment."""

import json
import logging
import math
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event
from typing import Any, cast

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from service.network.backbones import BackboneName, load_imagenet_weights
from service.network.colorizer import Colorizer, ColorizerConfig
from training.data import find_photos, split_lab, training_batches
from training.errors import OtherRunError
from training.losses import mse

logger = logging.getLogger(__name__)

CHECKPOINT_FILE = "checkpoint.pt"
LOG_FILE = "log.jsonl"
SAVE_EVERY_S = 180.0


@dataclass(frozen=True)
class Recipe:
    """The hyperparameters of one run; stored with its checkpoints and in the model's config."""

    seed: int = 0
    batch_size: int = 16
    learning_rate: float = 8e-4
    # The trunk already knows ImageNet; it is bent, not broken.
    backbone_learning_rate: float = 8e-5
    weight_decay: float = 1e-2
    warm_up: float = 0.03  # share of the run
    clip_norm: float = 1.0
    ema_decay: float = 0.998


class Run:
    """One training run: network, averaged network, optimizer, and how far it has come."""

    def __init__(self, config: ColorizerConfig, recipe: Recipe) -> None:
        torch.manual_seed(recipe.seed)
        self.config = config
        self.recipe = recipe
        self.seconds = 0.0
        self.photos_seen = 0
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        # Processors without it emulate bfloat16, slowly. (There is no public name for the question in all of the torch
        # versions permitted.)
        self.bfloat16 = self.device == "cuda" or torch.cpu._is_avx512_bf16_supported()
        self.model = Colorizer(config).to(memory_format=torch.channels_last).to(self.device)
        average = get_ema_multi_avg_fn(recipe.ema_decay)  # type: ignore[no-untyped-call]
        self.ema = AveragedModel(self.model, multi_avg_fn=average, use_buffers=True)
        self.optimizer = torch.optim.AdamW(self._parameter_groups())

    def _parameter_groups(self) -> list[dict[str, Any]]:
        """Four groups: trunk or not, decayed (matrices) or not (biases and norms)."""
        groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
        for name, parameter in self.model.named_parameters():
            groups.setdefault((name.startswith("backbone."), parameter.ndim > 1), []).append(parameter)
        return [
            {
                "params": parameters,
                "initial_lr": self.recipe.backbone_learning_rate if in_backbone else self.recipe.learning_rate,
                "weight_decay": self.recipe.weight_decay if decayed else 0.0,
            }
            for (in_backbone, decayed), parameters in groups.items()
        ]

    def step(self, rgb: torch.Tensor, progress: float) -> float:
        """One optimizer step on uint8 sRGB (B, 3, 224, 224) at `progress` in [0, 1]; returns the loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * learning_rate_factor(progress, self.recipe.warm_up)
        lightness, target = split_lab(rgb.to(self.device))
        self.model.train()
        with torch.autocast(self.device, torch.bfloat16, enabled=self.bfloat16):
            predicted = self.model(lightness.to(memory_format=torch.channels_last))
        loss = mse(predicted.float(), target)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip_norm)
        self.optimizer.step()
        self.ema.update_parameters(self.model)
        self.photos_seen += len(rgb)
        return loss.item()

    def averaged(self) -> Colorizer:
        """The network with its averaged weights: what is worth keeping."""
        return cast(Colorizer, self.ema.module)

    def save(self, file: Path) -> None:
        """Writes everything needed to go on; the old file is replaced only by a whole new one."""
        state = {
            "config": asdict(self.config),
            "recipe": asdict(self.recipe),
            "seconds": self.seconds,
            "photos_seen": self.photos_seen,
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "rng": torch.get_rng_state(),
        }
        partial = file.with_suffix(".partial")
        with partial.open("wb") as stream:
            torch.save(state, stream)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(file)

    @classmethod
    def load(cls, file: Path) -> "Run":
        """Reads what `save` wrote; the file cannot run code (weights_only)."""
        with torch.serialization.safe_globals([BackboneName]):
            state = torch.load(file, map_location="cpu", weights_only=True)
        run = cls(ColorizerConfig(**state["config"]), Recipe(**state["recipe"]))
        run.seconds, run.photos_seen = state["seconds"], state["photos_seen"]
        run.model.load_state_dict(state["model"])
        run.ema.load_state_dict(state["ema"])
        run.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["rng"])
        return run


def learning_rate_factor(progress: float, warm_up: float) -> float:
    """Linear warm-up, then half a cosine down to zero; `progress` in [0, 1]."""
    if progress < warm_up:
        return progress / warm_up
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (progress - warm_up) / (1 - warm_up))))


def fit(
    backbone: BackboneName, photos: Path, backbone_weights: Path | None, minutes: float, out: Path, seed: int
) -> Run:
    """Trains until `minutes` of training time are used, those of earlier, interrupted calls counted in.

    Writes `out`/checkpoint.pt every three minutes, on SIGTERM and at the end, and a line of loss to
    `out`/log.jsonl with every save. Called again with the same `out`, it goes on where the last one was saved.

    Raises:
        NoPhotosError: The folder holds no photographs.
        BackboneWeightsError: No ImageNet weights for the trunk.
        OtherRunError: `out` holds a run with another backbone or seed.
    """
    files = find_photos(photos)
    out.mkdir(parents=True, exist_ok=True)
    checkpoint = out / CHECKPOINT_FILE
    if checkpoint.exists():
        run = Run.load(checkpoint)
        if (run.config.backbone, run.recipe.seed) != (backbone, seed):
            raise OtherRunError(f"{out} holds a run of {run.config.backbone} with seed {run.recipe.seed}: name another")
        logger.info("resuming at %.1f minutes, %d photographs seen", run.seconds / 60, run.photos_seen)
    else:
        run = Run(ColorizerConfig(backbone), Recipe(seed=seed))
        load_imagenet_weights(run.model.backbone, backbone, backbone_weights)
    batches = iter(training_batches(files, run.recipe.batch_size, run.recipe.seed, run.photos_seen))
    budget = minutes * 60
    losses: list[float] = []
    last_save = run.seconds

    def save() -> None:
        run.save(checkpoint)
        _log(out / LOG_FILE, run, losses)

    bar = tqdm(total=round(budget), initial=round(run.seconds), unit="s", bar_format=_BAR)
    with bar, _stop_requests() as stop:
        while run.seconds < budget and not stop.is_set():
            started = time.monotonic()
            losses.append(run.step(next(batches), run.seconds / budget))
            run.seconds += time.monotonic() - started
            bar.n = min(round(budget), round(run.seconds))
            bar.set_postfix_str(f"{run.photos_seen} photographs, loss {sum(losses) / len(losses):.5f}")
            if run.seconds - last_save > SAVE_EVERY_S:
                save()
                losses, last_save = [], run.seconds
        if losses:
            save()
    return run


_BAR = "{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} s [{elapsed}<{remaining}] {postfix}"


def _log(file: Path, run: Run, losses: list[float]) -> None:
    entry = {"minutes": run.seconds / 60, "photos_seen": run.photos_seen, "loss": sum(losses) / len(losses)}
    with file.open("a") as stream:
        stream.write(json.dumps(entry) + "\n")


@contextmanager
def _stop_requests() -> Iterator[Event]:
    """Set by SIGTERM and Ctrl-C, which end the run after the step in hand, with a checkpoint."""
    requested = Event()
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, lambda _number, _frame: requested.set()) for number in numbers]
    try:
        yield requested
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
