import pytest
import torch
from torch import Tensor, nn

from service.network.backbones import BackboneName
from service.network.colorizer import Colorizer, ColorizerConfig


@pytest.fixture(params=["mobilenet_colorizer", "resnet_colorizer"])
def colorizer(request: pytest.FixtureRequest) -> Colorizer:
    colorizer: Colorizer = request.getfixturevalue(request.param)
    return colorizer


def lightness(batch: int) -> Tensor:
    return torch.rand(batch, 1, 224, 224, generator=torch.Generator().manual_seed(1)) * 100


def test_encoder_gives_a_map_for_every_skip(mobilenet_colorizer: Colorizer) -> None:
    with torch.inference_mode():
        maps = mobilenet_colorizer.encoder(torch.zeros(2, 1, 224, 224))
    assert [tuple(skip.shape) for skip in maps] == [
        (2, 4, 112, 112),
        (2, 8, 56, 56),
        (2, 8, 28, 28),
        (2, 8, 14, 14),
        (2, 8, 7, 7),
    ]


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


def test_the_fusion_joins_encoder_and_backbone_at_7x7(colorizer: Colorizer) -> None:
    with torch.inference_mode():
        features = colorizer.backbone(torch.zeros(1, 3, 224, 224))
        assert features.shape == (1, colorizer.config.backbone.width, 7, 7)
        assert colorizer.fusion(torch.zeros(1, 8, 7, 7), features).shape == (1, 8, 7, 7)


def test_output_is_ab_in_range_and_colours(colorizer: Colorizer) -> None:
    with torch.inference_mode():
        scaled = colorizer(lightness(2))
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
    colorizer = Colorizer(ColorizerConfig(backbone, (4, 8, 8, 8, 8), 8, (8, 8, 4, 4)))
    torch.nn.init.normal_(colorizer.decoder.head.weight, std=0.5)
    colorizer(lightness(2)).square().mean().backward()
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
