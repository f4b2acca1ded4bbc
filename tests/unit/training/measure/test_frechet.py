from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torchvision
from scipy.linalg import sqrtm

from service.network.backbones import BackboneWeightsError
from training.measure.frechet import FeatureStatistics, frechet_distance, load_feature_extractor


def statistics(features: torch.Tensor) -> FeatureStatistics:
    collected = FeatureStatistics()
    for batch in features.split(7):
        collected.add(batch)
    return collected


def features(pictures: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    varied = torch.randn(pictures, 12, generator=generator) @ torch.randn(12, 12, generator=generator) + seed
    return torch.nn.functional.pad(varied, (0, 1280 - 12))


def test_statistics_in_batches_are_those_of_the_whole() -> None:
    whole = features(30, 1).double()
    collected = statistics(whole)
    assert torch.allclose(collected.mean, whole.mean(dim=0))
    assert torch.allclose(collected.covariance, whole.T.cov())


@pytest.mark.parametrize("pictures", [100, 8])  # of 8 pictures the covariance of 12 features is singular
def test_distance_is_the_published_formula(pictures: int) -> None:
    pair = features(pictures, 1), features(pictures, 2)
    measured = frechet_distance(statistics(pair[0]), statistics(pair[1]))
    first, second = (whole[:, :12].double().numpy() for whole in pair)  # the others are 0
    covariances = np.cov(first.T), np.cov(second.T)
    root = sqrtm(covariances[0] @ covariances[1]).real
    expected = np.square(first.mean(0) - second.mean(0)).sum() + np.trace(sum(covariances) - 2 * root)
    assert measured == pytest.approx(expected, rel=1e-4)


def test_equal_pictures_have_no_distance() -> None:
    same = statistics(features(40, 3))
    assert frechet_distance(same, same) == pytest.approx(0, abs=1e-6)


def test_features_of_pictures(trunk_weights: Path) -> None:
    extractor = load_feature_extractor(trunk_weights)
    assert extractor is not None
    rgb = (torch.rand(2, 3, 224, 224) * 255).to(torch.uint8)
    assert extractor(rgb).shape == (2, 1280)


def test_without_any_weights_a_warning_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_network(*_args: object, **_kwargs: object) -> None:
        raise URLError("no network")

    monkeypatch.setattr(torchvision.models.MobileNet_V2_Weights, "get_state_dict", no_network)
    assert load_feature_extractor(None) is None
    (record,) = caplog.records
    assert "give that file" in record.message


def test_a_named_file_of_weights_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(BackboneWeightsError, match=r"nowhere\.safetensors"):
        load_feature_extractor(tmp_path / "nowhere.safetensors")
