import math

import numpy as np
import pytest
import torch
from skimage.color import deltaE_ciede2000
from skimage.metrics import peak_signal_noise_ratio

from training.measure import metrics

# Sharma, Wu and Dalal 2005, table 1: L*, a*, b* of two colours and their difference.
SHARMA = torch.tensor(
    [
        (50.0000, 2.6772, -79.7751, 50.0000, 0.0000, -82.7485, 2.0425),
        (50.0000, 3.1571, -77.2803, 50.0000, 0.0000, -82.7485, 2.8615),
        (50.0000, 2.8361, -74.0200, 50.0000, 0.0000, -82.7485, 3.4412),
        (50.0000, -1.3802, -84.2814, 50.0000, 0.0000, -82.7485, 1.0000),
        (50.0000, -1.1848, -84.8006, 50.0000, 0.0000, -82.7485, 1.0000),
        (50.0000, -0.9009, -85.5211, 50.0000, 0.0000, -82.7485, 1.0000),
        (50.0000, 0.0000, 0.0000, 50.0000, -1.0000, 2.0000, 2.3669),
        (50.0000, -1.0000, 2.0000, 50.0000, 0.0000, 0.0000, 2.3669),
        (50.0000, 2.4900, -0.0010, 50.0000, -2.4900, 0.0009, 7.1792),
        (50.0000, 2.4900, -0.0010, 50.0000, -2.4900, 0.0010, 7.1792),
        (50.0000, 2.4900, -0.0010, 50.0000, -2.4900, 0.0011, 7.2195),
        (50.0000, 2.4900, -0.0010, 50.0000, -2.4900, 0.0012, 7.2195),
        (50.0000, -0.0010, 2.4900, 50.0000, 0.0009, -2.4900, 4.8045),
        (50.0000, -0.0010, 2.4900, 50.0000, 0.0010, -2.4900, 4.8045),
        (50.0000, -0.0010, 2.4900, 50.0000, 0.0011, -2.4900, 4.7461),
        (50.0000, 2.5000, 0.0000, 50.0000, 0.0000, -2.5000, 4.3065),
        (50.0000, 2.5000, 0.0000, 73.0000, 25.0000, -18.0000, 27.1492),
        (50.0000, 2.5000, 0.0000, 61.0000, -5.0000, 29.0000, 22.8977),
        (50.0000, 2.5000, 0.0000, 56.0000, -27.0000, -3.0000, 31.9030),
        (50.0000, 2.5000, 0.0000, 58.0000, 24.0000, 15.0000, 19.4535),
        (50.0000, 2.5000, 0.0000, 50.0000, 3.1736, 0.5854, 1.0000),
        (50.0000, 2.5000, 0.0000, 50.0000, 3.2972, 0.0000, 1.0000),
        (50.0000, 2.5000, 0.0000, 50.0000, 1.8634, 0.5757, 1.0000),
        (50.0000, 2.5000, 0.0000, 50.0000, 3.2592, 0.3350, 1.0000),
        (60.2574, -34.0099, 36.2677, 60.4626, -34.1751, 39.4387, 1.2644),
        (63.0109, -31.0961, -5.8663, 62.8187, -29.7946, -4.0864, 1.2630),
        (61.2901, 3.7196, -5.3901, 61.4292, 2.2480, -4.9620, 1.8731),
        (35.0831, -44.1164, 3.7933, 35.0232, -40.0716, 1.5901, 1.8645),
        (22.7233, 20.0904, -46.6940, 23.0331, 14.9730, -42.5619, 2.0373),
        (36.4612, 47.8580, 18.3852, 36.2715, 50.5065, 21.2231, 1.4146),
        (90.8027, -2.0831, 1.4410, 91.1528, -1.6435, 0.0447, 1.4441),
        (90.9257, -0.5406, -0.9208, 88.6381, -0.8985, -0.7239, 1.5381),
        (6.7747, -0.2908, -2.4247, 5.8714, -0.0985, -2.2286, 0.6377),
        (2.0776, 0.0795, -1.1350, 0.9033, -0.0636, -0.5514, 0.9082),
    ],
    dtype=torch.float64,
)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def test_squared_error_is_one_number_a_picture() -> None:
    predicted = torch.zeros(2, 2, 4, 4)
    target = torch.stack((torch.full((2, 4, 4), 64.0), torch.zeros(2, 4, 4)))
    assert metrics.squared_error(predicted, target).tolist() == [0.25, 0]


