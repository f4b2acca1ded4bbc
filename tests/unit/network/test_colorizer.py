import copy
import itertools

import pytest
import torch
from torch import Tensor, nn

from service.network.backbones import BackboneName, trunk_maps
from service.network.colorizer import Colorizer, ColorizerConfig, scale_hints
from tests.conftest import build_colorizer

STRIDES = (32, 16, 8, 4)


@pytest.fixture(params=["mobilenet_colorizer", "resnet_colorizer", "second_colorizer"])
def colorizer(request: pytest.FixtureRequest) -> Colorizer:
    colorizer: Colorizer = request.getfixturevalue(request.param)
    return colorizer


def lightness(batch: int) -> Tensor:
    return torch.rand(batch, 1, 224, 224, generator=torch.Generator().manual_seed(1)) * 100


def test_encoder_gives_a_map_for_every_skip(mobilenet_colorizer: Colorizer) -> None:
    with torch.inference_mode():
        maps = mobilenet_colorizer.encoder(torch.zeros(2, 1, 224, 224))
    assert {stride: tuple(skip.shape) for stride, skip in maps.items()} == {
        2: (2, 4, 112, 112),
        4: (2, 8, 56, 56),
        8: (2, 8, 28, 28),
        16: (2, 8, 14, 14),
        32: (2, 8, 7, 7),
    }


def test_encoder_starts_leaky_and_goes_on_rectified(mobilenet_colorizer: Colorizer) -> None:
    activations = [stage[-1] for stage in mobilenet_colorizer.encoder.stages if isinstance(stage, nn.Sequential)]
    assert [type(activation) for activation in activations] == [nn.LeakyReLU, *[nn.ReLU] * 4]


def test_every_decoder_stage_but_the_last_takes_the_skip_of_its_size(mobilenet_colorizer: Colorizer) -> None:
    decoder = mobilenet_colorizer.decoder
    sizes: list[tuple[int, ...]] = []
    hooks = [
        stage.register_forward_hook(lambda _module, _inputs, output: sizes.append(tuple(output.shape)))
        for stage in (*decoder.stages, decoder.head)
    ]
    mobilenet_colorizer.predict(lightness(1))
    for hook in hooks:
        hook.remove()
    assert sizes == [(1, 8, 14, 14), (1, 8, 28, 28), (1, 4, 56, 56), (1, 4, 112, 112), (1, 2, 224, 224)]


