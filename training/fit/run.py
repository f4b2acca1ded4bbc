"""One training run: everything that changes while a network learns, and its file."""

import math
import random
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from service.network.backbones import BackboneName
from service.network.colorizer import Colorizer, ColorizerConfig
from training.errors import OtherRunError
from training.fit import losses
from training.fit.folding import fold_batch_norms
from training.fit.hints import simulate_hints
from training.fit.precision import computes_in_bfloat16, keep_float32
from training.fit.processes import ALONE, Processes
from training.fit.quantization import QuantizedColorizer, Rarity
from training.fit.recipe import PERCEPTUAL_LAYERS, LossName, Recipe
from training.fit.resume import write_checkpoint
from training.photos.crops import split_lab

CHECKPOINT_FILE = "checkpoint.pt"

VALIDATION_BATCH = 16

PERCEPTUAL_WEIGHT = 0.1


class Run:
    """Network, averaged network, optimizer, and how far the run has come.

    The random numbers of a step depend on the seed and on the photographs seen before it, on nothing else: two runs
    with the same steps have the same weights, however often they were interrupted.
    """

    def __init__(
        self,
        config: ColorizerConfig,
        recipe: Recipe,
        seed: int,
        histogram: Tensor,
        provenance: dict[str, Any] | None = None,
    ) -> None:
        """`histogram`: `color_histogram` over a sample of the training photographs.

        `provenance`: what an exported model says beside recipe, seed and duration about where it comes from; JSON.
        """
        torch.manual_seed(seed)
        self.config = config
        self.recipe = recipe
        self.seed = seed
        self.histogram = histogram
        self.provenance = provenance or {}
        self.seconds = 0.0
        self.photos_seen = 0
        self.best_loss = math.inf
        self.validations_since_best = 0
        self.best_weights: dict[str, Tensor] = {}
        self.processes = ALONE
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.bfloat16 = computes_in_bfloat16(self.device)
        network = QuantizedColorizer if recipe.loss is LossName.CLASSIFICATION else Colorizer
        self.model = network(config).to(memory_format=torch.channels_last).to(self.device)
        frozen = recipe.frozen_layers if recipe.backbone_learning_rate else len(self.model.backbone)
        self.model.backbone[:frozen].requires_grad_(False)
        self.learner: nn.Module = self.model
        self.loss = self._loss(Rarity(histogram).to(self.device))
        average = get_ema_multi_avg_fn(recipe.ema_decay)  # type: ignore[no-untyped-call]
        self.ema = AveragedModel(self.model, multi_avg_fn=average, use_buffers=True)
        # After the average was copied from it: that is the network as it is, in float32 throughout.
        fold_batch_norms(self.model.backbone)
        if self.bfloat16 and self.device == "cpu":
            keep_float32(self.model)
        confidence = [p for name, p in self.model.named_parameters() if name.startswith("decoder.confidence.")]
        colors = [p for name, p in self.model.named_parameters() if not name.startswith("decoder.confidence.")]
        self._clipped_together = [colors, confidence]
        self.optimizer = torch.optim.AdamW(self._parameter_groups(), fused=True)

    def _loss(self, rarity: Rarity) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
        """A function of L*, the predicted and the true ab/128."""
        match self.recipe.loss:
            case LossName.MSE:
                return lambda _, *ab: losses.mse(*ab)
            case LossName.SMOOTH_L1:
                return lambda _, *ab: losses.smooth_l1(*ab)
            case LossName.RARITY:
                return lambda _, predicted, true: losses.rarity_weighted_mse(predicted, true, rarity)
            case LossName.MOMENTS:
                return lambda _, *ab: losses.moments(*ab)
            case LossName.DISTANCE:
                return lambda _, *ab: losses.distance(*ab)
            case LossName.DISTANCE_MOMENTS:
                return lambda _, *ab: losses.distance_moments(*ab)
            case LossName.DISTANCE_CHROMA:
                return lambda _, *ab: losses.distance_chroma(*ab)
            case LossName.PERCEPTUAL:
                layers = list(self.model.backbone[:PERCEPTUAL_LAYERS])
                perceptual = losses.Perceptual(layers, self.bfloat16).to(self.device)
                return lambda lightness, *ab: losses.distance(*ab) + PERCEPTUAL_WEIGHT * perceptual(lightness, *ab)
            case LossName.CLASSIFICATION:
                network = cast(QuantizedColorizer, self.model)
                return lambda _, logits, true: network.classification_loss(logits, true, rarity)

    def _parameter_groups(self) -> list[dict[str, Any]]:
        """Four groups: trunk or not, decayed (matrices) or not (biases and norms)."""
        groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                groups.setdefault((name.startswith("backbone."), parameter.ndim > 1), []).append(parameter)
        return [
            {
                "params": parameters,
                "initial_lr": self.recipe.backbone_learning_rate if in_backbone else self.recipe.learning_rate,
                "weight_decay": self.recipe.weight_decay if decayed else 0.0,
            }
            for (in_backbone, decayed), parameters in groups.items()
        ]

    def start_from(self, colorizer: Colorizer) -> None:
        """Takes over the weights of another colorizer; what this network has and that one lacks stays as it is."""
        weights = {name: tensor for name, tensor in colorizer.state_dict().items() if name in self.model.state_dict()}
        self.model.load_state_dict(weights, strict=False)

    def distribute(self, processes: Processes) -> None:
        """Makes this one of several copies of the run that learn together, each from its part of every batch.

        To be called in all of the processes, once the weights are those to start or to go on from.
        """
        self.processes = processes
        self.learner = processes.wrap(self.model)

    def step(self, rgb: Tensor, lightness: Tensor) -> float:
        """One optimizer step on uint8 sRGB (B, 3, H, W) seen as L* (B, 1, H, W); returns the loss of the colours.

        Of several processes every one is given its part of the batch; the loss is the whole batch's.
        """
        rng = random.Random(f"step {self.seed}-{self.photos_seen}")
        torch.manual_seed(rng.getrandbits(60) + self.processes.rank)
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * learning_rate_factor(self.progress, self.recipe.warm_up)
        lightness = lightness.to(self.device, memory_format=torch.channels_last)
        _, target = split_lab(rgb.to(self.device))
        hints = None
        if self.recipe.hint_share:
            hint_seed = rng.getrandbits(60) + self.processes.rank
            hints = simulate_hints(target, self.recipe.hint_share, hint_seed)
        self.model.train()
        # A batch says too little of what ImageNet said enough of: its statistics stay as they are.
        self.model.backbone.eval()
        with torch.autocast(self.device, torch.bfloat16, enabled=self.bfloat16):
            predicted = self.learner(lightness, hints)
        loss = self.loss(lightness, predicted.ab.float(), target)
        color_loss = loss.item()
        if predicted.log_scale is not None:
            loss = loss + losses.laplace(predicted.log_scale.float(), predicted.ab.float(), target)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        # Apart, or a large gradient of the confidence would make the steps of the colours smaller.
        for parameters in self._clipped_together:
            nn.utils.clip_grad_norm_(parameters, self.recipe.clip_norm)
        self.optimizer.step()
        self.ema.update_parameters(self.model)
        self.photos_seen += len(rgb) * self.processes.count
        return self.processes.mean(color_loss)

    @property
    def learning_rate(self) -> float:
        """Of all but the trunk, at the next step."""
        return self.recipe.learning_rate * learning_rate_factor(self.progress, self.recipe.warm_up)

    @property
    def progress(self) -> float:
        """How much of the run is done, in [0, 1]."""
        return min(1.0, self.photos_seen / self.recipe.photographs)

    @property
    def finished(self) -> bool:
        """Whether all photographs were seen, or the validation loss has not fallen for as long as the recipe waits."""
        return self.progress == 1 or self._out_of_patience

    @property
    def _out_of_patience(self) -> bool:
        return 0 < self.recipe.patience <= self.validations_since_best

    @torch.inference_mode()
    def validation_loss(self, rgb: Tensor) -> float:
        """Mean squared error on ab/128 of the averaged network over uint8 sRGB (N, 3, 224, 224).

        The same whatever the recipe minimises, so that the curves of all recipes can be laid over each other.
        """
        colorizer = self.averaged().eval()
        total = 0.0
        for start in range(0, len(rgb), VALIDATION_BATCH):
            batch = rgb[start : start + VALIDATION_BATCH]
            lightness, target = split_lab(batch.to(self.device))
            predicted = colorizer(lightness.contiguous(memory_format=torch.channels_last))
            total += F.mse_loss(predicted.ab, target).item() * len(batch)
        return total / len(rgb)

    def judge(self, validation_loss: float) -> None:
        """Takes note of a validation; when patience is at an end, the averaged weights become those of the best."""
        if validation_loss < self.best_loss:
            self.best_loss, self.validations_since_best = validation_loss, 0
            if self.recipe.patience:
                self.best_weights = {name: tensor.clone() for name, tensor in self.averaged().state_dict().items()}
            return
        self.validations_since_best += 1
        if self._out_of_patience:
            self.averaged().load_state_dict(self.best_weights)

    def averaged(self) -> Colorizer:
        """The network with its averaged weights, on the device it is trained on: what is worth keeping."""
        return cast(Colorizer, self.ema.module)

    def save(self, file: Path) -> None:
        """Writes everything needed to go on; the old file is replaced only by a whole new one."""
        state = {
            "config": asdict(self.config),
            "recipe": self.recipe.model_dump(mode="json"),
            "seed": self.seed,
            "histogram": self.histogram,
            "provenance": self.provenance,
            "seconds": self.seconds,
            "photos_seen": self.photos_seen,
            "best_loss": self.best_loss,
            "validations_since_best": self.validations_since_best,
            "best_weights": self.best_weights,
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        write_checkpoint(state, file)

    @classmethod
    def load(cls, file: Path) -> "Run":
        """Reads what `save` wrote; the file cannot run code (weights_only).

        Raises:
            OtherRunError: It holds another kind of run.
        """
        with torch.serialization.safe_globals([BackboneName]):
            state = torch.load(file, map_location="cpu", weights_only=True)
        if "recipe" not in state:
            raise OtherRunError(f"{file.parent} holds a transplant: name another folder")
        config, recipe = read_config(file, state["config"]), Recipe.model_validate(state["recipe"])
        # Runs begun before there were validations say nothing of them.
        run = cls(config, recipe, state["seed"], state["histogram"], state.get("provenance"))
        run.seconds, run.photos_seen = state["seconds"], state["photos_seen"]
        run.best_loss = state.get("best_loss", math.inf)
        run.validations_since_best = state.get("validations_since_best", 0)
        run.best_weights = state.get("best_weights", {})
        run.model.load_state_dict(state["model"])
        run.ema.load_state_dict(state["ema"])
        run.optimizer.load_state_dict(state["optimizer"])
        return run


def read_config(file: Path, stored: dict[str, Any]) -> ColorizerConfig:
    """The network's configuration of a checkpoint.

    Raises:
        OtherRunError: It says what this version does not know.
    """
    try:
        return ColorizerConfig(**stored)
    except TypeError as error:
        raise OtherRunError(f"{file} is of another version, with other settings of networks: {error}") from error


def learning_rate_factor(progress: float, warm_up: float) -> float:
    """Linear warm-up, then half a cosine down to zero; `progress` in [0, 1]."""
    if progress < warm_up:
        return progress / warm_up
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (progress - warm_up) / (1 - warm_up))))
