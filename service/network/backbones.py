"""The ImageNet trunks that know what is in the picture: torchvision's MobileNetV2 and ResNet-101."""

from collections import OrderedDict
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from urllib.error import URLError

import torchvision.models as models
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn


class BackboneName(StrEnum):
    """The trunks there are; the value names the folder in the model store."""

    MOBILENET_V2 = "mobilenet_v2"
    RESNET101 = "resnet101"

    @property
    def width(self) -> int:
        """Channels of the trunk's 7×7 output."""
        return self.widths[32]

    @property
    def widths(self) -> dict[int, int]:
        """Channels of the maps that can be fused, by stride."""
        return {stride: width for stride, (_, width) in _MAPS[self].items()}

    @property
    def float32_layers(self) -> int:
        """So many of the trunk's first layers cannot do with bfloat16's 8 bits.

        MobileNetV2's third has channels that hardly vary in ImageNet: batch norm subtracts 525 from them after it
        multiplied them by 34, and what is left of 8 bits then is noise.
        """
        return {BackboneName.MOBILENET_V2: 3, BackboneName.RESNET101: 0}[self]


# By stride: the last of the trunk's children that answers at it, and the channels of its answer.
_MAPS: dict[BackboneName, dict[int, tuple[int, int]]] = {
    BackboneName.MOBILENET_V2: {4: (3, 24), 8: (6, 32), 16: (13, 96), 32: (18, 1280)},
    BackboneName.RESNET101: {4: (4, 256), 8: (5, 512), 16: (6, 1024), 32: (7, 2048)},
}


class BackboneWeightsError(Exception):
    """ImageNet weights for a trunk are missing or do not fit it; the message says what to do."""


def build_backbone(name: BackboneName) -> nn.Sequential:
    """An untrained trunk: (B, 3, 224, 224), ImageNet-normalised → (B, `name.width`, 7, 7)."""
    if name is BackboneName.MOBILENET_V2:
        features: nn.Sequential = models.mobilenet_v2(weights=None).features
        return features
    resnet = models.resnet101(weights=None)
    # Everything before the pooling and the classifier, under torchvision's own names.
    return nn.Sequential(OrderedDict(list(resnet.named_children())[:-2]))


def trunk_maps(name: BackboneName, layers: Sequence[nn.Module], x: Tensor) -> dict[int, Tensor]:
    """What the trunk's last `layers` answer to `x` at every stride of `BackboneName.widths` that they have.

    `layers`: all of the trunk and its input, or those from some child on, before the first map, and the input of that.
    """
    strides = {child: stride for stride, (child, _) in _MAPS[name].items()}
    last = max(strides)
    maps = {}
    for child, layer in enumerate(layers, start=last + 1 - len(layers)):
        x = layer(x)
        if child in strides:
            maps[strides[child]] = x
    return maps


def load_imagenet_weights(backbone: nn.Sequential, name: BackboneName, file: Path | None) -> None:
    """Fills a trunk with ImageNet weights: from `file` (safetensors), else from torchvision's hub.

    The file's keys may be the trunk's own or those of torchvision's whole classifier.

    Raises:
        BackboneWeightsError: The file is missing, unreadable or does not fit, or the hub cannot be reached.
    """
    weights = _read_weights(name, file)
    trunk = {key.removeprefix("features."): value for key, value in weights.items()}
    trunk = {key: value for key, value in trunk.items() if not key.startswith(("classifier.", "fc."))}
    try:
        backbone.load_state_dict(trunk)
    except RuntimeError as error:
        raise BackboneWeightsError(
            f"the ImageNet weights from {file or 'the hub'} do not fit {name}: {error}"
        ) from error


def _read_weights(name: BackboneName, file: Path | None) -> dict[str, Tensor]:
    if file is not None:
        try:
            return load_file(file)
        except (OSError, SafetensorError) as error:
            raise BackboneWeightsError(
                f"cannot read ImageNet weights for {name} from {file}: {error}. "
                "Give a safetensors file of torchvision's state dict, or leave it out to download the weights."
            ) from error
    weights = {
        BackboneName.MOBILENET_V2: models.MobileNet_V2_Weights.IMAGENET1K_V1,
        BackboneName.RESNET101: models.ResNet101_Weights.IMAGENET1K_V1,
    }[name]
    try:
        state: dict[str, Tensor] = weights.get_state_dict(progress=False, check_hash=True)
    except (URLError, OSError) as error:
        raise BackboneWeightsError(
            f"cannot download ImageNet weights for {name} from {weights.url}: {error}. "
            "Where there is no network, convert them to safetensors elsewhere and give that file."
        ) from error
    return state