@pytest.mark.parametrize("backbone", BackboneName)
def test_a_trunk_has_a_map_of_every_stride_that_can_be_fused(backbone: BackboneName) -> None:
    layers = list(build_colorizer(backbone).backbone)
    x = torch.rand(1, 3, 64, 96)
    with torch.inference_mode():
        maps = trunk_maps(backbone, layers, x)
        later = trunk_maps(backbone, layers[2:], layers[1](layers[0](x)))
        whole = nn.Sequential(*layers)(x)
    assert {stride: tuple(answer.shape) for stride, answer in maps.items()} == {
        stride: (1, backbone.widths[stride], 64 // stride, 96 // stride) for stride in STRIDES
    }
    assert torch.equal(maps[32], whole)
    assert all(torch.equal(maps[stride], later[stride]) for stride in STRIDES)


@pytest.mark.parametrize("strides", [(32,), (32, 16), (32, 16, 8), STRIDES])
def test_each_fused_stride_brings_what_the_trunk_knows_there(strides: tuple[int, ...]) -> None:
    colorizer = build_colorizer(BackboneName.MOBILENET_V2, fusion_strides=strides)
    batch = lightness(1)
    with torch.inference_mode():
        maps = colorizer.fused(batch, None)
        encoded = colorizer.encoder(colorizer.preprocessing(batch)[0])
    assert {stride for stride, skip in encoded.items() if not torch.equal(skip, maps[stride])} == set(strides)


def test_strides_that_no_trunk_has_are_refused() -> None:
    for strides in [(16, 8), (32, 2), ()]:
        with pytest.raises(ValueError, match="fusion_strides"):
            ColorizerConfig(BackboneName.MOBILENET_V2, fusion_strides=strides)


def test_pictures_need_not_be_square(colorizer: Colorizer) -> None:
    with torch.inference_mode():
        assert colorizer(torch.rand(1, 1, 96, 160) * 100).ab.shape == (1, 2, 96, 160)


def test_no_hints_are_hints_of_nothing(second_colorizer: Colorizer) -> None:
    batch = lightness(2)
    assert torch.equal(second_colorizer.predict(batch), second_colorizer.predict(batch, torch.zeros(2, 3, 224, 224)))


def test_a_hint_is_heard_with_its_colour_and_where_it_is(second_colorizer: Colorizer) -> None:
    batch = lightness(1)
    answers = [second_colorizer.predict(batch)]
    for column, a in ((20, 60.0), (20, -60.0), (180, 60.0)):
        hints = torch.zeros(1, 3, 224, 224)
        hints[:, 0, 100:109, column : column + 9] = a
        hints[:, 2, 100:109, column : column + 9] = 1
        answers.append(second_colorizer.predict(batch, hints))
    assert all((one - other).abs().max() > 0.1 for one, other in itertools.combinations(answers, 2))


def test_a_network_without_hints_says_so(mobilenet_colorizer: Colorizer) -> None:
    with pytest.raises(ValueError, match="takes no hints"):
        mobilenet_colorizer.predict(lightness(1), torch.zeros(1, 3, 224, 224))


def test_hints_are_given_in_units_of_ab_and_learned_on_the_scale_of_the_targets() -> None:
    hints = torch.tensor([64.0, -32.0, 1.0]).view(1, 3, 1, 1)
    assert scale_hints(hints).flatten().tolist() == [0.5, -0.25, 1]


def test_the_confidence_has_a_value_for_every_pixel_and_moves_no_colour(second_colorizer: Colorizer) -> None:
    colorizer = copy.deepcopy(second_colorizer).train()
    ab, log_scale = colorizer(torch.rand(2, 1, 64, 96) * 100)
    assert log_scale is not None
    assert log_scale.shape == (2, 1, 64, 96)
    assert log_scale.std() > 0
    log_scale.sum().backward()
    moved = {name.split(".")[1] for name, weight in colorizer.named_parameters() if weight.grad is not None}
    assert moved == {"confidence"}
    assert ab.requires_grad


def test_the_published_network_says_nothing_of_confidence(mobilenet_colorizer: Colorizer) -> None:
    with torch.inference_mode():
        assert mobilenet_colorizer(lightness(1)).log_scale is None


def test_the_error_that_is_expected_comes_third(colorizer: Colorizer) -> None:
    batch = lightness(2)
    answer, ab = colorizer.predict_with_error(batch), colorizer.predict(batch)
    assert answer.shape == (2, 3, 224, 224)
    assert torch.equal(answer[:, :2], ab)
    with torch.inference_mode():
        log_scale = colorizer(batch).log_scale
    if log_scale is None:
        # As far off as grey is: where a network tells nothing, this is what is known.
        assert (answer[:, 2] == 10).all()
    else:
        torch.testing.assert_close(answer[:, 2:], log_scale.exp() * 128)


def test_no_error_is_beyond_all_colours(second_colorizer: Colorizer) -> None:
    """In half precision it would be infinite, and the whole answer counts as broken."""
    unsure = copy.deepcopy(second_colorizer)
    last = unsure.decoder.confidence.layers[-1]  # type: ignore[union-attr]
    nn.init.constant_(last.bias, 50)  # type: ignore[arg-type]
    assert (unsure.predict_with_error(lightness(1))[:, 2] == 256).all()


def test_output_is_ab_in_range_and_colours(colorizer: Colorizer) -> None:
    with torch.inference_mode():
        scaled = colorizer(lightness(2)).ab
    assert scaled.shape == (2, 2, 224, 224)
    assert scaled.abs().max() < 1
    ab = colorizer.predict(lightness(2))
    torch.testing.assert_close(ab, scaled * 128)
    assert ab.std() > 0.1


def test_batched_equals_single(colorizer: Colorizer) -> None:
    batch = lightness(5)
    together = colorizer.predict(batch) / 128
    alone = torch.cat([colorizer.predict(one) for one in (batch[index : index + 1] for index in range(5))]) / 128
    assert (together - alone).abs().max() <= 1e-4


@pytest.mark.parametrize("backbone", BackboneName)
def test_gradients_reach_every_trainable_parameter(backbone: BackboneName) -> None:
    torch.manual_seed(0)
    config = ColorizerConfig(backbone, (4, 8, 8, 8, 8), 8, (8, 8, 4, 4), 0.1, STRIDES, True, True)
    colorizer = Colorizer(config)
    torch.nn.init.normal_(colorizer.decoder.head.weight, std=0.5)
    ab, log_scale = colorizer(lightness(2), torch.rand(2, 3, 224, 224))
    (ab.square().mean() + log_scale.square().mean()).backward()
    without = [name for name, parameter in colorizer.named_parameters() if parameter.grad is None]
    assert without == []
    still = [name for name, parameter in colorizer.named_parameters() if not parameter.grad.any()]  # type: ignore[union-attr]
    # A channel may be dead under random weights, but no whole tensor of the network's own modules is.
    assert [name for name in still if not name.startswith("backbone.")] == []


def test_a_new_network_answers_grey() -> None:
    colorizer = Colorizer(ColorizerConfig(BackboneName.MOBILENET_V2)).eval()
    assert not colorizer.predict(lightness(1)).any()


def test_default_widths_make_the_published_sizes() -> None:
    config = ColorizerConfig(BackboneName.MOBILENET_V2)
    assert (config.encoder_widths, config.fusion_width, config.decoder_widths) == (
        (32, 64, 128, 256, 512),
        512,
        (256, 128, 64, 32),
    )
