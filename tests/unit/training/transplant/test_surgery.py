"""The ResNet-101 that begins as a MobileNetV2, and what it is taught layer by layer."""

import copy
import itertools
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from service.imaging import color
from service.network.backbones import BackboneName
from service.network.checkpoint import Checkpoint, save_checkpoint
from service.network.colorizer import Colorizer, ColorizerConfig
from service.network.preprocessing import AB_SCALE
from training.__main__ import main
from training.distillation import Distillation, distill, unexplained
from training.transplant import STAGE_ENDS, transplant
from training.units import Slot

WIDTHS = {"layer1": 256, "layer2": 512, "layer3": 1024}


def teacher_streams(teacher: Colorizer, lightness: Tensor) -> dict[str, Tensor]:
    x = teacher.preprocessing(lightness)[1]
    streams = {}
    ends = {feature: name for name, feature in STAGE_ENDS.items()}
    for index, feature in enumerate(teacher.backbone):
        x = feature(x)
        if index in ends:
            streams[ends[index]] = x
    return streams


@pytest.fixture(scope="module")
def lightness() -> Tensor:
    coarse = torch.rand(12, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    return nn.functional.interpolate(coarse, size=(96, 96), mode="bicubic").clamp(0, 1) * 100


@pytest.fixture(scope="module")
def teacher(lightness: Tensor) -> Colorizer:
    """Untrained, but with batch norm statistics of the pictures it is shown, as every trained network has."""
    torch.manual_seed(0)
    network = Colorizer(ColorizerConfig(BackboneName.MOBILENET_V2))
    nn.init.normal_(network.decoder.head.weight, std=0.05)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the plain mean over what follows
            nn.init.uniform_(module.weight, 0.5, 1.0)
            nn.init.normal_(module.bias, std=0.2)
    with torch.no_grad():
        network.train()(lightness)
    return network.eval()


@pytest.fixture(scope="module")
def pair(teacher: Colorizer, lightness: Tensor) -> tuple[Colorizer, dict[str, Slot]]:
    torch.manual_seed(1)
    student = Colorizer(ColorizerConfig(BackboneName.RESNET101))
    return student, transplant(teacher, student, lightness)


@torch.no_grad()
def layer_error(teacher: Colorizer, student: Colorizer, ends: dict[str, Slot], layer: str, lightness: Tensor) -> float:
    """What `layer` leaves unexplained of the teacher's stream, given the teacher's stream before it."""
    before = {"layer2": "layer1", "layer3": "layer2"}[layer]
    streams = teacher_streams(teacher, lightness)
    answer = getattr(student.backbone, layer)(ends[before].state(streams[before], WIDTHS[before]))
    stream = answer[:, ends[layer].channels] - ends[layer].offset.view(1, -1, 1, 1)
    return unexplained(stream, streams[layer]).item()


def test_layer3_computes_what_mobilenet_computes(
    teacher: Colorizer, pair: tuple[Colorizer, dict[str, Slot]], lightness: Tensor
) -> None:
    student, ends = pair
    assert layer_error(teacher, student.eval(), ends, "layer3", lightness) < 0.01


def test_it_computes_the_same_in_training(
    teacher: Colorizer, pair: tuple[Colorizer, dict[str, Slot]], lightness: Tensor
) -> None:
    student = copy.deepcopy(pair[0]).train()
    assert layer_error(teacher, student, pair[1], "layer3", lightness) < 0.01


def test_layer2_has_to_do_without_its_weakest_units(
    teacher: Colorizer, pair: tuple[Colorizer, dict[str, Slot]], lightness: Tensor
) -> None:
    student, ends = pair
    assert layer_error(teacher, student.eval(), ends, "layer2", lightness) < 0.5


@torch.no_grad()
def test_with_the_teachers_features_it_colours_as_the_teacher(
    teacher: Colorizer, pair: tuple[Colorizer, dict[str, Slot]], lightness: Tensor
) -> None:
    student = pair[0].eval()
    features = teacher.backbone(teacher.preprocessing(lightness)[1])
    beside = torch.cat((features, features.new_zeros(len(features), 2048 - 1280, *features.shape[2:])), dim=1)
    *skips, encoded = student.encoder(student.preprocessing(lightness)[0])
    colored = student.decoder(student.fusion(encoded, beside), skips[::-1])
    assert colored.abs().max() > 0.01
    torch.testing.assert_close(colored, teacher(lightness), atol=1e-5, rtol=1e-4)


def test_distillation_teaches_the_layers_that_were_not_exact_and_leaves_layer3_alone(
    teacher: Colorizer, pair: tuple[Colorizer, dict[str, Slot]], lightness: Tensor
) -> None:
    student = copy.deepcopy(pair[0])
    layer3 = copy.deepcopy(student.backbone.get_submodule("layer3").state_dict())
    distillation = Distillation(teacher, student, pair[1]).train()
    large = nn.functional.interpolate(lightness, size=(224, 224))
    target = torch.zeros(12, 2, 224, 224)
    target[:, 1] = 0.3  # everything is yellow
    yellow = color.lab_to_rgb(torch.cat((large, target * AB_SCALE), dim=1))
    batches = itertools.repeat(((yellow.clamp(0, 1) * 255).byte(), large))
    with torch.no_grad():
        before = distillation.apart(large)
    distill(distillation, batches, apart=8, together=0)
    with torch.no_grad():
        after = distillation.apart(large)
        colored = (student(large) - target).square().mean()
    assert after["layer1"] < 0.9 * before["layer1"]
    assert after["layer2"] < 0.9 * before["layer2"]
    assert after["layer4"] < before["layer4"]
    distill(distillation, batches, apart=0, together=6)
    with torch.no_grad():
        assert (student(large) - target).square().mean() < 0.9 * colored
    untouched = student.backbone.get_submodule("layer3").state_dict()
    assert all(torch.equal(value, layer3[name]) for name, value in untouched.items())


def test_the_command_makes_a_model_to_start_from(
    tmp_path: Path, photos: Path, mobilenet_colorizer: Colorizer, capsys: pytest.CaptureFixture[str]
) -> None:
    teacher = save_checkpoint(mobilenet_colorizer, tmp_path / "teacher", "1.0.0", {})
    arguments = ["transplant", "--teacher", str(tmp_path / "teacher"), "--photos", str(photos), "--photographs", "16"]
    arguments += ["--out", str(tmp_path / "resnet101")]
    assert main(arguments) == 0
    made = Checkpoint.load(tmp_path / "resnet101", BackboneName.RESNET101)
    assert made.config.training["transplanted_from"] == teacher.tag
    assert main(arguments) == 1  # never over another model
    assert "there is a model in" in capsys.readouterr().err
