"""What tests of several folders share: tiny networks, a model store made of them, photographs drawn here."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from starlette.testclient import TestClient

from service.app import create_app
from service.network.backbones import BackboneName
from service.network.checkpoint import save_checkpoint
from service.network.chroma import ChromaMap
from service.network.colorizer import Colorizer, ColorizerConfig
from service.settings import Settings
from tests.pictures import to_bytes
from tests.randomness import RANDOM_SEED


def pytest_report_header() -> str:
    return f"random cases: TEST_SEED={RANDOM_SEED} repeats them"


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


def build_colorizer(backbone: BackboneName, **changes: Any) -> Colorizer:
    """A colorizer with a narrow encoder and decoder and random weights that do colour; `changes` to its config."""
    torch.manual_seed(0)
    colorizer = Colorizer(ColorizerConfig(backbone, (4, 8, 8, 8, 8), 8, (8, 8, 4, 4), **changes))
    torch.nn.init.normal_(colorizer.decoder.head.weight, std=0.5)
    for name, parameter in colorizer.backbone.named_parameters():
        if name.endswith("bn3.weight"):  # or a hundred random residuals add up to a saturated tanh
            torch.nn.init.constant_(parameter, 0.1)
    return colorizer.eval()


def randomize(colorizer: Colorizer) -> None:
    """Gives a calibrated colorizer a map that changes every colour."""
    assert isinstance(colorizer.calibration, ChromaMap)
    torch.manual_seed(1)
    torch.nn.init.uniform_(colorizer.calibration.gains, 0.8, 1.6)
    torch.nn.init.uniform_(colorizer.calibration.ceilings, 20, 60)


@pytest.fixture(scope="session")
def mobilenet_colorizer() -> Colorizer:
    """Do not change its weights: it is shared."""
    return build_colorizer(BackboneName.MOBILENET_V2)


@pytest.fixture(scope="session")
def resnet_colorizer() -> Colorizer:
    """Do not change its weights: it is shared."""
    return build_colorizer(BackboneName.RESNET101)


@pytest.fixture(scope="session")
def second_colorizer() -> Colorizer:
    """A MobileNetV2 of version 2: fused at every scale, with hints and confidence. Do not change its weights."""
    return build_colorizer(BackboneName.MOBILENET_V2, fusion_strides=(32, 16, 8, 4), hints=True, confidence=True)


@pytest.fixture(scope="session")
def model_store(tmp_path_factory: pytest.TempPathFactory, mobilenet_colorizer: Colorizer) -> Path:
    """A store with a MobileNetV2 variant only; do not write to it."""
    store = tmp_path_factory.mktemp("model_store")
    save_checkpoint(mobilenet_colorizer, store / "mobilenet_v2", "1.2.3", {"recipe": "random"})
    return store


@pytest.fixture(scope="session")
def make_settings(model_store: Path) -> Callable[..., Settings]:
    """Settings for tests: the random store, small batches, and whatever the test wants different."""

    def make(**changes: object) -> Settings:
        defaults: dict[str, object] = {
            "model_store": model_store,
            "device": "cpu",
            "max_batch_size": 4,
            "lanes": 1,
            "drain_s": 0,
            "port": 0,
        }
        return Settings.model_validate(defaults | changes)

    return make


@pytest.fixture
def client(make_settings: Callable[..., Settings]) -> Iterator[TestClient]:
    """The whole application in this process, its lifespan entered."""
    with TestClient(create_app(make_settings())) as client:
        yield client


@pytest.fixture(scope="session")
def gray_photo() -> Image.Image:
    """A 160×120 grey picture with gradients and edges."""
    y, x = np.mgrid[0:120, 0:160]
    levels = 128 + 60 * np.sin(x / 17) + 50 * np.cos(y / 11 + x / 40)
    levels[30:60, 40:90] = 230
    return Image.fromarray(levels.clip(0, 255).astype(np.uint8))


@pytest.fixture(scope="session")
def gray_jpeg(gray_photo: Image.Image) -> bytes:
    """The same, as a file."""
    return to_bytes(gray_photo, "JPEG")
