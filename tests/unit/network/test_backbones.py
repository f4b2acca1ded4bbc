from pathlib import Path
from typing import NoReturn
from urllib.error import URLError

import pytest
import torch
import torchvision.models as models
from safetensors.torch import save_file

from service.network.backbones import BackboneName, BackboneWeightsError, build_backbone, load_imagenet_weights


@pytest.mark.parametrize(
    ("name", "classifier"), [("mobilenet_v2", models.mobilenet_v2), ("resnet101", models.resnet101)]
)
def test_whole_classifier_file_fills_the_trunk(name: str, classifier: type[torch.nn.Module], tmp_path: Path) -> None:
    torch.manual_seed(3)
    weights = classifier(weights=None).state_dict()
    file = tmp_path / "imagenet.safetensors"
    save_file(weights, file)
    backbone = build_backbone(BackboneName(name))
    load_imagenet_weights(backbone, BackboneName(name), file)
    prefix = "features." if name == "mobilenet_v2" else ""
    for key, value in backbone.state_dict().items():
        assert torch.equal(value, weights[prefix + key])


def test_trunk_only_file_is_read(tmp_path: Path) -> None:
    torch.manual_seed(4)
    source = build_backbone(BackboneName.MOBILENET_V2)
    save_file(source.state_dict(), tmp_path / "trunk.safetensors")
    backbone = build_backbone(BackboneName.MOBILENET_V2)
    load_imagenet_weights(backbone, BackboneName.MOBILENET_V2, tmp_path / "trunk.safetensors")
    assert torch.equal(backbone.state_dict()["0.0.weight"], source.state_dict()["0.0.weight"])


def test_a_missing_file_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    file = tmp_path / "nowhere.safetensors"
    with pytest.raises(BackboneWeightsError, match=r"nowhere\.safetensors.*Give a safetensors file"):
        load_imagenet_weights(build_backbone(BackboneName.MOBILENET_V2), BackboneName.MOBILENET_V2, file)


def test_a_file_of_another_network_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "other.safetensors"
    save_file({"0.0.weight": torch.zeros(1)}, file)
    with pytest.raises(BackboneWeightsError, match="do not fit mobilenet_v2"):
        load_imagenet_weights(build_backbone(BackboneName.MOBILENET_V2), BackboneName.MOBILENET_V2, file)


def test_no_file_asks_torchvision_and_explains_a_missing_network(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def no_network(url: str, *_args: object, **_options: object) -> NoReturn:
        asked.append(url)
        raise URLError("no route to host")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", no_network)
    with pytest.raises(BackboneWeightsError, match=r"no route to host.*convert them to safetensors elsewhere"):
        load_imagenet_weights(build_backbone(BackboneName.MOBILENET_V2), BackboneName.MOBILENET_V2, None)
    assert asked == [models.MobileNet_V2_Weights.IMAGENET1K_V1.url]


def test_hub_weights_fill_the_trunk(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(5)
    published = models.mobilenet_v2(weights=None).state_dict()
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", lambda *_args, **_options: published)
    backbone = build_backbone(BackboneName.MOBILENET_V2)
    load_imagenet_weights(backbone, BackboneName.MOBILENET_V2, None)
    assert torch.equal(backbone.state_dict()["0.0.weight"], published["features.0.0.weight"])
