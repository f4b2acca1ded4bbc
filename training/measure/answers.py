"""The answers that are measured: every model of a store, the blend of two, and those that need no network."""

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from service.imaging.recompose import recompose
from service.network.backbones import BackboneName
from service.network.checkpoint import CONFIG_FILE, Checkpoint
from service.network.chroma import ChromaMap, Uncalibrated
from service.network.colorizer import Colorizer
from service.network.decoder import Prediction
from training.errors import NoModelsError

UNCALIBRATED = "uncalibrated"
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


def with_calibration(colorizer: Colorizer, calibration: nn.Module) -> Colorizer:
    """The same network, its weights shared, with another calibration: any module called like a `ChromaMap`."""
    other = copy(colorizer)
    # Its own dict of submodules: assigning the attribute would change the other network, too.
    other._modules = colorizer._modules | {"calibration": calibration}
    other.config = replace(colorizer.config, calibrated=isinstance(calibration, ChromaMap))
    return other


def deliver(lightness: Tensor, ab: Tensor) -> Tensor:
    """The pictures as the service would deliver them, gamut handling and rounding included.

    L* (B, 1, H, W), a* and b* (B, 2, H, W) → uint8 sRGB (B, 3, H, W).
    """
    pairs = zip(lightness, ab, strict=True)
    return torch.stack([recompose(one_lightness[0], one_ab).permute(2, 0, 1) for one_lightness, one_ab in pairs])


class Answers:
    """Answers L* with the a* and b* of every row of the evaluation; `colorizers` are named by row."""

    def __init__(self, colorizers: Mapping[str, Colorizer], constant: Tensor | None = None) -> None:
        """`constant`: the a* and b* that the row `constant_mean` answers everywhere, (1, 2, 1, 1); None: no such row.

        Colorizers of which `with_calibration` made one of the other are asked together.
        """
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
        """L* (B, 1, H, W) → a*, b* (B, 2, H, W) by row, each network asked once.

        Rows: each model as served; where that is calibrated, also without; `blend`, the mean of both
        variants, where the store holds one model of each and nothing else; `grey`; `constant_mean`.
        """
        rows: dict[str, Tensor] = {}
        asked: dict[nn.Module, Prediction] = {}
        for name, colorizer in self.colorizers.items():
            if colorizer.decoder not in asked:
                asked[colorizer.decoder] = colorizer(lightness)
            prediction, calibration = asked[colorizer.decoder], colorizer.calibration
            rows[name] = calibration(prediction.raw, prediction.expected_error, lightness)
            if not isinstance(calibration, Uncalibrated):
                rows[f"{name} {UNCALIBRATED}"] = prediction.raw
        if self.blended:
            rows[BLEND] = torch.stack([rows[name] for name in self.colorizers]).mean(dim=0)
        rows[GREY] = lightness.new_zeros(len(lightness), 2, *lightness.shape[2:])
        if self.constant is not None:
            rows[CONSTANT_MEAN] = rows[GREY] + self.constant
        return rows
