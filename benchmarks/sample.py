"""The photographs: half to calibrate int8 with, half to see what a path does to the colours."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from service.imaging import color
from service.network.backbones import BackboneName
from training.photos.crops import CenterCrops
from training.photos.sets import open_photos

_PICTURES = Path(__file__).parent.parent / "docs" / "pictures"


@dataclass(frozen=True)
class Sample:
    """L* of photographs' middles, each (N, 1, 224, 224) in [0, 100], and where they are from."""

    calibration: Tensor
    measured: Tensor
    description: str


def read_sample(folder: Path | None, limit: int) -> Sample:
    """Reads at most `limit` photographs for each half, spread evenly over the folder's; None: the repository's own.

    The halves alternate: folders are sorted by source more often than not, and what int8 was calibrated on
    should resemble what it is measured on.

    Raises:
        NoPhotosError: There are none.
        UnreadablePhotoError: One of them cannot be read.
    """
    photos = open_photos(folder or _PICTURES)
    indices = [index for index in range(len(photos)) if folder is not None or _is_original(photos.name(index))]
    if len(indices) < 2:
        raise ValueError(f"{folder}: one photograph cannot both calibrate and be measured")
    chosen = (
        indices if len(indices) <= 2 * limit else [indices[i * len(indices) // (2 * limit)] for i in range(2 * limit)]
    )
    crops = CenterCrops(photos, chosen)
    lightness = torch.stack([color.rgb_to_lightness(crops[place].float() / 255) for place in range(len(crops))])
    calibration, measured = lightness[::2], lightness[1::2]
    source = "docs/pictures (historical, black-and-white)" if folder is None else str(folder)
    description = f"{len(calibration)} photographs of {source} calibrate int8, {len(measured)} others measure ΔE_ab"
    return Sample(calibration, measured, description)


def _is_original(name: str) -> bool:
    """Whether it is a photograph of docs/pictures, and not what a network made of it, nor a diagram."""
    stem, _, suffix = name.rpartition(".")
    return suffix == "jpg" and not stem.endswith(tuple(f"-{maker}" for maker in (*BackboneName, "blend")))
