from dataclasses import replace

import pytest
import torch
from torch import Tensor

from service.network.colorizer import Colorizer
from training.measure import metrics
from training.measure.answers import deliver
from training.measure.hint_curve import HINTS, SIDE, measure_hints
from training.photos.crops import split_lab


class Obedient:
    """Answers grey, but for the hints."""

    def __init__(self) -> None:
        self.seen: list[Tensor] = []

    def predict(self, _lightness: Tensor, hints: Tensor) -> Tensor:
        self.seen.append(hints)
        return hints[:, :2]


@pytest.fixture
def truth() -> Tensor:
    """Two pictures in few and mild colours, which do not leave the gamut."""
    coarse = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    large = torch.nn.functional.interpolate(coarse, size=(96, 96), mode="bilinear")
    return (110 + 40 * large).to(torch.uint8)


def test_hints_are_squares_of_the_true_mean(truth: Tensor) -> None:
    obedient = Obedient()
    measure_hints(obedient, [truth])  # type: ignore[arg-type]
    none, one, *_, many = obedient.seen
    assert not none.any()
    assert one[:, 2].sum(dim=(1, 2)).tolist() == [SIDE**2, SIDE**2]
    assert (many[:, 2] >= one[:, 2]).all()  # the first one is still there
    true_ab = split_lab(truth)[1] * 128
    for hint, ab in zip(one, true_ab, strict=True):
        below = hint[2].bool()
        mean = ab[:, below].mean(dim=1, keepdim=True)
        assert torch.allclose(hint[:2, below], mean.expand(2, SIDE**2), atol=1e-3)
        assert not hint[:, ~below].any()


def test_the_curve_rises_where_hints_arrive(truth: Tensor) -> None:
    scores = measure_hints(Obedient(), [truth])  # type: ignore[arg-type]
    assert tuple(scores) == HINTS
    grey = deliver(split_lab(truth)[0], torch.zeros(2, 2, 96, 96))
    assert scores[0]["psnr"]["value"] == pytest.approx(metrics.psnr(grey, truth).mean().item(), abs=1e-4)
    curve = [scores[count]["psnr"]["value"] for count in HINTS]
    assert curve == sorted(curve)
    assert "difference" not in scores[0]
    assert all(scores[count]["difference"]["value"] < 1 for count in HINTS[1:])


def test_a_network_that_ignores_hints_does_not_profit(truth: Tensor, mobilenet_colorizer: Colorizer) -> None:
    grey = Colorizer(replace(mobilenet_colorizer.config, hints=True)).eval()  # untrained, it answers grey
    scores = measure_hints(grey, [truth[:1]])
    assert scores[50]["psnr"] == scores[0]["psnr"]
    assert scores[50]["difference"]["value"] > 2
