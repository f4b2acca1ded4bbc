import pytest
import torch
from torch import Tensor, nn

from tests.unit.training.transplant.networks import FULL, PUBLISHED, Pair, make_pair


@pytest.fixture(scope="session")
def lightness() -> Tensor:
    """L* (12, 1, 96, 96)."""
    coarse = torch.rand(12, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    return nn.functional.interpolate(coarse, size=(96, 96), mode="bicubic").clamp(0, 1) * 100


@pytest.fixture(scope="session")
def pair(lightness: Tensor) -> Pair:
    """Fused at every scale, with hints and confidence. Do not change their weights: they are shared."""
    return make_pair(FULL, lightness)


@pytest.fixture(scope="session")
def published_pair(lightness: Tensor) -> Pair:
    """The published network's. Do not change their weights: they are shared."""
    return make_pair(PUBLISHED, lightness)
