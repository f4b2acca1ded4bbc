from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from service.network.colorizer import Colorizer
from service.network.decoder import Prediction
from training.measure.reliability import measure_reliability
from training.photos.crops import split_lab


class Told(nn.Module):
    """Answers grey and says what it is told of its errors, as a share of the true ones."""

    def __init__(self, truth: Tensor, share: Tensor) -> None:
        super().__init__()
        self.errors = split_lab(truth)[1].abs().mean(dim=1, keepdim=True)
        self.share = share

    def forward(self, lightness: Tensor) -> Prediction:
        ab = lightness.new_zeros(len(lightness), 2, *lightness.shape[2:])
        return Prediction(ab, (self.errors * self.share + 1e-9).log())


@pytest.fixture
def truth() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (3, 3, 40, 50), generator=generator, dtype=torch.uint8)


def test_a_network_that_knows_its_errors_is_reliable(truth: Tensor) -> None:
    told = Told(truth, torch.ones(1))
    reliability = measure_reliability(told, [truth])  # type: ignore[arg-type]
    assert len(reliability.bins) == 10
    assert [one.pixels for one in reliability.bins] == pytest.approx([600] * 10, abs=30)
    assert [one.predicted for one in reliability.bins] == pytest.approx([one.real for one in reliability.bins])
    errors = told.errors.flatten().sort().values * 128
    assert reliability.bins[-1].real == pytest.approx(errors[-600:].mean().item(), rel=0.01)
    assert reliability.calibration_error == pytest.approx(0, abs=1e-4)


def test_one_that_thinks_too_well_of_itself_is_not(truth: Tensor) -> None:
    told = Told(truth, torch.tensor(0.5))
    reliability = measure_reliability(told, [truth])  # type: ignore[arg-type]
    assert reliability.calibration_error == pytest.approx(told.errors.mean().item() * 64, rel=1e-3)


def test_one_prediction_for_all_is_one_bin(truth: Tensor, mobilenet_colorizer: Colorizer) -> None:
    colorizer = Colorizer(replace(mobilenet_colorizer.config, confidence=True)).eval()
    confidence = colorizer.decoder.confidence
    assert confidence is not None
    nn.init.zeros_(confidence.layers[2].weight)  # type: ignore[arg-type]
    pictures = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    (one,) = measure_reliability(colorizer, [pictures]).bins
    assert one.predicted == pytest.approx(10.5, abs=0.1)  # what untrained networks begin with
    assert one.pixels == 64 * 64
