from dataclasses import replace

import pytest
import torch
from torch import Tensor

from service.network.colorizer import Colorizer
from service.network.saturation import REFERENCE_CHROMA, PowerLaw


@pytest.fixture
def ab() -> Tensor:
    return torch.randn(2, 2, 8, 8, generator=torch.Generator().manual_seed(0)) * 20


def saturate(ab: Tensor, gain: float, exponent: float) -> Tensor:
    answer: Tensor = PowerLaw(gain, exponent)(ab, None, ab[:, :1])
    return answer


def chroma(ab: Tensor) -> Tensor:
    return ab.square().sum(dim=1).sqrt()


def test_hue_stays(ab: Tensor) -> None:
    saturated = saturate(ab, 1.7, 0.5)
    torch.testing.assert_close(torch.atan2(saturated[:, 1], saturated[:, 0]), torch.atan2(ab[:, 1], ab[:, 0]))


def test_chroma_grows_by_gain_and_power(ab: Tensor) -> None:
    expected = 1.7 * chroma(ab) * (chroma(ab) / REFERENCE_CHROMA) ** 0.5
    torch.testing.assert_close(chroma(saturate(ab, 1.7, 0.5)), expected)


def test_gain_1_and_exponent_0_change_nothing(ab: Tensor) -> None:
    torch.testing.assert_close(saturate(ab, 1.0, 0.0), ab)


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
def test_grey_stays_grey(exponent: float) -> None:
    assert torch.equal(saturate(torch.zeros(1, 2, 4, 4), 2.0, exponent), torch.zeros(1, 2, 4, 4))


def test_predictions_have_the_saturation_of_the_config(mobilenet_colorizer: Colorizer) -> None:
    vivid = Colorizer(replace(mobilenet_colorizer.config, saturation_gain=1.5, saturation_exponent=0.25)).eval()
    vivid.load_state_dict(mobilenet_colorizer.state_dict())
    lightness = torch.rand(1, 1, 224, 224, generator=torch.Generator().manual_seed(0)) * 100
    expected = saturate(mobilenet_colorizer.predict(lightness), 1.5, 0.25)
    # A power has an infinite slope at grey, where two runs may differ in their last bits.
    torch.testing.assert_close(vivid.predict(lightness), expected, atol=1e-2, rtol=1e-3)
