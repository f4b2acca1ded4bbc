"""A handful of coloured photographs on disk."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from service.network.backbones import BackboneName, build_backbone


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six pictures of different shapes and colours: sky above, grass below."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for index in range(6):
        height, width = (260, 300) if index % 2 else (300, 260)
        pixels = np.empty((height, width, 3), np.uint8)
        pixels[: height // 2] = (90, 140 + 10 * index, 220)
        pixels[height // 2 :] = (80 + 10 * index, 160, 60)
        noisy = (pixels + rng.normal(0, 12, pixels.shape)).clip(0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(folder / f"{index}.{'png' if index else 'jpg'}")
    (folder / "notes.txt").write_text("not a photograph")
    return folder


@pytest.fixture(scope="session")
def trunk_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights for the trunk: random ones, standing in for ImageNet's."""
    torch.manual_seed(0)
    file = tmp_path_factory.mktemp("weights") / "trunk.safetensors"
    save_file(build_backbone(BackboneName.MOBILENET_V2).state_dict(), file)
    return file
