"""The answers that are measured: every model of a store, the blend of two, and those that need no network."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from service.network.backbones import BackboneName
from service.network.checkpoint import CONFIG_FILE, Checkpoint
from service.network.colorizer import Colorizer
from service.network.preprocessing import AB_SCALE
from service.network.saturation import saturate
from training.errors import NoModelsError

WITHOUT_SATURATION = "without saturation"
BLEND = "blend"
GREY = "grey"
CONSTANT_MEAN = "constant_mean"


@dataclass(frozen=True)
class StoredModel:
    """A model and the folder it lies in."""

    folder: Path
    checkpoint: Checkpoint

    @property
    def name(self) -> str:
        """Backbone and tag, for instance `mobilenet_v2 1.0.0+9e8a3766f934`."""
        config = self.checkpoint.config
        return f"{config.network.backbone} {config.tag}"


def load_models(store: Path) -> list[StoredModel]:
    """Every model below a folder, sorted by path; all stay in memory, 35 MB for a MobileNetV2, 240 for a ResNet-101.

    Raises:
        NoModelsError: There are none, or two are the same.
        InvalidCheckpointError: One of them cannot be loaded.
    """
    models: dict[str, StoredModel] = {}
    for file in sorted(store.rglob(CONFIG_FILE)):
        model = StoredModel(file.parent, Checkpoint.load(file.parent))
        if model.name in models:
            raise NoModelsError(f"{models[model.name].folder} and {model.folder} hold the same model, {model.name}")
        models[model.name] = model
    if not models:
        raise NoModelsError(f"no model (a folder with {CONFIG_FILE}) below {store}")
    return list(models.values())


@torch.inference_mode()
def predict_raw(colorizer: Colorizer, lightness: Tensor) -> Tensor:
    """L* (B, 1, 224, 224) → a*, b* (B, 2, 224, 224), float32, without the calibrated saturation."""
    ab: Tensor = colorizer(lightness)
    return ab.float() * AB_SCALE


class Answers:
    """Answers L* with the a* and b* of every row of the evaluation; `colorizers` are named by row."""

    def __init__(self, colorizers: Mapping[str, Colorizer], constant: Tensor) -> None:
        """`constant`: the a* and b* that the row `constant_mean` answers everywhere, (1, 2, 1, 1)."""
        self.colorizers = colorizers
        self.constant = constant
        backbones = [colorizer.config.backbone for colorizer in colorizers.values()]
        self.blended = sorted(backbones) == sorted(BackboneName)

    @property
    def served(self) -> list[str]:
        """The rows of what a client gets, and of what he could get: the models and their blend."""
        return [*self.colorizers] + [BLEND] * self.blended

    @torch.inference_mode()
    def predict(self, lightness: Tensor) -> dict[str, Tensor]:
        """L* (B, 1, 224, 224) → a*, b* (B, 2, 224, 224) by row, each network asked once.

        Rows: each model as served; where that has a calibrated saturation, also without; `blend`, the mean of both
        variants, where the store holds one model of each and nothing else; `grey`; `constant_mean`.
        """
        rows: dict[str, Tensor] = {}
        for name, colorizer in self.colorizers.items():
            raw = predict_raw(colorizer, lightness)
            gain, exponent = colorizer.config.saturation_gain, colorizer.config.saturation_exponent
            rows[name] = saturate(raw, gain, exponent)
            if (gain, exponent) != (1, 0):
                rows[f"{name} {WITHOUT_SATURATION}"] = raw
        if self.blended:
            rows[BLEND] = torch.stack([rows[name] for name in self.colorizers]).mean(dim=0)
        grey = lightness.new_zeros(len(lightness), 2, *lightness.shape[2:])
        return rows | {GREY: grey, CONSTANT_MEAN: grey + self.constant}
