"""sRGB ↔ CIELAB against scikit-image, over the whole cube."""

import numpy as np
import pytest
import torch
from skimage.color import lab2rgb, rgb2lab
from torch import Tensor

from service.imaging import color


@pytest.fixture(scope="module")
def cube() -> Tensor:
    """Every fifth level of each channel: (3, 52·52, 52) in [0, 1]."""
    levels = torch.arange(0, 256, 5) / 255
    return torch.stack(torch.meshgrid(levels, levels, levels, indexing="ij")).flatten(1, 2)


def test_rgb_to_lab_is_that_of_scikit_image(cube: Tensor) -> None:
    expected = rgb2lab(cube.double().numpy(), channel_axis=0)
    np.testing.assert_allclose(color.rgb_to_lab(cube).numpy(), expected, rtol=0, atol=1e-3)


def test_lab_to_rgb_is_that_of_scikit_image(cube: Tensor) -> None:
    lab = rgb2lab(cube.double().numpy(), channel_axis=0)
    expected = lab2rgb(lab, channel_axis=0)
    np.testing.assert_allclose(color.lab_to_rgb(torch.from_numpy(lab).float()).numpy(), expected, rtol=0, atol=1e-3)


def test_round_trip_gives_back_every_level(cube: Tensor) -> None:
    back = color.lab_to_rgb(color.rgb_to_lab(cube))
    assert torch.equal((back * 255).round(), (cube * 255).round())


def test_companding_round_trip() -> None:
    levels = torch.linspace(0, 1, 4097)
    torch.testing.assert_close(color.srgb_encode(color.srgb_decode(levels)), levels, rtol=0, atol=1e-5)


def test_companding_clips_what_lies_outside() -> None:
    assert color.srgb_encode(torch.tensor([-0.1, 1.1])).tolist() == pytest.approx([0, 1])


def test_grey_has_no_chroma_and_spans_the_lightness_scale() -> None:
    grey = torch.arange(256).float().div(255).expand(3, 1, 256)
    lab = color.rgb_to_lab(grey)
    # The published matrix and white point differ in the sixth digit; scikit-image is as far from zero.
    assert lab[1:].abs().max() < 5e-3
    assert lab[0, 0, 0].item() == pytest.approx(0, abs=1e-4)
    assert lab[0, 0, 255].item() == pytest.approx(100, abs=1e-4)
    assert (lab[0, 0].diff() > 0).all()


def test_lightness_alone_is_the_l_of_lab(cube: Tensor) -> None:
    torch.testing.assert_close(color.rgb_to_lightness(cube), color.rgb_to_lab(cube)[:1], rtol=0, atol=1e-4)


def test_lightness_of_grey_is_that_of_equal_channels() -> None:
    gray = torch.linspace(0, 1, 1001)[None]
    expected = color.rgb_to_lightness(gray.expand(3, 1, 1001))[0]
    torch.testing.assert_close(color.gray_to_lightness(gray), expected, rtol=0, atol=1e-4)


def test_linear_light_keeps_what_is_outside_the_gamut() -> None:
    linear = color.lab_to_linear_rgb(torch.tensor([50.0, 120.0, -120.0])[:, None, None])
    assert linear.min() < 0


@pytest.mark.parametrize("batch", [(), (2,), (2, 3)])
def test_batches_are_converted_picture_by_picture(batch: tuple[int, ...]) -> None:
    rgb = torch.rand(*batch, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    lab = color.rgb_to_lab(rgb)
    assert lab.shape == rgb.shape
    assert color.rgb_to_lightness(rgb).shape == (*batch, 1, 4, 5)
    assert color.lab_to_rgb(lab).shape == rgb.shape
    one_by_one = torch.stack([color.rgb_to_lab(picture) for picture in rgb.view(-1, 3, 4, 5)])
    torch.testing.assert_close(lab.view(-1, 3, 4, 5), one_by_one, rtol=0, atol=1e-4)
