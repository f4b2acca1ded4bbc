"""A run small enough for tests, and something for it to learn."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from service.network.backbones import BackboneName
from service.network.colorizer import ColorizerConfig
from training.fit.quantization import color_histogram
from training.fit.recipe import Recipe
from training.fit.run import Run

TINY = ColorizerConfig(BackboneName.MOBILENET_V2, (4, 8, 8, 8, 8), 8, (8, 8, 4, 4))


def tiny_recipe(**changes: Any) -> Recipe:
    """Three steps of four small windows, if not said otherwise."""
    return Recipe.model_validate({"photographs": 12, "batch_size": 4, "crop_sizes": [{"side": 32}]} | changes)


def tiny_run(seed: int = 0, **changes: Any) -> Run:
    """A run at its beginning; `changes` to the recipe."""
    colors = torch.rand(4, 2, 64, 64, generator=torch.Generator().manual_seed(0)) - 0.5
    recipe = tiny_recipe(**changes)
    network = recipe.network(TINY.backbone)
    config = replace(TINY, fusion_strides=network.fusion_strides, hints=network.hints, confidence=network.confidence)
    return Run(config, recipe, seed, color_histogram(colors))


def batch(count: int = 4) -> tuple[Tensor, Tensor]:
    """Pictures of one random colour each, darker to the right: uint8 sRGB (B, 3, 32, 32), L* (B, 1, 32, 32)."""
    colors = torch.rand(count, 3, 1, 1, generator=torch.Generator().manual_seed(1))
    rgb = (colors * torch.linspace(255, 100, 32)).expand(count, 3, 32, 32).to(torch.uint8)
    return rgb, rgb.float().mean(dim=1, keepdim=True) / 2.55
