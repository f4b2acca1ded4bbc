"""A run small enough for tests, and something for it to learn."""

from typing import Any

import torch
from torch import Tensor

from service.network.backbones import BackboneName
from service.network.colorizer import ColorizerConfig
from training.quantization import color_histogram
from training.recipe import Recipe
from training.run import Run

TINY = ColorizerConfig(BackboneName.MOBILENET_V2, (4, 8, 8, 8, 8), 8, (8, 8, 4, 4))


def tiny_recipe(**changes: Any) -> Recipe:
    """Three steps of four small windows, if not said otherwise."""
    return Recipe.model_validate({"photographs": 12, "batch_size": 4, "crop_size": 32} | changes)


def tiny_run(seed: int = 0, **changes: Any) -> Run:
    """A run at its beginning; `changes` to the recipe."""
    colors = torch.rand(4, 2, 64, 64, generator=torch.Generator().manual_seed(0)) - 0.5
    return Run(TINY, tiny_recipe(**changes), seed, color_histogram(colors))


def batch(count: int = 4) -> tuple[Tensor, Tensor]:
    """Pictures of one random colour each, darker to the right: uint8 sRGB (B, 3, 224, 224), L* (B, 1, 224, 224)."""
    colors = torch.rand(count, 3, 1, 1, generator=torch.Generator().manual_seed(1))
    rgb = (colors * torch.linspace(255, 100, 224)).expand(count, 3, 224, 224).to(torch.uint8)
    return rgb, rgb.float().mean(dim=1, keepdim=True) / 2.55
