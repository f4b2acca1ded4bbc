"""What the student's layers are taught, and by what."""

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor

from service.imaging import color
from service.network.checkpoint import Checkpoint, save_checkpoint
from service.network.preprocessing import AB_SCALE
from tests.unit.training.transplant.networks import Pair, make_hints
from training.transplant.distillation import Distillation, color_loss
from training.transplant.run import Curriculum, DistillationRun

SIDE = 64
COUNT = 8
STEPS = 5


@pytest.fixture(params=["pair", "published_pair"])
def either(request: pytest.FixtureRequest) -> Pair:
    """Of one's own."""
    shared: Pair = request.getfixturevalue(request.param)
    return copy.deepcopy(shared)


@pytest.fixture
def seen(lightness: Tensor) -> Tensor:
    """L* (8, 1, 64, 64)."""
    return lightness[:COUNT, :, :SIDE, :SIDE].contiguous()


@pytest.fixture
def target() -> Tensor:
    """Everything is yellow: ab/128 (8, 2, 64, 64)."""
    ab = torch.zeros(COUNT, 2, SIDE, SIDE)
    ab[:, 1] = 0.3
    return ab


def test_it_teaches_the_layers_that_were_not_exact_and_leaves_layer3_alone(
    either: Pair, seen: Tensor, target: Tensor, tmp_path: Path
) -> None:
    yellow = color.lab_to_rgb(torch.cat((seen, target * AB_SCALE), dim=1))
    rgb = (yellow.clamp(0, 1) * 255).byte()
    layer3 = copy.deepcopy(either.student.backbone.get_submodule("layer3").state_dict())
    save_checkpoint(either.teacher, tmp_path, "1.0.0", {})
    teacher = Checkpoint.load(tmp_path)
    curriculum = Curriculum(2 * STEPS * COUNT, COUNT, side_apart=SIDE, side_together=SIDE)
    run = DistillationRun(teacher, either.student, either.ends, curriculum, 0)
    parts = [run.step(rgb, seen) for _ in range(STEPS)]
    assert set(parts[0]) == {"layer1", "layer2", "layer4"}
    assert parts[-1]["layer1"] < 0.9 * parts[0]["layer1"]
    assert parts[-1]["layer2"] < 0.9 * parts[0]["layer2"]
    assert parts[-1]["layer4"] < parts[0]["layer4"]
    assert not run.finished
    with torch.no_grad():
        before = (run.student.eval()(seen).ab - target).square().mean()
    parts = [run.step(rgb, seen) for _ in range(STEPS)]
    expected = {"layer1", "layer2", "layer3", "layer4", "colors"}
    assert set(parts[0]) == expected | ({"confidence"} if either.student.config.confidence else set())
    with torch.no_grad():
        assert (run.student.eval()(seen).ab - target).square().mean() < 0.9 * before
    if either.student.config.confidence:
        assert parts[-1]["confidence"] < parts[0]["confidence"]
    untouched = run.student.backbone.get_submodule("layer3").state_dict()
    assert all(torch.equal(value, layer3[name]) for name, value in untouched.items())
    assert run.finished
    assert run.learning_rate == 0


@pytest.mark.parametrize(
    ("part", "learners"),
    [
        ("layer1", {"backbone.layer1"}),
        # Through layer3, which does not learn itself.
        ("layer3", {"backbone.layer1", "backbone.layer2"}),
        (
            "colors",
            {
                *(f"backbone.layer{number}" for number in (1, 2, 4)),
                *(f"fusion.joins.{stride}" for stride in (4, 8, 16)),
                "fusion.mix",
                "encoder.stages",
                "decoder.stages",
                "decoder.head",
            },
        ),
        ("confidence", {"decoder.confidence"}),
    ],
)
def test_what_learns_from_what(part: str, learners: set[str], pair: Pair, seen: Tensor, target: Tensor) -> None:
    own = copy.deepcopy(pair)
    distillation = Distillation(own.teacher, own.student, own.ends).train()
    parts = distillation.together(seen, target, make_hints(seen))
    parts[part].backward()
    moved = {
        name
        for name, parameter in own.student.named_parameters()
        if parameter.grad is not None and parameter.grad.any()
    }
    stem = {"backbone.conv1.weight", "backbone.bn1.weight", "backbone.bn1.bias"}
    found = {".".join(name.split(".")[: 3 if "joins" in name else 2]) for name in moved - stem}
    assert found == learners
    assert (stem <= moved) == (part != "confidence")


def test_the_colours_loss_is_a_share_of_a_grey_answers(target: Tensor) -> None:
    grey = torch.zeros_like(target)
    assert color_loss(grey, target) == pytest.approx(1)
    assert color_loss(0.5 * target, target) < color_loss(0.4 * target, target) < 1
    assert color_loss(grey + 0.1, grey).isfinite()  # grey photographs


def test_the_teacher_never_trains(pair: Pair, seen: Tensor) -> None:
    own = copy.deepcopy(pair)
    before = copy.deepcopy(own.teacher.state_dict())
    distillation = Distillation(own.teacher, own.student, own.ends).train()
    distillation.apart(seen)
    assert all(torch.equal(value, before[name]) for name, value in own.teacher.state_dict().items())


def test_a_phase_is_of_whole_batches_of_one_side() -> None:
    curriculum = Curriculum(photographs=71, batch_size=16, side_apart=32, side_together=64)
    assert curriculum.phase == 32
    assert [curriculum.side(position) for position in (0, 31, 32, 63)] == [32, 32, 64, 64]
