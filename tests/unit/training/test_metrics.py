import numpy as np
import pytest
import torch
from skimage.color import deltaE_ciede2000
from skimage.metrics import peak_signal_noise_ratio

from training import metrics
from training.losses import mse


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def test_squared_error_is_one_number_a_picture() -> None:
    predicted = torch.zeros(2, 2, 4, 4)
    target = torch.stack((torch.full((2, 4, 4), 0.5), torch.zeros(2, 4, 4)))
    assert metrics.squared_error(predicted, target).tolist() == [0.25, 0]
    assert mse(predicted, target).item() == 0.125


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


def test_ciede2000_is_averaged_over_each_picture() -> None:
    scale = torch.tensor([100.0, 60, 60]).view(3, 1, 1)
    first, second = (random(2, 3, 4, 4, seed=seed) * scale for seed in (0, 1))
    expected = [
        deltaE_ciede2000(np.moveaxis(a.numpy(), 0, -1), np.moveaxis(b.numpy(), 0, -1)).mean()
        for a, b in zip(first, second, strict=True)
    ]
    assert metrics.ciede2000(first, second).tolist() == pytest.approx(expected, abs=1e-3)


def test_colorfulness_of_known_pictures() -> None:
    grey = torch.full((1, 3, 4, 4), 99, dtype=torch.uint8)
    assert metrics.colorfulness(grey).item() == 0
    # Half red, half cyan: rg = ±255 with mean 0, yb = ±127.5 with mean 0.
    split = torch.zeros(1, 3, 2, 2, dtype=torch.uint8)
    split[0, 0, 0], split[0, 1:, 1] = 255, 255
    assert metrics.colorfulness(split).item() == pytest.approx(np.hypot(255, 127.5), rel=1e-5)
