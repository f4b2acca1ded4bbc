"""The ResNet-101 that begins as a MobileNetV2."""

import copy
from contextlib import ExitStack

import torch
from torch import Tensor, nn

from tests.unit.training.transplant.networks import JOINED, Pair, make_hints
from training.transplant.distillation import unexplained


@torch.no_grad()
def layer_error(pair: Pair, student: nn.Module, layer: str, lightness: Tensor) -> float:
    """What `layer` leaves unexplained of the teacher's stream, given the teacher's stream before it."""
    stride, slot = JOINED[layer], pair.ends[layer]
    answer = student.get_submodule(f"backbone.{layer}")(pair.states(lightness)[stride // 2])
    stream = answer[:, slot.channels] - slot.offset.view(1, -1, 1, 1)
    return unexplained(stream, pair.streams(lightness)[stride]).item()


def test_layer3_computes_what_mobilenet_computes(pair: Pair, lightness: Tensor) -> None:
    assert layer_error(pair, pair.student, "layer3", lightness) < 0.01


def test_it_computes_the_same_in_training(pair: Pair, lightness: Tensor) -> None:
    assert layer_error(pair, copy.deepcopy(pair.student).train(), "layer3", lightness) < 0.01


def test_layer2_has_to_do_without_its_weakest_units(pair: Pair, lightness: Tensor) -> None:
    assert layer_error(pair, pair.student, "layer2", lightness) < 0.5


@torch.no_grad()
def test_given_the_teachers_streams_the_joins_answer_what_its_joins_do(pair: Pair, lightness: Tensor) -> None:
    hints = make_hints(lightness)
    theirs = pair.teacher.fusion(
        pair.teacher.encoder(pair.teacher.preprocessing(lightness, hints)[0]), pair.streams(lightness)
    )
    states = pair.states(lightness)
    for name, stride in JOINED.items():
        # What else is in the trunk's maps is not read.
        other = torch.ones(states[stride].shape[1], dtype=torch.bool)
        other[pair.ends[name].channels] = False
        states[stride][:, other] = 10.0
    states[32][:, 1280:] = 10.0
    ours = pair.student.fusion(pair.student.encoder(pair.student.preprocessing(lightness, hints)[0]), states)
    assert set(ours) == set(theirs) == {2, 4, 8, 16, 32}
    for stride, fused in theirs.items():
        assert fused.std() > 0.1
        torch.testing.assert_close(ours[stride], fused, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(pair.student.decoder(ours), pair.teacher.decoder(theirs), atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_the_whole_gets_wrong_only_what_its_first_layers_get_wrong(pair: Pair, lightness: Tensor) -> None:
    hints, states = make_hints(lightness), pair.states(lightness)
    expected = pair.teacher(lightness, hints)
    assert unexplained(pair.student(lightness, hints).ab, expected.ab) > 0.01
    with ExitStack() as stack:
        for name in ("layer1", "layer2"):
            layer = pair.student.backbone.get_submodule(name)
            right = states[JOINED[name]]
            handle = layer.register_forward_hook(lambda _module, _arguments, _answer, right=right: right)
            stack.callback(handle.remove)
        predicted = pair.student(lightness, hints)
    assert unexplained(predicted.ab, expected.ab) < 1e-4
    assert unexplained(predicted.log_scale, expected.log_scale) < 1e-3


@torch.no_grad()
def test_the_published_network_colours_as_the_teacher_given_its_features(
    published_pair: Pair, lightness: Tensor
) -> None:
    student = published_pair.student
    assert not student.fusion.joins
    encoded = student.encoder(student.preprocessing(lightness)[0])
    colored, log_scale = student.decoder(student.fusion(encoded, published_pair.states(lightness)))
    assert log_scale is None
    assert colored.abs().max() > 0.01
    torch.testing.assert_close(colored, published_pair.teacher(lightness).ab, atol=1e-5, rtol=1e-4)


def test_what_grey_photographs_leave_unexplained_is_a_number() -> None:
    grey = torch.zeros(2, 2, 8, 8)
    assert unexplained(grey, grey) == 0
    assert unexplained(grey + 0.1, grey).isfinite()
