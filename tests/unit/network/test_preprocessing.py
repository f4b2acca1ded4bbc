import torch

from service.network import preprocessing
from service.network.preprocessing import Preprocessing


def test_constants_are_the_published_ones() -> None:
    assert preprocessing.INPUT_SIZE == 224
    assert preprocessing.AB_SCALE == 128
    assert preprocessing.IMAGENET_MEAN == (0.485, 0.456, 0.406)
    assert preprocessing.IMAGENET_STD == (0.229, 0.224, 0.225)


def test_lightness_is_scaled_for_the_encoder_and_normalised_for_the_backbone() -> None:
    lightness = torch.tensor([0.0, 50.0, 100.0]).view(3, 1, 1, 1).expand(3, 1, 224, 224)
    encoder_input, backbone_input = Preprocessing()(lightness)
    assert encoder_input.shape == (3, 1, 224, 224)
    assert encoder_input[:, 0, 0, 0].tolist() == [-1, 0, 1]
    assert backbone_input.shape == (3, 3, 224, 224)
    expected = torch.tensor(
        [[(gray - 0.485) / 0.229, (gray - 0.456) / 0.224, (gray - 0.406) / 0.225] for gray in (0, 0.5, 1)]
    )
    torch.testing.assert_close(backbone_input[:, :, 100, 100], expected)


def test_constants_are_not_stored_with_the_weights() -> None:
    assert not Preprocessing().state_dict()