def test_accuracy_compares_which_channel_is_larger() -> None:
    target = torch.tensor([[0.1, 0.2], [0.3, 0.1]]).T.reshape(1, 2, 1, 2)  # b > a, then a > b
    assert metrics.channel_argmax_accuracy(target, target).item() == 1
    assert metrics.channel_argmax_accuracy(target.flip(1), target).item() == 0
    grey = torch.zeros_like(target)  # a tie says a, as in NumPy
    assert metrics.channel_argmax_accuracy(grey, target).item() == 0.5


def test_psnr_is_the_usual_one() -> None:
    first, second = ((random(2, 3, 8, 8, seed=seed) * 255).to(torch.uint8) for seed in (0, 1))
    expected = [peak_signal_noise_ratio(a.numpy(), b.numpy()) for a, b in zip(first, second, strict=True)]
    assert metrics.psnr(first, second).tolist() == pytest.approx(expected, abs=1e-3)
    assert metrics.psnr(first, first).tolist() == pytest.approx([100, 100])


def test_ciede2000_of_the_published_pairs() -> None:
    pairs = SHARMA.T[:, None]  # (7, 1, 34): a picture one pixel high
    assert metrics.ciede2000(pairs[:3], pairs[3:6])[0].tolist() == pytest.approx(SHARMA[:, 6].tolist(), abs=1e-4)
    assert metrics.ciede2000(pairs[3:6], pairs[:3])[0].tolist() == pytest.approx(SHARMA[:, 6].tolist(), abs=1e-4)


@pytest.mark.parametrize("reach", [1.0, 20.0, 110.0])
def test_ciede2000_agrees_with_scikit_image(reach: float) -> None:
    scale, offset = (
        torch.tensor(values).view(3, 1, 1) for values in ((100.0, 2 * reach, 2 * reach), (0, reach, reach))
    )
    first, second = (random(2, 3, 300, 100, seed=seed) * scale - offset for seed in (0, 1))
    expected = deltaE_ciede2000(first.double().numpy(), second.double().numpy(), channel_axis=1)
    assert np.abs(metrics.ciede2000(first, second).numpy() - expected).max() < 1e-2


def test_equal_colours_do_not_differ() -> None:
    lab = torch.tensor([[0.0, 50, 100], [0, 60, 0], [0, -60, 0]])[:, None]
    assert metrics.ciede2000(lab, lab).tolist() == [[0, 0, 0]]


def test_area_under_the_curve_is_the_integral_over_thresholds() -> None:
    predicted, target = (random(1, 2, 20, 20, seed=seed) * 240 - 120 for seed in (0, 1))
    error = (predicted - target).square().sum(dim=1).sqrt()
    thresholds = torch.linspace(0, 150, 3001)
    shares = torch.stack([(error <= threshold).float().mean() for threshold in thresholds])
    expected = torch.trapezoid(shares, thresholds).item() / 150
    assert metrics.area_under_curve(predicted, target).mean().item() == pytest.approx(expected, abs=1e-3)


def test_colorfulness_of_known_pictures() -> None:
    grey = torch.full((1, 3, 4, 4), 99, dtype=torch.uint8)
    assert metrics.colorfulness(grey).item() == 0
    # Half red, half cyan: rg = ±255 with mean 0, yb = ±127.5 with mean 0.
    split = torch.zeros(1, 3, 2, 2, dtype=torch.uint8)
    split[0, 0, 0], split[0, 1:, 1] = 255, 255
    assert metrics.colorfulness(split).item() == pytest.approx(math.hypot(255, 127.5), rel=1e-5)
