import pytest
import torch
from torch import Tensor

from training.measure.power_law import REFERENCE_CHROMA, PowerLaw


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
