from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from service.network.colorizer import Colorizer
from training.data import CenterCrops, find_photos, split_lab
from training.errors import NoPhotosError, UnreadablePhotoError
from training.evaluate import evaluate, format_table


@pytest.fixture(scope="module")
def scores(photos: Path, mobilenet_colorizer: Colorizer) -> dict[str, dict[str, float]]:
    return evaluate(mobilenet_colorizer, photos)


@pytest.fixture(scope="module")
def target(photos: Path) -> torch.Tensor:
    crops = CenterCrops(find_photos(photos))
    return split_lab(torch.stack([crops[index] for index in range(len(crops))]))[1]


def test_grey_scores_the_power_of_the_colours(scores: dict[str, dict[str, float]], target: torch.Tensor) -> None:
    assert scores["grey"]["mse"] == pytest.approx(target.square().mean().item(), rel=1e-4)
    assert scores["grey"]["mse_ratio_to_grey"] == 1
    assert scores["grey"]["colorfulness"] == pytest.approx(0, abs=0.2)  # single levels, from rounding to 8 bits


def test_the_constant_is_the_best_there_is(scores: dict[str, dict[str, float]], target: torch.Tensor) -> None:
    variance = (target - target.mean(dim=(0, 2, 3), keepdim=True)).square().mean().item()
    assert scores["constant_mean"]["mse"] == pytest.approx(variance, rel=1e-4)


def test_always_b_scores_the_share_of_b(scores: dict[str, dict[str, float]], target: torch.Tensor) -> None:
    share = (target[:, 1] > target[:, 0]).float().mean().item()
    assert scores["always_b"] == {"channel_argmax_accuracy": pytest.approx(share, rel=1e-4)}
    assert scores["grey"]["channel_argmax_accuracy"] == pytest.approx(1 - share, abs=1e-4)


def test_the_model_is_measured_by_its_own_answers(
    scores: dict[str, dict[str, float]], target: torch.Tensor, photos: Path, mobilenet_colorizer: Colorizer
) -> None:
    crops = CenterCrops(find_photos(photos))
    lightness, _ = split_lab(torch.stack([crops[index] for index in range(len(crops))]))
    predicted = mobilenet_colorizer.predict(lightness) / 128
    assert scores["model"]["mse"] == pytest.approx((predicted - target).square().mean().item(), rel=1e-3)
    assert scores["model"]["colorfulness_ratio"] > 0
    assert scores["set"] == {"photos": 6}


def test_a_set_without_colour_cannot_measure_any(tmp_path: Path, mobilenet_colorizer: Colorizer) -> None:
    grey = np.tile(np.linspace(20, 230, 256).astype(np.uint8), (256, 1))
    Image.fromarray(grey).save(tmp_path / "grey.png")
    with pytest.raises(NoPhotosError, match="any colour"):
        evaluate(mobilenet_colorizer, tmp_path)


def test_a_photograph_that_cannot_be_read_is_named(tmp_path: Path, mobilenet_colorizer: Colorizer) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"not a photograph")
    with pytest.raises(UnreadablePhotoError, match=r"broken\.jpg"):
        evaluate(mobilenet_colorizer, tmp_path)


def test_the_table_has_a_row_for_every_answer(scores: dict[str, dict[str, float]]) -> None:
    lines = format_table(scores).splitlines()
    assert [line.split(" | ")[0].strip("| ") for line in lines[2:]] == [
        "model",
        "grey",
        "constant mean",
        "always b",
        "truth",
    ]
    assert len({line.count("|") for line in lines}) == 1
